"""What is written: aligned tables, with colours where a person looks."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

GAP = "  "
MAX_CELL = 60
_COLOURS = {"good": "32", "bad": "31", "warn": "33", "soft": "2", "strong": "1"}
_OF_WORDS = {
    "closed": "good",
    "match": "good",
    "probing": "warn",
    "open": "bad",
    "failed": "bad",
    "no": "soft",
    "skipped": "soft",
}


class Screen:
    """Writes to a stream; in colour only where that is a terminal that wants it."""

    def __init__(self, out: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._coloured = (
            out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        )

    def line(self, text: str = "", colour: str | None = None) -> None:
        self._out.write(self._in(plain(text), colour) + "\n")

    def raw(self, text: str) -> None:
        """Text that may be read by a program; on a terminal without what would steer it."""
        self._out.write(plain(text, keep="\n\t") if self._out.isatty() else text)

    def json(self, value: Any) -> None:
        self._out.write(json.dumps(value, indent=2, ensure_ascii=self._out.isatty()) + "\n")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Columns as wide as what is in them; one of numbers alone is aligned to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [
            max(_width(text) for text in column) for column in zip(titles, *cells, strict=True)
        ]
        right = [
            bool(rows) and all(isinstance(row[at], int | float) or row[at] is None for row in rows)
            for at in range(len(titles))
        ]
        self._row(titles, widths, right, "soft")
        for row in cells:
            self._row(row, widths, right, None)

    def _row(
        self, cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], colour: str | None
    ) -> None:
        padded: list[str] = []
        for text, width, to_right in zip(cells, widths, right, strict=True):
            space = " " * (width - _width(text))
            shown = self._in(text, colour or _OF_WORDS.get(text))
            padded.append(space + shown if to_right else shown + space)
        self._out.write(GAP.join(padded).rstrip() + "\n")

    def _in(self, text: str, colour: str | None) -> str:
        if colour is None or not self._coloured:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def plain(text: str, keep: str = "") -> str:
    """`text` without what would steer a terminal."""
    return "".join(
        char if char in keep or unicodedata.category(char)[0] != "C" else "�" for char in text
    )


def when(seconds: float) -> str:
    """A time of this machine's clock and zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = plain(" ".join(f"{value:g}".split() if isinstance(value, float) else str(value).split()))
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
