"""Going on with an answer that was cut off, as a model does that is asked to.

Such a request ends with the begun answer, as the assistant's, and an order in plain words. What
comes back is the rest: the two together are the answer that would have been given in one go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from simulator.asks import Turn

ORDER_CHARACTERS = 1_000
"""A longer message is about something else."""
_TAIL_CHARACTERS = 64

_CUT_OFF = ("cut off", "broken off", "broke off", "interrupted", "unfinished", "last character")
_GO_ON = re.compile(r"\b(?:continue|go on|carry on|resume|finish)\b")
_LAST_TOKENS = re.compile(r"(?:^|\s)t(\d+) (\S*)$")


def begun(turns: Sequence[Turn]) -> str | None:
    """The answer that is to be gone on with, or None if this is no request to do so."""
    if len(turns) < 2 or turns[-2].speaker != "assistant":
        return None
    order = turns[-1]
    if order.speaker == "assistant" or len(order.text) > ORDER_CHARACTERS:
        return None
    # Every request comes by here: words are looked for before expressions.
    low = order.text.lower()
    if not any(word in low for word in _CUT_OFF) or _GO_ON.search(low) is None:
        return None
    return turns[-2].text


def next_token(said: str) -> tuple[int, bytes]:
    """Which numbered token comes after `said`, and what of it is missing there.

    A text that is not made of numbered tokens is followed by the first of them.
    """
    found = _LAST_TOKENS.search(said[-_TAIL_CHARACTERS:])
    number = 0 if found is None else int(found[1]) + 1
    torn = said if found is None else found[2]
    whole = f"t{number} "
    return number, (whole.removeprefix(torn) if whole.startswith(torn) else whole).encode()


def rest(reply: str, said: str) -> str:
    """What is missing of a reply; all of it, as a new sentence, if it does not begin with this."""
    if reply.startswith(said):
        return reply[len(said) :]
    return reply if said[-1:].isspace() else f" {reply}"
