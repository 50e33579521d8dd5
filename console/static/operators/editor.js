/** A text box whose lines are numbered, and marked where something is wrong with them. */

import { byId, el } from "../dom.js";

export class Editor {
  #box = byId("policy-text");
  #lines = byId("editor-lines");
  #wrong = new Set();

  /** @param {() => void} onEdit The text was changed by a person. */
  constructor(onEdit) {
    this.#box.addEventListener("input", () => {
      this.#wrong.clear();
      this.#number();
      onEdit();
    });
    this.#box.addEventListener("scroll", () => {
      this.#lines.style.transform = `translateY(${-this.#box.scrollTop}px)`;
    });
  }

  get text() {
    return this.#box.value;
  }

  set text(text) {
    this.#box.value = text;
    this.#wrong.clear();
    this.#number();
  }

  /** Nothing can be written as long as it is not known what is there. */
  set closed(closed) {
    this.#box.readOnly = closed;
  }

  /** @param {number[]} lines Counted from 1; all others lose their marks. */
  markLines(lines) {
    this.#wrong = new Set(lines);
    this.#number();
    this.#box.setAttribute("aria-invalid", String(lines.length > 0));
  }

  /** Put the caret at the start of a line, and the line into sight. */
  goTo(line) {
    const lines = this.#box.value.split("\n");
    const at = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    this.#box.focus();
    this.#box.setSelectionRange(at, at + (lines[line - 1] ?? "").length);
    const height = this.#box.scrollHeight / Math.max(1, lines.length);
    this.#box.scrollTop = Math.max(0, (line - 4) * height);
  }

  #number() {
    const count = this.#box.value.split("\n").length;
    const lines = this.#lines;
    while (lines.childElementCount > count) lines.lastElementChild.remove();
    while (lines.childElementCount < count) {
      lines.append(el("div", { text: String(lines.childElementCount + 1) }));
    }
    [...lines.children].forEach((node, at) => {
      node.className = this.#wrong.has(at + 1) ? "wrong" : "";
    });
    if (this.#wrong.size === 0) this.#box.removeAttribute("aria-invalid");
  }
}
