"""How reasons quote what somebody wrote, and guess what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

SHOWN_CHARS = 60
LISTED = 20


def shown(text: str | None, most: int = SHOWN_CHARS) -> str:
    """A short quotation for a reason: one line, no control characters, bounded."""
    return f'"{line(text, most)}"'


def line(text: str | None, most: int) -> str:
    """One line without control characters, cut where it is longer."""
    text = " ".join((text or "").split())
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= most else f"{text[:most]}…"


def meant(name: str, known: Collection[str]) -> str:
    """`; did you mean …?` where one of the known is close."""
    close = difflib.get_close_matches(name[:64], known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def listed(names: Collection[str]) -> str:
    """The names in their order, as many as a sentence can hold."""
    ordered = sorted(names)
    return ", ".join(ordered[:LISTED]) + (", …" if len(ordered) > LISTED else "")
