/**
 * Markdown blocks: text in, a tree of plain objects out. Knows nothing of the document.
 *
 * Why our own: the page has no build step and no package manager at run time, and no maintained
 * Python wheel ships a Markdown library ready for browsers; a copy of one in this folder would be
 * a dependency that no lock file sees. Models use a small part of Markdown, and that part fits
 * three short files which, unlike the libraries, never make HTML text that would then have to be
 * cleaned: `markdown.js` (blocks), `inline.js` (what is inside a line), `render.js` (elements).
 *
 * What is understood: paragraphs, headings (#), fenced code, lists (nested, numbered, tasks),
 * quotes, tables, rules. HTML is text. Images become links: showing one would tell its server
 * who reads this chat.
 *
 * Every block knows the offset at which it starts. Blocks at the top level do not depend on what
 * stands before them, so a reader may start again at any block's start: `render.js` counts on it
 * to redo only the end of an answer that is still arriving.
 *
 * @typedef {{type: string, start: number, [more: string]: any}} Block
 */

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const MARKER = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)/;
const ALIGNMENT = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MAX_DEPTH = 12;

/**
 * @param {string} source
 * @returns {Block[]}
 */
export function parseBlocks(source) {
  const lines = [];
  let start = 0;
  for (const raw of source.split("\n")) {
    lines.push({ text: expandTabs(raw.endsWith("\r") ? raw.slice(0, -1) : raw), start });
    start += raw.length + 1;
  }
  return blocksOf(lines, 0);
}

/** Tabs at the beginning of a line count to the next multiple of four. */
function expandTabs(text) {
  let at = 0;
  let width = 0;
  for (; text[at] === " " || text[at] === "\t"; at += 1)
    width += text[at] === "\t" ? 4 - (width % 4) : 1;
  return width === at ? text : " ".repeat(width) + text.slice(at);
}

const isBlank = (text) => text.trim() === "";
const indentOf = (text) => text.length - text.trimStart().length;

function blocksOf(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at].text)) {
      at += 1;
      continue;
    }
    const reader = depth < MAX_DEPTH ? readerFor(lines, at) : paragraph;
    const [block, next] = reader(lines, at, depth);
    block.start = lines[at].start;
    blocks.push(block);
    at = next;
  }
  return blocks;
}

function readerFor(lines, at) {
  const { text } = lines[at];
  if (FENCE.test(text)) return fence;
  if (HEADING.test(text)) return heading;
  if (RULE.test(text)) return rule;
  if (QUOTE.test(text)) return quote;
  if (MARKER.test(text)) return list;
  if (startsTable(lines, at)) return table;
  return paragraph;
}

/** Whether a line ends the paragraph before it. A number does so only when it counts from 1. */
function interrupts(lines, at) {
  const { text } = lines[at];
  if (FENCE.test(text) || HEADING.test(text) || RULE.test(text) || QUOTE.test(text)) return true;
  const marker = MARKER.exec(text);
  if (marker && !isBlank(text.slice(marker[0].length))) {
    return !/\d/.test(marker[2]) || /^0*1[.)]$/.test(marker[2]);
  }
  return startsTable(lines, at);
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end].text) && !interrupts(lines, end)) end += 1;
  const text = lines
    .slice(at, end)
    .map((line) => line.text.trimStart())
    .join("\n");
  return [{ type: "paragraph", text: text.trimEnd() }, end];
}

function heading(lines, at) {
  const [lead, marks] = HEADING.exec(lines[at].text);
  const text = lines[at].text.slice(lead.length).trim();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  const closed = end === 0 || /[ \t]/.test(text[end - 1]);
  const words = closed ? text.slice(0, end).trimEnd() : text;
  return [{ type: "heading", level: marks.length, text: words }, at + 1];
}

function rule(lines, at) {
  return [{ type: "rule" }, at + 1];
}

