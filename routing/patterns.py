"""Text patterns that match in time linear in the text, whatever the pattern.

A rule runs on the event loop that hundreds of sessions share, on text that anybody may send:
with a backtracking engine one expression and one message could stop them all. RE2 cannot
backtrack; what it therefore lacks (lookaround, backreferences) is refused at compilation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

MAX_PATTERN_CHARS = 2_000
MAX_KEYWORDS = 200
MAX_WHOLE = 500
"""Lists of words kept ready; each takes some 0.3 MB."""
SPACE = r"[\pZ\x09-\x0d\x1c-\x1f\x{85}]"
"""White space as `str.split` sees it; RE2's own `\\s` is ASCII's, less one."""

_engine: Any = re2


class Match(Protocol):
    """What was found."""

    def group(self, group: int = 0) -> str: ...


class Pattern(Protocol):
    """A compiled expression. Bound to its process: compile where it is used."""

    @property
    def pattern(self) -> str: ...

    def search(self, text: str | bytes) -> Match | None: ...


class BadPattern(ValueError):
    """The expression cannot be compiled; the text says why."""


def regex(pattern: str) -> Pattern:
    """Compile an expression in RE2's syntax. Raises `BadPattern`."""
    if not pattern:
        raise BadPattern("is empty")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise BadPattern(f"is longer than {MAX_PATTERN_CHARS:,} characters")
    return _compiled(pattern)


class Words:
    """What `keywords` makes. Where words end is dear to compile, so that is left until `rough` was
    found, which is what stands in a text that has one of the words, or nearly.
    """

    def __init__(self, phrases: str) -> None:
        self.rough = _compiled(f"(?i:{phrases})")
        self._phrases = phrases

    @property
    def pattern(self) -> str:
        return self.rough.pattern

    def search(self, text: str | bytes) -> Match | None:
        """Group 1 is what was found."""
        return _whole(self._phrases).search(text) if self.rough.search(text) else None


@lru_cache(maxsize=MAX_WHOLE)
def _whole(phrases: str) -> Pattern:
    edge = r"[^\pL\pM\pN_]"
    return _compiled(f"(?i)(?:^|{edge})({phrases})(?:{edge}|$)")


def keywords(words: Sequence[str]) -> Words:
    r"""Any of these words or phrases, whole and in any case; group 1 is what was found.

    A word ends where a letter, mark, digit or underscore of any script does not go on, which
    RE2's own `\b` knows for ASCII alone; spaces in a phrase match any white space. Text is
    expected as `fold` gives it. Raises `BadPattern`.
    """
    if len(words) > MAX_KEYWORDS:
        raise BadPattern(f"has more than {MAX_KEYWORDS} entries")
    phrases: list[str] = []
    for word in words:
        parts = [_engine.escape(part) for part in fold(word).split()]
        if not parts:
            raise BadPattern("has an empty entry")
        if len(word) > MAX_PATTERN_CHARS:
            raise BadPattern(f"has an entry longer than {MAX_PATTERN_CHARS:,} characters")
        phrases.append(f"{SPACE}+".join(parts))
    return Words("|".join(phrases))


def glob(pattern: str) -> Pattern:
    """`*` stands for any text, `?` for one character; the whole id must match. Case counts."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise BadPattern(f"is longer than {MAX_PATTERN_CHARS:,} characters")
    joker = {"*": ".*", "?": "."}
    body = "".join(joker.get(char) or _engine.escape(char) for char in pattern)
    return _compiled(rf"(?s)\A(?:{body})\z")


def fold(text: str) -> str:
    """One form for letters that can be written in several ways (é), so that they meet."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: RE2 works on UTF-8, which cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def options() -> Any:
    """How RE2 is to take every expression."""
    made = _engine.Options()
    made.log_errors = False  # It would write to standard error; we raise.
    return made


def _compiled(pattern: str) -> Pattern:
    try:
        return cast("Pattern", _engine.compile(encodable(pattern), options()))
    except _engine.error as error:
        reason = error.args[0] if error.args else "cannot be compiled"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadPattern(text) from None
