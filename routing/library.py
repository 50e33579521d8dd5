"""What the conditions of one set of rules share: patterns, and the functions of expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from routing.patterns import Pattern, fold
from routing.sieve import Sieve

Subject = Literal["text", "folded", "user"]
"""What patterns are looked for in: the message, the message as words are found in it, its user."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Library:
    """Patterns by number, and functions. Bound to its process."""

    def __init__(self) -> None:
        self.sieves: Mapping[Subject, Sieve] = {subject: Sieve() for subject in get_args(Subject)}
        self.functions: Mapping[str, Callable[..., Any]] = {
            "troupe_in": self._in,
            "troupe_words_in": self._words_in,
            "hour": _hour,
            "weekday": _weekday,
            "get": _get,
            "lower": _lower,
        }
        self._patterns: list[Pattern] = []

    def keep(self, pattern: Pattern) -> int:
        """The number of a pattern for texts that are no `Subject`."""
        self._patterns.append(pattern)
        return len(self._patterns) - 1

    def close(self) -> None:
        """All conditions are compiled."""
        for sieve in self.sieves.values():
            sieve.close()

    def _in(self, text: str, number: int) -> bool:
        return self._patterns[number].search(text) is not None

    def _words_in(self, text: str, number: int) -> bool:
        return self._patterns[number].search(fold(text)) is not None


@cache
def zone(name: str) -> ZoneInfo:
    """Raises `ZoneInfoNotFoundError`, `ValueError` or `OSError` where there is none."""
    return ZoneInfo(name)


def _hour(now: datetime, place: str = "UTC") -> int:
    return now.astimezone(zone(place)).hour


def _weekday(now: datetime, place: str = "UTC") -> str:
    return DAYS[now.astimezone(zone(place)).weekday()]


def _get(pairs: dict[str, Any], key: str) -> Any:
    return pairs.get(key, "")


def _lower(text: str) -> str:
    return text.lower()
