/** Showing what differs between two texts, and asking before it is made so. */

import { byId, el } from "../dom.js";
import { diff, hunks } from "./diff.js";

const SIGNS = { "+": "added", "-": "removed", " ": "same" };

/** The lines that differ, with some around them. */
export function diffView(before, after) {
  const groups = hunks(diff(before, after));
  if (groups.length === 0) return el("p", { class: "soft", text: "They are the same." });
  const shown = groups.map((lines) => el("div", { class: "hunk" }, ...lines.map(line)));
  return el("div", { class: "diff" }, ...shown);
}

function line({ sign, text, before, after }) {
  return el(
    "div",
    { class: `diff-line ${SIGNS[sign]}` },
    el("span", { class: "diff-number", text: String(after ?? before) }),
    el("span", { class: "diff-sign", text: sign }),
    el("span", { class: "diff-text", text }),
  );
}

/**
 * Ask whether to make a change, and make it.
 *
 * @param {object} asked
 * @param {(note: string) => Promise<any>} asked.change What it throws is shown; the question stays.
 * @returns {Promise<any>} What `change` gave; null when a person would rather not.
 */
export function confirmChange({ title, words, yes, before, after, change }) {
  const dialog = byId("change-dialog");
  const button = byId("change-yes");
  const note = byId("change-note");
  byId("change-title").textContent = title;
  byId("change-words").textContent = words;
  byId("change-diff").replaceChildren(diffView(before, after));
  byId("change-wrong").textContent = "";
  button.textContent = yes;
  note.value = "";
  return new Promise((resolve) => {
    let done = null;
    byId("change-cancel").onclick = () => dialog.close();
    dialog.onclose = () => resolve(done);
    byId("change-form").onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        done = await change(note.value.trim());
        dialog.close();
      } catch (error) {
        byId("change-wrong").textContent = error.message;
      } finally {
        button.disabled = false;
      }
    };
    dialog.showModal();
    note.focus();
  });
}
