/** An agent's face: its initial, in a colour that it keeps wherever it appears. */

import { el } from "./dom.js";

const HUES = 6;

export function createFace(name = "") {
  const face = el("span", { class: "face", "aria-hidden": "true" });
  showFace(face, name);
  return face;
}

export function showFace(face, name) {
  face.textContent = [...name][0]?.toUpperCase() ?? "";
  face.dataset.hue = String(hueOf(name));
}

function hueOf(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return sum % HUES;
}
