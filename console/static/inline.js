/**
 * What stands inside a line of Markdown: text in, a tree of plain objects out.
 *
 * Understood: `code`, *emphasis*, **strong**, ~~struck~~, [links](https://…), bare addresses and
 * line ends. Everything else, HTML included, is text. Emphasis follows CommonMark's rule of runs
 * that can open or close, so that `snake_case` and `2 * 3 * 4` stay as they were written.
 *
 * @typedef {{type: "text"|"code", text: string} | {type: "break"} |
 *   {type: "em"|"strong"|"struck", children: Span[]} |
 *   {type: "link", href: string, children: Span[]}} Span
 */

const ESCAPABLE = /[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const ADDRESS = /^https?:\/\/[^\s<>"`]+/i;
const PLAIN = /[^\\`*_~[!<h\n ]+|[^]/y;
const MAX_DEPTH = 8;

/* Bounds on what a text can cost: pairing may take the square of a paragraph's length. What is
   longer than anybody writes without an empty line is shown as it stands. */
const MAX_CHARS = 10_000;
const MAX_LINK_CHARS = 2_000;

/**
 * @param {string} text
 * @param {{open?: boolean, depth?: number}} [options] `open`: the text is still arriving, so a
 *   `**` or a backtick without its partner is taken to end where the text ends for now.
 * @returns {Span[]}
 */
export function parseInline(text, { open = false, depth = 0 } = {}) {
  if (depth > MAX_DEPTH || text.length > MAX_CHARS) return [{ type: "text", text }];
  const parts = [];
  let at = 0;
  const say = (words) => {
    if (parts.at(-1)?.type === "text") parts.at(-1).text += words;
    else parts.push({ type: "text", text: words });
  };
  while (at < text.length) {
    const found = spanAt(text, at, { open, depth });
    if (found) {
      parts.push(found.span);
      at = found.end;
      continue;
    }
    const char = text[at];
    if (char === "\\" && ESCAPABLE.test(text[at + 1] ?? "")) {
      say(text[at + 1]);
      at += 2;
    } else if (char === "*" || char === "_" || char === "~") {
      let end = at;
      while (text[end] === char) end += 1;
      parts.push(run(text, at, end));
      at = end;
    } else {
      PLAIN.lastIndex = at;
      const words = PLAIN.exec(text)[0];
      say(words);
      at += words.length;
    }
  }
  return pair(parts, open);
}

/** The web address that `text` is, or null: nothing but http and https may be followed. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** A span that needs no pairing (code, link, address, line end) where one starts, or null. */
function spanAt(text, at, { open, depth }) {
  switch (text[at]) {
    case "`":
      return code(text, at, open);
    case "[":
      return link(text, at, depth);
    case "!":
      return text[at + 1] === "[" ? link(text, at + 1, depth) : null;
    case "<": {
      const inner = /^<(https?:\/\/[^\s<>]+)>/i.exec(text.slice(at));
      const href = inner && webAddress(inner[1]);
      return href ? linked(href, inner[1], at + inner[0].length) : null;
    }
    case "h":
    case "H":
      return address(text, at);
    case " ": {
      const spaces = /^ {2,}\n */.exec(text.slice(at));
      return spaces && { span: { type: "break" }, end: at + spaces[0].length };
    }
    case "\\":
      return text[at + 1] === "\n" ? { span: { type: "break" }, end: at + 2 } : null;
    case "\n":
      return { span: { type: "break" }, end: at + 1 };
    default:
      return null;
  }
}

const linked = (href, label, end) => ({
  span: { type: "link", href, children: [{ type: "text", text: label }] },
  end,
});

function code(text, at, open) {
  const ticks = /^`+/.exec(text.slice(at))[0];
  let close = text.indexOf(ticks, at + ticks.length);
  while (close >= 0) {
    const after = close + ticks.length;
    if (text[after] !== "`" && text[close - 1] !== "`") {
      return {
        span: { type: "code", text: trimCode(text.slice(at + ticks.length, close)) },
        end: after,
      };
    }
    let next = after;
    while (text[next] === "`") next += 1;
    close = text.indexOf(ticks, next);
  }
  const rest = text.slice(at + ticks.length);
  if (open && rest && !rest.includes("`")) {
    return { span: { type: "code", text: trimCode(rest) }, end: text.length };
  }
  return { span: { type: "text", text: ticks }, end: at + ticks.length };
}

function trimCode(text) {
  const flat = text.replaceAll("\n", " ");
  const padded = flat.startsWith(" ") && flat.endsWith(" ") && flat.trim() !== "";
  return padded ? flat.slice(1, -1) : flat;
}

