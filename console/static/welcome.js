/** What an empty chat shows: something to begin with, and who is there to answer. */

import { byId, el } from "./dom.js";
import { createFace } from "./face.js";

const PROMPTS = [
  ["Explain an idea", "How does the actor model work? Use a picture from the theatre."],
  ["Write some code", "Write a Python function that greets a person by name."],
  ["Tell a story", "Tell me a short story about a lighthouse keeper."],
  ["Be remembered", "My name is Ada and I play chess. What could you help me with?"],
];

/** @param {(text: string) => void} send */
export function offerPrompts(send) {
  byId("prompts").replaceChildren(
    ...PROMPTS.map(([name, text]) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", on: { click: () => send(text) } },
          el("strong", { text: name }),
          el("span", { text }),
        ),
      ),
    ),
  );
}

/**
 * @param {{name: string, description?: string, simulated?: boolean}[]} agents
 * @param {(name: string) => void} choose
 */
export function introduce(agents, choose) {
  const named = agents.filter(({ name }) => name !== "auto");
  byId("cast").replaceChildren(
    ...named.map(({ name, description, simulated }) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", "aria-label": `Talk to ${name}`, on: { click: () => choose(name) } },
          createFace(name),
          el(
            "span",
            { class: "part" },
            el("strong", { text: name }),
            simulated ? el("em", { text: "simulated" }) : null,
            el("small", { text: description ?? "" }),
          ),
        ),
      ),
    ),
  );
  byId("cast-title").hidden = named.length === 0;
  byId("simulated").hidden = !named.some(({ simulated }) => simulated);
}
