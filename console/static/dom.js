/**
 * Making and finding elements. Text reaches the page through text nodes alone: no function here
 * or elsewhere parses markup, and the page's policy (Trusted Types) makes the browser refuse it.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Strokes of the icons, on a 24 by 24 grid. */
const ICONS = {
  copy: ["M9 9h10v11H9z", "M5 15V4h10"],
  no: ["M6 12h12"],
  done: ["M5 12.5l4.5 4.5L19 7.5"],
  retry: ["M4 12a8 8 0 1 1 2.6 5.9", "M4 19v-5h5"],
  fork: [
    "M7 3.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 1 1 0-5",
    "M7 15.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 1 1 0-5",
    "M17 4.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 1 1 0-5",
    "M7 8.5v7",
    "M17 9.5c0 4-10 2-10 6",
  ],
  answer: ["M4 5h16v11h-8l-5 4v-4H4z"],
  edit: ["M5 19l1-4L16 5l3 3L9 18z"],
  more: ["M6 12h.01", "M12 12h.01", "M18 12h.01"],
  warn: ["M12 8v5", "M12 16.5h.01", "M12 3.5l9 16H3z"],
  route: ["M5 19c0-8 14-6 14-14", "M15 8l4-4 2 5"],
};

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object<string, any>} [props] `class`, `text`, `on` ({event: listener}), `data` (dataset);
 *   any other is an attribute, left out when null or false and empty when true.
 * @param {...(Node|string|null)} children
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An icon for the eye alone; what it stands in must carry the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const stroke of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", stroke);
    svg.append(path);
  }
  return svg;
}

/** The element with this id; the page is broken without it, so its absence is an error. */
export function byId(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`the page has no #${id}`);
  return node;
}

/**
 * Put text on the clipboard; true when it worked.
 *
 * The modern interface exists in secure contexts alone. A page opened over plain HTTP from another
 * machine has to go through a selection.
 */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused (no focus, no permission): the selection below may still do.
    }
  }
  const focused = document.activeElement;
  const area = el("textarea", { class: "visually-hidden", readonly: true, "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
