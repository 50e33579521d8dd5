/** The way of one message through the rules. */

import { byId, el, icon } from "../dom.js";
import { condition, leads, ms, origin } from "./words.js";

const OUTCOMES = {
  match: ["done", "Matches"],
  no: ["no", "No match"],
  failed: ["warn", "Failed"],
  skipped: ["more", "Not asked"],
};

export class ExplainBox {
  #admin;
  #known;
  #asked = 0;

  /**
   * @param {import("./admin.js").Admin} admin
   * @param {object} known
   * @param {() => string|null} known.org The chosen organization.
   * @param {(agent: string) => object[]} known.endpoints An agent's, as they stand.
   */
  constructor(admin, known) {
    this.#admin = admin;
    this.#known = known;
    byId("explain-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  /** What was explained for another organization does not hold for this one. */
  clear() {
    this.#asked += 1;
    byId("explain-outcome").replaceChildren();
  }

  async #ask() {
    this.#asked += 1;
    const asked = this.#asked;
    let shown;
    try {
      const answer = await this.#admin.explain(this.#question());
      shown = told(answer, this.#known.endpoints(answer.agent));
    } catch (error) {
      shown = [el("p", { class: "trouble", text: error.message })];
    }
    if (asked === this.#asked) byId("explain-outcome").replaceChildren(...shown);
  }

  #question() {
    const value = (name) => byId(`explain-${name}`).value.trim();
    return {
      org: this.#known.org(),
      text: byId("explain-text").value,
      user: value("user") || null,
      model: value("model") || "auto",
      metadata: pairs(byId("explain-metadata").value),
      session: {
        id: value("session") || null,
        agent: value("agent") || null,
        turns: Number(value("turns")) || 0,
        messages: Number(value("messages")) || 0,
        failures: Number(value("failures")) || 0,
      },
    };
  }
}

/** `key: value` a line. */
function pairs(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf(":");
      if (at < 1) throw new Error(`Metadata: “${line.trim()}” is no “key: value”.`);
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

function told({ version, path, agent, reason, leads_to: target }, candidates) {
  const shown = [
    el(
      "p",
      { class: "answer-agent" },
      icon("route"),
      el("strong", { text: agent ?? leads(target) }),
      ` ${reason}`,
    ),
    el("p", { class: "soft", text: `By version ${version}.` }),
    el("ol", { class: "path" }, ...path.map((asked) => step(asked, version))),
  ];
  if (candidates.length > 0) {
    shown.push(el("h3", { text: "Candidates" }));
    shown.push(el("ul", { class: "candidates" }, ...candidates.map(candidate)));
  }
  return shown;
}

function step({ rule, from, when, outcome, why }, version) {
  const [sign, words] = OUTCOMES[outcome];
  const source = el("small", { text: origin(from, version) });
  return el(
    "li",
    { class: "step", data: { outcome } },
    el("span", { class: "step-outcome" }, icon(sign), words),
    el("span", { class: "step-rule" }, el("strong", { text: rule }), source),
    el("code", { class: "condition", text: condition(when) }),
    why ? el("p", { text: why }) : null,
  );
}

function candidate({ endpoint, state, expected_ms: expected, running }) {
  const circuit = el("span", { class: "circuit", data: { state }, text: state });
  const load = `${ms(expected)}, ${running} running`;
  return el("li", {}, el("strong", { text: endpoint }), circuit, load);
}
