"""What Postgres and JSON cannot hold is taken out of text before it is stored.

Postgres refuses U+0000 in text, and a lone surrogate has no UTF-8. A person's input that holds
one is refused at the gateway; a model's output is not the reader's fault, so it is cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text without U+0000 and without lone surrogates."""
    if _is_storable(text):
        return text
    return _UNSTORABLE.sub("", text)


def storable_cuts(text: str, cuts: Sequence[int]) -> tuple[str, list[int]]:
    """`storable` for a text that was streamed in pieces of the lengths `cuts`.

    The number of pieces stays, since the numbering of events hangs on it; a piece may become
    empty.
    """
    if _is_storable(text):
        return text, list(cuts)
    pieces: list[str] = []
    start = 0
    for length in cuts:
        pieces.append(storable(text[start : start + length]))
        start += length
    return "".join(pieces) + storable(text[start:]), [len(piece) for piece in pieces]


def _is_storable(text: str) -> bool:
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
