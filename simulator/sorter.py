"""Choosing one of a closed set of answers, where a system message asks for that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from simulator.asks import Turn
from simulator.words import stems

NONE = "none"
_ORDER = re.compile(r"\bexactly one of (?:these|the following) (?:labels|answers|words)\b", re.I)
_LABEL = re.compile(r"^[-*] ([^\s:]+): (.+)$", re.MULTILINE)


def choice(turns: Sequence[Turn]) -> str | None:
    """The answer whose meaning shares most words with the last message, `none` where none does, or
    None if no choice is asked for.

    The answers are lines like `- label: what it means`; the earlier one wins among equals.
    """
    if not turns or turns[-1].speaker != "user":
        return None
    orders = [turn.text for turn in turns[:-1] if turn.speaker == "system"]
    asked = next((text for text in orders if _ORDER.search(text)), None)
    if asked is None:
        return None
    said = Counter(stems(turns[-1].text))
    best, shared = NONE, 0
    for label, meaning in _LABEL.findall(asked):
        count = sum(said[stem] for stem in {*stems(label), *stems(meaning)})
        if count > shared:
            best, shared = label, count
    return best
