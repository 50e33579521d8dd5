"""Which rules can never match, since earlier ones of the same source take all that they ask for.

What two expressions have in common nobody can say in general. Said is what can be seen: what is
always true or always false, the same condition twice, and conditions of which each part that the
earlier one asks for has among its entries all that the later one has there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from routing.conditions import Condition, Conditions
from routing.expressions import Expression
from routing.patterns import fold

Part = tuple[str, str]
"""Of a condition: `keywords`, `regex`, `user`, or `metadata` with a key."""


class Taken(NamedTuple):
    """What a rule takes: of each part, any of these."""

    rule: str
    parts: dict[Part, frozenset[str]]


class Reach:
    """What the rules of one source have taken already."""

    def __init__(self) -> None:
        self._asked: dict[Conditions | str, str] = {}
        self._everything: str | None = None
        # By an entry of its first part: whoever is taken whole has that entry as well.
        self._taken: dict[tuple[Part, str], list[Taken]] = {}

    def unreachable(
        self, name: str, when: Conditions | str | None, condition: Condition | None
    ) -> Iterator[str]:
        """Why the rule could never match, or takes more than it should."""
        constant: bool | None = None
        parts = _parts(when) if isinstance(when, Conditions) else {}
        if isinstance(condition, Expression):
            when, constant = condition.key, condition.constant
            parts = _parts(Conditions(keywords=condition.keywords))
        if self._everything is not None:
            yield f"can never match: rule `{self._everything}` before it takes everything"
        elif when is None:
            self._everything = name
        elif when == Conditions():
            yield "has no condition; write `else` to take the rest"
        elif constant is True:
            self._everything = name
            yield "is true for every message; write `else` to take the rest"
        elif constant is False:
            yield "can never match: it is false for every message"
        elif when in self._asked:
            yield f"can never match: rule `{self._asked[when]}` asks the same"
        elif (taken := self._takes_all_of(parts)) is not None:
            yield f"can never match: rule `{taken}` before it takes all that it asks for"
        else:
            self._asked[when] = name
            for part, entries in list(parts.items())[:1]:
                for entry in entries:
                    self._taken.setdefault((part, entry), []).append(Taken(name, parts))

    def _takes_all_of(self, parts: dict[Part, frozenset[str]]) -> str | None:
        for part, entries in parts.items():
            for taken in self._taken.get((part, next(iter(entries), "")), ()):
                if all(one in parts and parts[one] <= of for one, of in taken.parts.items()):
                    return taken.rule
        return None


def _parts(when: Conditions) -> dict[Part, frozenset[str]]:
    asked: dict[Part, frozenset[str]] = {
        ("keywords", ""): frozenset(map(_word, when.keywords)),
        ("regex", ""): frozenset(when.regex),
        ("user", ""): frozenset(when.user),
        **{("metadata", key): frozenset(values) for key, values in when.metadata},
    }
    return {part: entries for part, entries in asked.items() if entries}


def _word(word: str) -> str:
    """The same for words that are found in the same texts."""
    plain = " ".join(fold(word).split())
    return plain.lower() if plain.isascii() else plain
