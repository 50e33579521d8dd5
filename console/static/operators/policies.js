/**
 * The versions of a scope's policy: reading, comparing, changing, rolling back.
 *
 * A version never changes, so its text is fetched once. What a person edits stays theirs when
 * somebody else puts a new version meanwhile; it is compared with that one before it is applied.
 */

import { byId, el } from "../dom.js";
import { ApiError } from "../http.js";
import { confirmChange, diffView } from "./changes.js";
import { Editor } from "./editor.js";
import { mark, patch, say } from "./patch.js";
import { moment } from "./words.js";

const ABSENT = 0;
const KEPT_TEXTS = 100;

export class PolicyPanel {
  #admin;
  #on;
  #editor = new Editor(() => this.#edited());
  #scope = null;
  #versions = [];
  #texts = new Map();
  #loaded = null;
  #drafts = new Map();
  #compared = "";

  /**
   * @param {import("./admin.js").Admin} admin
   * @param {object} on
   * @param {() => void} on.changed A new version was put.
   */
  constructor(admin, on) {
    this.#admin = admin;
    this.#on = on;
    const doing = (work) => () => work().catch((error) => this.#refused(error));
    byId("policy-check").addEventListener("click", doing(() => this.#check()));
    byId("policy-apply").addEventListener("click", doing(() => this.#apply()));
    byId("policy-discard").addEventListener("click", doing(() => this.#load(this.#newest)));
    byId("compare").addEventListener("change", doing(() => this.#compare()));
  }

  /** Show another scope; what was edited in the one before is there again when it is. */
  open(scope) {
    if (this.#dirty) this.#drafts.set(this.#scope, this.#editor.text);
    this.#scope = scope;
    this.#versions = [];
    this.#loaded = null;
    this.#compared = "";
    this.#editor.text = "";
    this.#editor.closed = true;
    this.#problems([]);
    this.#state("");
    this.#edited();
    byId("compared").hidden = true;
  }

  /** @param {object[]} versions The newest first. */
  async show(versions) {
    const scope = this.#scope;
    this.#versions = versions;
    patch(
      byId("versions"),
      versions,
      ({ version }) => String(version),
      () => this.#makeVersion(),
      (node, version) => updateVersion(node, version, this.#newest),
    );
    this.#offer();
    if (this.#loaded?.version !== this.#newest) {
      if (!this.#dirty) await this.#load(this.#newest);
      else this.#state(`Version ${this.#newest} was put meanwhile; your edits stay here.`, "wait");
    }
    if (scope === this.#scope) await this.#compare();
  }

  get #newest() {
    return this.#versions[0]?.version ?? ABSENT;
  }

  get #dirty() {
    return this.#loaded !== null && this.#editor.text !== this.#loaded.text;
  }

  async #text(version) {
    if (version === ABSENT) return "";
    const scope = this.#scope;
    const key = `${scope} ${version}`;
    if (!this.#texts.has(key)) {
      if (this.#texts.size >= KEPT_TEXTS) this.#texts.clear();
      this.#texts.set(key, (await this.#admin.version(scope, version)).text);
    }
    return this.#texts.get(key);
  }

  async #load(version) {
    const scope = this.#scope;
    const text = await this.#text(version);
    if (scope !== this.#scope) return;
    const draft = this.#loaded === null ? this.#drafts.get(scope) : undefined;
    this.#drafts.delete(scope);
    this.#loaded = { version, text };
    this.#editor.text = draft ?? text;
    this.#editor.closed = false;
    this.#problems([]);
    this.#state(version === ABSENT ? "There is no policy yet; the settings alone hold." : "");
    this.#edited();
  }

  #edited() {
    byId("policy-discard").hidden = !this.#dirty;
    byId("policy-apply").disabled = !this.#dirty;
  }

  /** Whether nothing is wrong with the text; false too where it became another one meanwhile. */
  async #check() {
    const [scope, text] = [this.#scope, this.#editor.text];
    const same = () => scope === this.#scope && text === this.#editor.text;
    this.#problems([]);
    this.#state("Checking…");
    try {
      await this.#admin.check(scope, text);
      if (same()) this.#state("Nothing is wrong with it.", "good");
      return same();
    } catch (error) {
      if (same()) this.#refused(error);
      return false;
    }
  }

  async #apply() {
    if (!(await this.#check())) return;
    const [after, text] = [this.#newest, this.#editor.text];
    const done = await confirmChange({
      title: `Put this in force for ${this.#scope}?`,
      words: after === ABSENT ? "It is the first version." : `It follows version ${after}.`,
      yes: "Apply",
      before: await this.#text(after),
      after: text,
      change: (note) => this.#admin.apply(this.#scope, text, after, note),
    });
    if (done) this.#put(done, text);
  }

  async #rollBack(version) {
    const text = await this.#text(version);
    const done = await confirmChange({
      title: `Go back to version ${version} of ${this.#scope}?`,
      words: "Its text becomes a new version, so nothing is lost.",
      yes: "Roll back",
      before: await this.#text(this.#newest),
      after: text,
      change: (note) => this.#admin.rollback(this.#scope, version, note),
    });
    if (done) this.#put(done, text);
  }

  #put({ version }, text) {
    this.#loaded = { version, text };
    this.#editor.text = text;
    this.#edited();
    this.#state(`Version ${version} is in force.`, "good");
    this.#on.changed();
  }

  #refused(error) {
    if (!(error instanceof ApiError)) reportError(error);
    const problems = error.problems ?? [];
    this.#state(problems.length ? "It is refused; what is in force stays." : error.message, "bad");
    this.#problems(problems);
  }

  #problems(problems) {
    const own = problems.filter(({ scope }) => scope === this.#scope);
    this.#editor.markLines(own.flatMap(({ line }) => line ?? []));
    byId("problems").replaceChildren(...problems.map((problem) => this.#problem(problem)));
  }

  /** What it makes wrong elsewhere has a line there, not here. */
  #problem({ scope, line, where, reason }) {
    const words = [el("span", { class: "where", text: where }), el("span", { text: reason })];
    if (scope !== this.#scope) words.unshift(el("strong", { text: scope }));
    if (!line || scope !== this.#scope) return el("li", {}, ...words);
    const goTo = () => this.#editor.goTo(line);
    const attributes = { type: "button", class: "quiet", text: `Line ${line}` };
    return el("li", {}, el("button", { ...attributes, on: { click: goTo } }), ...words);
  }

  #state(words, state = "") {
    const node = byId("policy-state");
    say(node, words);
    mark(node, "data-state", state);
  }

  #makeVersion() {
    const rollBack = async () => {
      await this.#rollBack(Number(node.dataset.key)).catch((error) => this.#refused(error));
    };
    const attributes = { type: "button", class: "quiet", text: "Roll back…" };
    const node = el(
      "li",
      { class: "version" },
      el("strong"),
      el("span", { class: "badge good", text: "in force" }),
      el("button", { ...attributes, on: { click: rollBack } }),
      el("p"),
      el("small"),
    );
    return node;
  }

  #offer() {
    const numbers = this.#versions.map(({ version }) => version);
    byId("compare").hidden = numbers.length < 2;
    const fresh = byId("compare-after").length !== numbers.length;
    for (const id of ["compare-before", "compare-after"]) {
      patch(byId(id), numbers, String, (number) =>
        el("option", { value: number, text: `version ${number}` }),
      );
    }
    if (fresh && numbers.length > 1) {
      byId("compare-before").value = String(numbers[1]);
      byId("compare-after").value = String(numbers[0]);
    }
  }

  async #compare() {
    const box = byId("compared");
    box.hidden = this.#versions.length < 2;
    if (box.hidden) return;
    const [before, after] = ["compare-before", "compare-after"].map((id) => Number(byId(id).value));
    const asked = `${this.#scope} ${before} ${after}`;
    if (asked === this.#compared) return;
    this.#compared = asked;
    const texts = [await this.#text(before), await this.#text(after)];
    if (asked === this.#compared) box.replaceChildren(diffView(...texts));
  }
}

function updateVersion(node, policy, newest) {
  const { version, created_at: at, author, note, rolled_back_to: back } = policy;
  const [number, badge, button, words, when] = node.children;
  say(number, `Version ${version}`);
  badge.hidden = version !== newest;
  button.hidden = version === newest;
  mark(button, "aria-label", `Roll back to version ${version}`);
  say(words, note ?? (back ? `Rolled back to version ${back}` : ""));
  words.hidden = words.textContent === "";
  say(when, [moment(at), author].filter(Boolean).join(" · "));
}
