/** The state of things in five words, each a link to its part. */

import { byId, el } from "../dom.js";
import { mark, patch, say } from "./patch.js";

/**
 * @param {{name: string, part: string, words: string, state: "good"|"wait"|"bad"|""}[]} facts
 */
export function showGlance(facts) {
  patch(byId("glance"), facts, ({ name }) => name, makeFact, (node, { words, state }) => {
    say(node.querySelector("a"), words);
    mark(node, "data-state", state);
  });
}

function makeFact({ name, part }) {
  return el("div", {}, el("dt", { text: name }), el("dd", {}, el("a", { href: `#${part}` })));
}
