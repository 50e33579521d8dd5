"""What a text is about, by its words alone: near is what shares words, however they are bent."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from zlib import crc32

LOOK_AT_CHARACTERS = 100_000
_WORD = re.compile(r"[^\W_]+")
_ENDINGS = ("ments", "ment", "ings", "ing", "ions", "ion", "ers", "er", "ies", "ed", "es")
_DULL_WORDS = """
    a about all am an and any are as at be been but by can could did do does for from had has have
    he her him his how i if in into is it its just me my no not of on or our please she should so
    some than that the their them then there these they this those to too up us was we were what
    when where which who why will with would you your
"""
_DULL = frozenset(_DULL_WORDS.split())
_STEM_CHARACTERS = 3


def stems(text: str) -> list[str]:
    """The telling words of a text, in order, without their endings."""
    words = _WORD.findall(text[:LOOK_AT_CHARACTERS].lower())
    return [_stem(word) for word in words if word not in _DULL]


def vector(text: str, dimensions: int) -> array[float]:
    """A vector of length one; its cosine with another text's grows with the words they share.

    Each stem has a place and a sign of its own, the same in every process.
    """
    numbers = array("f", bytes(4 * dimensions))
    for stem, count in Counter(stems(text) or [text]).items():
        mark = crc32(stem.encode())
        weight = 1 + math.log(count)
        numbers[(mark >> 1) % dimensions] += weight if mark & 1 else -weight
    length = math.sqrt(sum([number * number for number in numbers]))
    if length == 0:  # words that took each other's place, with opposite signs
        numbers[0] = length = 1.0
    return array("f", [number / length for number in numbers])


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_CHARACTERS:
            word = word.removesuffix(ending)
            break
    else:
        if word.endswith("s") and not word.endswith("ss") and len(word) > _STEM_CHARACTERS:
            word = word[:-1]
    if len(word) > _STEM_CHARACTERS and word[-1] == word[-2]:
        return word[:-1]  # planned, plan
    return word[:-1] if word.endswith(("e", "y")) and len(word) > _STEM_CHARACTERS else word