/** `[label](address "title")`; the label may hold brackets in pairs, the address parentheses. */
function link(text, at, depth) {
  const middle = closing(text, at, "[", "]");
  if (middle < 0 || text[middle + 1] !== "(") return null;
  const end = closing(text, middle + 1, "(", ")");
  if (end < 0) return null;
  const target = /^\s*<?([^\s<>]*)>?(?:\s+["'(].*["')])?\s*$/s.exec(text.slice(middle + 2, end));
  const href = target && webAddress(target[1]);
  if (!href) return null;
  const label = text.slice(at + 1, middle);
  const children = label
    ? parseInline(label, { depth: depth + 1 })
        .map(unlinked)
        .flat()
    : [];
  const shown = children.length ? children : [{ type: "text", text: href }];
  return { span: { type: "link", href, children: shown }, end: end + 1 };
}

/** A link inside a link's label is its words. */
function unlinked(span) {
  return span.type === "link" ? span.children : [span];
}

function closing(text, at, opens, closes) {
  let depth = 0;
  const last = Math.min(text.length, at + MAX_LINK_CHARS);
  for (let index = at; index < last; index += 1) {
    if (text[index] === "\\") index += 1;
    else if (text[index] === opens) depth += 1;
    else if (text[index] === closes) {
      depth -= 1;
      if (depth === 0) return index;
    }
  }
  return -1;
}

/** A bare address; what ends a sentence or closes a bracket around it is not part of it. */
function address(text, at) {
  if (at > 0 && /[\p{L}\p{N}_]/u.test(text[at - 1])) return null;
  const found = ADDRESS.exec(text.slice(at));
  if (!found) return null;
  let [raw] = found;
  for (;;) {
    const last = raw.at(-1);
    const unbalanced = last === ")" && raw.split(")").length > raw.split("(").length;
    if (!unbalanced && !/[.,:;!?'"*_~\]]/.test(last)) break;
    raw = raw.slice(0, -1);
  }
  const href = webAddress(raw);
  return href && linked(href, raw, at + raw.length);
}

/** A run of `*`, `_` or `~`, with what CommonMark's flanking rules let it do. */
function run(text, at, end) {
  const before = at === 0 ? " " : text.slice(Math.max(0, at - 2), at).match(/.$/su)[0];
  const after = end === text.length ? " " : String.fromCodePoint(text.codePointAt(end));
  const marks = text[at];
  const gapAfter = /\s/.test(after);
  const gapBefore = /\s/.test(before);
  const left = !gapAfter && (!PUNCTUATION.test(after) || gapBefore || PUNCTUATION.test(before));
  const right = !gapBefore && (!PUNCTUATION.test(before) || gapAfter || PUNCTUATION.test(after));
  const inWord = marks === "_" && left && right;
  return {
    type: "run",
    marks,
    size: end - at,
    opens: left && (!inWord || PUNCTUATION.test(before)),
    closes: right && (!inWord || PUNCTUATION.test(after)),
  };
}

/** Pair the runs from the inside out; what finds no partner is text. */
function pair(parts, open) {
  const done = [];
  for (const part of parts) {
    if (part.type !== "run") {
      done.push(part);
      continue;
    }
    const closer = { ...part };
    while (closer.closes && closer.size > 0) {
      const from = done.findLastIndex((other) => matches(other, closer));
      if (from < 0) break;
      wrap(done, from, closer);
    }
    if (closer.size > 0) done.push(closer);
  }
  if (open) {
    const from = done.findIndex((part) => part.type === "run" && part.opens && part.size === 2);
    if (from >= 0 && from < done.length - 1 && done[from].marks !== "~") {
      const children = plain(done.splice(from + 1));
      done[from] = { type: "strong", children };
    }
  }
  return plain(done);
}

function matches(opener, closer) {
  if (opener.type !== "run" || !opener.opens || opener.marks !== closer.marks) return false;
  if (closer.marks === "~") return opener.size === closer.size && closer.size <= 2;
  const both = (opener.closes || closer.opens) && (opener.size + closer.size) % 3 === 0;
  return !both || (opener.size % 3 === 0 && closer.size % 3 === 0);
}

function wrap(done, from, closer) {
  const opener = done[from];
  const struck = closer.marks === "~";
  const used = struck ? closer.size : Math.min(opener.size, closer.size, 2);
  const children = plain(done.splice(from + 1));
  const type = struck ? "struck" : used === 2 ? "strong" : "em";
  opener.size -= used;
  closer.size -= used;
  if (opener.size === 0) done.pop();
  done.push({ type, children });
}

/** Runs without a partner become the characters they are; neighbouring text becomes one. */
function plain(parts) {
  const out = [];
  for (const part of parts) {
    const span = part.type === "run" ? { type: "text", text: part.marks.repeat(part.size) } : part;
    if (span.type === "text" && out.at(-1)?.type === "text") out.at(-1).text += span.text;
    else out.push(span.type === "text" ? { ...span } : span);
  }
  return out;
}
