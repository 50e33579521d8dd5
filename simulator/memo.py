"""Summing up a conversation on request, and hearing what such a summary says.

A memo holds what the user stated, in the user's own words, one line each, so that whoever is given
it in place of the conversation remembers as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from simulator.asks import Turn
from simulator.recall import Facts, facts_in

LINES = 60
LINE_CHARACTERS = 300
NOTHING = "Nothing was said that needs remembering."

_ORDER = re.compile(r"\bsummari[sz]e\b|\b(?:write|give|make)\b[^.]{0,40}\bsummary\b", re.IGNORECASE)
_MEMO = re.compile(r"\bsummary of the conversation\b", re.IGNORECASE)
_SAID = re.compile(r"^user: (.+)$", re.MULTILINE)


def memo(turns: Sequence[Turn]) -> str | None:
    """The summary that is asked for, or None if none is.

    It is asked for by a system message, of a conversation that is written down in the last message
    as `user: …` and others' lines.
    """
    if not turns or turns[-1].speaker != "user" or not turns[-1].text.lstrip():
        return None
    if not any(turn.speaker == "system" and _ORDER.search(turn.text) for turn in turns[:-1]):
        return None
    said = dict.fromkeys(_lines(turns[-1].text))
    if not said:
        return None
    told = [f"user: {line}" for line in said if facts_in([line]) != Facts()]
    return "\n".join(told[-LINES:]) or NOTHING


def heard(turn: Turn) -> list[str]:
    """What the user said according to a summary in a system message, oldest first."""
    if turn.speaker != "system":
        return []
    found = _MEMO.search(turn.text)
    return [] if found is None else list(_lines(turn.text[found.end() :]))


def _lines(text: str) -> Iterator[str]:
    return (found[1].strip()[:LINE_CHARACTERS] for found in _SAID.finditer(text))
