"""How well the words on a page can be told from what they stand on, by WCAG's measure."""

from __future__ import annotations

from typing import Any

CONTRAST = r"""() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (...colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const found = [];
  const body = getComputedStyle(document.body).backgroundColor;
  for (const node of document.body.querySelectorAll("*")) {
    const words = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE)
      .map((child) => child.data.trim()).join(" ").trim();
    if (!words || node.closest(".visually-hidden, .skip, noscript, option, :disabled")) continue;
    if (!node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const grounds = [];
    for (let at = node; at; at = at.parentElement) {
      grounds.unshift(getComputedStyle(at).backgroundColor);
    }
    const style = getComputedStyle(node);
    const under = light(paint(...grounds));
    const over = light(paint(...grounds, style.color));
    const px = parseFloat(style.fontSize);
    found.push({
      words: words.slice(0, 40),
      large: px >= 24 || (px >= 18.66 && Number(style.fontWeight) >= 700),
      ratio: (Math.max(under, over) + 0.05) / (Math.min(under, over) + 0.05),
      page: light(paint(body)),
    });
  }
  return found;
}"""
"""Run in a page: every text that can be seen, with its ratio."""


def too_faint(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that miss WCAG AA."""
    return [found for found in seen if found["ratio"] < (3 if found["large"] else 4.5)]