function fence(lines, at) {
  const [, indent, mark, info] = FENCE.exec(lines[at].text);
  const closing = new RegExp(`^ {0,3}${mark[0]}{${mark.length},}[ \\t]*$`);
  const code = [];
  let end = at + 1;
  let closed = false;
  for (; end < lines.length && !closed; end += 1) {
    const { text } = lines[end];
    if (closing.test(text)) closed = true;
    else code.push(text.slice(Math.min(indent.length, indentOf(text))));
  }
  return [
    { type: "code", language: info.trim().split(/\s+/)[0], text: code.join("\n"), closed },
    end,
  ];
}

function quote(lines, at, depth) {
  const inner = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const { text, start } = lines[end];
    if (QUOTE.test(text)) inner.push({ text: text.replace(QUOTE, ""), start });
    else if (isBlank(text) || interrupts(lines, end)) break;
    else inner.push({ text, start });
  }
  return [{ type: "quote", blocks: blocksOf(inner, depth + 1) }, end];
}

/**
 * A list ends at a line that is neither indented to its items nor a marker of its own kind. What
 * belongs to an item is that item's own lines with the indentation taken off, parsed anew.
 */
function list(lines, at, depth) {
  const first = MARKER.exec(lines[at].text)[2];
  const kind = first.at(-1);
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const marker = MARKER.exec(lines[end].text);
    if (!marker || marker[2].at(-1) !== kind || RULE.test(lines[end].text)) break;
    const gap = marker[3].length > 4 || marker[3] === "" ? 1 : marker[3].length;
    const indent = marker[1].length + marker[2].length + gap;
    const own = [{ text: lines[end].text.slice(indent), start: lines[end].start }];
    let blank = false;
    let next = end + 1;
    for (; next < lines.length; next += 1) {
      const { text, start } = lines[next];
      if (isBlank(text)) {
        blank = true;
        own.push({ text: "", start });
      } else if (indentOf(text) >= indent) {
        own.push({ text: text.slice(indent), start });
      } else if (blank || MARKER.test(text) || interrupts(lines, next)) break;
      else own.push({ text: text.trimStart(), start });
    }
    let trailing = 0;
    while (own.length > 1 && isBlank(own.at(-1).text)) {
      own.pop();
      trailing += 1;
    }
    const more = next < lines.length && MARKER.exec(lines[next].text);
    loose ||= own.some((line, index) => index > 0 && isBlank(line.text));
    loose ||= trailing > 0 && Boolean(more) && more[2].at(-1) === kind;
    items.push(item(own, depth));
    end = next;
  }
  const ordered = /\d/.test(first);
  return [{ type: "list", ordered, first: ordered ? parseInt(first, 10) : 1, loose, items }, end];
}

function item(lines, depth) {
  const task = /^\[([ xX])\][ \t]+/.exec(lines[0].text);
  if (task) lines[0] = { ...lines[0], text: lines[0].text.slice(task[0].length) };
  return { checked: task ? task[1] !== " " : null, blocks: blocksOf(lines, depth + 1) };
}

function startsTable(lines, at) {
  if (at + 1 >= lines.length || !lines[at].text.includes("|")) return false;
  const under = lines[at + 1].text;
  if (!ALIGNMENT.test(under) || !/[|:]/.test(under)) return false;
  return cells(lines[at].text).length === cells(under).length;
}

function table(lines, at) {
  const head = cells(lines[at].text);
  const align = cells(lines[at + 1].text).map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return cell.startsWith(":") ? "left" : null;
  });
  const rows = [];
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end].text)) {
    if (!lines[end].text.includes("|") && interrupts(lines, end)) break;
    const row = cells(lines[end].text);
    rows.push(head.map((_, column) => row[column] ?? ""));
    end += 1;
  }
  return [{ type: "table", head, align, rows }, end];
}

/** A row's cells; `\|` is a bar and so is one inside a code span. */
function cells(text) {
  const row = text
    .trim()
    .replace(/^\|/, "")
    .replace(/(^|[^\\])\|$/, "$1");
  const found = [""];
  let code = false;
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") {
      found[found.length - 1] += "|";
      at += 1;
    } else if (row[at] === "|" && !code) found.push("");
    else {
      if (row[at] === "`") code = !code;
      found[found.length - 1] += row[at];
    }
  }
  return found.map((cell) => cell.trim());
}
