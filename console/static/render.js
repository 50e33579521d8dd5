/**
 * Markdown into elements, also while it is still arriving.
 *
 * A `MarkdownView` shows one answer. When more of it has come it parses again only from the start
 * of the last block that may still change, and changes only those nodes that differ, so a long
 * answer costs no more per token than a short one and a selection is not lost. A block is settled
 * once another one stands after it that begins on a complete line: the line that is still arriving
 * may yet turn out to be something else.
 */

import { el } from "./dom.js";
import { parseInline } from "./inline.js";
import { parseBlocks } from "./markdown.js";

export class MarkdownView {
  #root;
  #onSettled;
  #text = "";
  #final = false;
  #settled = 0;
  #open = [];

  /**
   * @param {HTMLElement} root Where the blocks go; the view owns all its children.
   * @param {(node: HTMLElement) => void} [onSettled] Told of every block that will change no more.
   */
  constructor(root, onSettled = () => {}) {
    this.#root = root;
    this.#onSettled = onSettled;
  }

  /**
   * Show `text`, which is usually what was shown before and a little more.
   *
   * @param {string} text
   * @param {boolean} final Whether nothing more will come.
   */
  update(text, final) {
    if (text === this.#text && this.#final) return;
    if (this.#final || !text.startsWith(this.#text)) {
      this.#root.replaceChildren();
      this.#settled = 0;
      this.#open = [];
    }
    this.#text = text;
    this.#final = final;
    const tail = text.slice(this.#settled);
    const blocks = parseBlocks(tail);
    blocks.forEach((block, index) =>
      this.#show(block, index, !final && index === blocks.length - 1),
    );
    for (const node of this.#open.splice(blocks.length)) node.remove();

    const complete = final ? Infinity : tail.lastIndexOf("\n") + 1;
    let ready = 0;
    while (ready + 1 < blocks.length && lineEnd(tail, blocks[ready + 1].start) <= complete)
      ready += 1;
    if (final) ready = blocks.length;
    if (ready > 0 && ready < blocks.length) this.#settled += blocks[ready].start;
    if (final) this.#settled = text.length;
    for (const node of this.#open.splice(0, ready)) this.#onSettled(node);
  }

  #show(block, index, open) {
    const node = renderBlock(block, open);
    if (index < this.#open.length) this.#open[index] = patch(this.#open[index], node);
    else {
      this.#root.append(node);
      this.#open.push(node);
    }
  }
}

function lineEnd(text, at) {
  const end = text.indexOf("\n", at);
  return end < 0 ? Infinity : end + 1;
}

/**
 * Make `old` equal to `fresh`, keeping every node that can stay; returns what now stands there.
 *
 * Nodes made here carry no listeners of their own (the transcript listens for all of them), which
 * is what allows them to be reused.
 */
function patch(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data === fresh.data) return old;
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.data.length));
    else old.data = fresh.data;
    return old;
  }
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((child, index) => {
    if (index < before.length) patch(before[index], child);
    else old.append(child);
  });
  for (const child of before.slice(after.length)) child.remove();
  return old;
}

function renderBlock(block, open) {
  switch (block.type) {
    case "heading":
      // The page's own headings are h1 and h2: an answer's outline begins below them.
      return el(`h${Math.min(block.level + 2, 6)}`, {}, ...renderInline(block.text, open));
    case "code":
      return renderCode(block);
    case "quote":
      return el("blockquote", {}, ...renderAll(block.blocks, open));
    case "list":
      return renderList(block, open);
    case "table":
      return renderTable(block, open);
    case "rule":
      return el("hr");
    default:
      return el("p", {}, ...renderInline(block.text, open));
  }
}

function renderAll(blocks, open) {
  return blocks.map((block, index) => renderBlock(block, open && index === blocks.length - 1));
}

function renderCode({ language, text }) {
  const head = el(
    "div",
    { class: "code-head" },
    el("span", { class: "code-language", text: language || "text" }),
    el("button", { type: "button", class: "quiet", data: { action: "copy-code" }, text: "Copy" }),
  );
  // Focusable, since what is wider than the page can otherwise not be scrolled by keyboard.
  const pre = el(
    "pre",
    { tabindex: "0", role: "region", "aria-label": `Code${language ? `, ${language}` : ""}` },
    el("code", { text }),
  );
  return el("div", { class: "code" }, head, pre);
}

function renderList({ ordered, first, loose, items }, open) {
  const list = el(ordered ? "ol" : "ul", { start: ordered && first !== 1 ? String(first) : null });
  items.forEach(({ checked, blocks }, index) => {
    const last = open && index === items.length - 1;
    const nodes = renderAll(blocks, last);
    // In a tight list an item's words stand in the item itself, without a paragraph's margins.
    const inside = nodes.flatMap((node) =>
      !loose && node.nodeName === "P" ? [...node.childNodes] : [node],
    );
    const box =
      checked === null ? [] : [el("span", { class: "task", text: checked ? "☑ " : "☐ " })];
    list.append(el("li", { class: checked === null ? null : "has-task" }, ...box, ...inside));
  });
  return list;
}

function renderTable({ head, align, rows }, open) {
  const cell = (tag) => (text, column) =>
    el(
      tag,
      { scope: tag === "th" ? "col" : null, class: align[column] ? `to-${align[column]}` : null },
      ...renderInline(text, open),
    );
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...head.map(cell("th")))));
  if (rows.length) {
    table.append(el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell("td"))))));
  }
  return el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, table);
}

const TAGS = { em: "em", strong: "strong", struck: "s" };

function renderInline(text, open) {
  return parseInline(text, { open }).map(renderSpan);
}

function renderSpan(span) {
  switch (span.type) {
    case "text":
      return document.createTextNode(span.text);
    case "code":
      return el("code", { text: span.text });
    case "break":
      return el("br");
    case "link":
      return el(
        "a",
        { href: span.href, target: "_blank", rel: "noopener noreferrer nofollow" },
        ...span.children.map(renderSpan),
      );
    default:
      return el(TAGS[span.type], {}, ...span.children.map(renderSpan));
  }
}
