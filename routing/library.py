"""What conditions share: patterns by number, looked for together; functions of expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from routing.patterns import Pattern
from routing.sieve import Sieve

Subject = Literal["text", "folded", "user"]
"""What patterns are looked for in: the message, the message as words are found in it, its user."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_numbers = count(1)


class Sought(NamedTuple):
    """A pattern that a condition looks for in a subject; None: in a text that it names itself.

    Its number stands for it wherever the condition is used, and for no other in this process.
    """

    subject: Subject | None
    number: int
    pattern: Pattern


def sought(subject: Subject | None, pattern: Pattern) -> Sought:
    """A pattern with a number of its own."""
    return Sought(subject, next(_numbers), pattern)


class Library:
    """The patterns of conditions that are asked together. Bound to its process."""

    def __init__(self, patterns: Iterable[Sought] = ()) -> None:
        self.sieves: Mapping[Subject, Sieve] = {subject: Sieve() for subject in get_args(Subject)}
        self.patterns: dict[int, Pattern] = {}
        for one in patterns:
            if one.subject is None:
                self.patterns[one.number] = one.pattern
            else:
                self.sieves[one.subject].add(one.number, one.pattern)

    def close(self) -> None:
        """No more are added, and many messages come: find what can be found in one pass."""
        for sieve in self.sieves.values():
            sieve.close()


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


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "hour": _hour,
    "weekday": _weekday,
    "get": _get,
    "lower": _lower,
}
"""Those that look at nothing but what they are given."""
