"""The short way to write what most rules ask: words, expressions, metadata, users.

What a mapping under `when` says, compiled. `routing.expressions` is the long way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from routing.facts import Facts
from routing.library import Sought, sought
from routing.patterns import BadPattern, Pattern, encodable, glob, keywords, regex
from routing.wording import shown


class Condition(Protocol):
    """What a rule asks of a message. It never changes, so any number of rules may share it."""

    @property
    def patterns(self) -> tuple[Sought, ...]:
        """What the library must have of which it is asked."""
        ...

    def match(self, facts: Facts) -> str | None:
        """What matched, in words that a person can check, or None.

        Raises `routing.expressions.Failed` where there is no answer.
        """
        ...


class Conditions(NamedTuple):
    """What a rule asks. Each one that is not empty must hold; one of its entries is enough.

    `regex`: found anywhere in the text. `keywords`: whole words or phrases in any case.
    `metadata`: keys, each with the values it may have. `user`: ids or globs.
    """

    regex: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    user: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Simple:
    """Compiled `Conditions`. Of a pattern the library says whether, the pattern itself where."""

    regex: tuple[tuple[str, Sought], ...]
    keywords: Sought | None
    metadata: tuple[tuple[str, frozenset[str]], ...]
    user: tuple[tuple[str, Pattern], ...]

    @property
    def patterns(self) -> tuple[Sought, ...]:
        found = tuple(pattern for _, pattern in self.regex)
        return found if self.keywords is None else (*found, self.keywords)

    def match(self, facts: Facts) -> str | None:
        """What matched, or None."""
        found: list[str] = []
        # Cheapest first: most rules that fail then fail without reading the text.
        for part in (self._metadata, self._user, self._keywords, self._regex):
            reason = part(facts)
            if reason is None:
                return None
            if reason:
                found.append(reason)
        return " and ".join(found)

    def missed(self, facts: Facts) -> str:
        """Why it did not match, where it did not."""
        for key, values in self.metadata:
            value = facts.given.metadata.get(key)
            if value not in values:
                stands = "is missing" if value is None else f"is {shown(value)}"
                return f"metadata {shown(key)} {stands}"
        if self._user(facts) is None:
            user = facts.given.user
            return "the user is not given" if user is None else f"the user is {shown(user)}"
        if self._keywords(facts) is None:
            return "the message says none of the words"
        return "the message has nothing that fits the expression"

    def _metadata(self, facts: Facts) -> str | None:
        pairs: list[str] = []
        for key, values in self.metadata:
            value = facts.given.metadata.get(key)
            if value not in values:
                return None
            pairs.append(f"metadata {shown(key)} is {shown(value)}")
        return " and ".join(pairs)

    def _user(self, facts: Facts) -> str | None:
        if not self.user:
            return ""
        user = facts.given.user
        if user is None:
            return None
        for written, pattern in self.user:
            if pattern.search(encodable(user)):
                like = "" if written == user else f", which is like {shown(written)}"
                return f"the user is {shown(user)}{like}"
        return None

    def _keywords(self, facts: Facts) -> str | None:
        words = self.keywords
        if words is None:
            return ""
        if not facts.texts.has("folded", words.number):
            return None
        match = words.pattern.search(facts.texts.folded)
        return f"the message says {shown(match.group(1))}" if match else None

    def _regex(self, facts: Facts) -> str | None:
        if not self.regex:
            return ""
        texts = facts.texts
        for written, (_, number, pattern) in self.regex:
            if texts.has("text", number) and (match := pattern.search(texts.text)):
                return f"the message has {shown(match.group(0))}, which fits {shown(written)}"
        return None


class Compiled(NamedTuple):
    """A condition and what is wrong with it: pairs of field and reason."""

    condition: Simple
    faults: tuple[tuple[str, str], ...]


def simple(when: Conditions) -> Compiled:
    """Compile them, as far as they can be compiled."""
    expressions: list[tuple[str, Sought]] = []
    users: list[tuple[str, Pattern]] = []
    words: Sought | None = None
    faults: list[tuple[str, str]] = []
    for written in when.regex:
        try:
            pattern = regex(written)
        except BadPattern as error:
            faults.append(("when.regex", f"{shown(written)}: {error}"))
        else:
            expressions.append((written, sought("text", pattern)))
    for written in when.user:
        try:
            users.append((written, glob(written)))
        except BadPattern as error:
            faults.append(("when.user", f"{shown(written)}: {error}"))
    if when.keywords:
        try:
            pattern = keywords(when.keywords)
        except BadPattern as error:
            faults.append(("when.keywords", str(error)))
        else:
            words = sought("folded", pattern)
    faults += _valueless(when)
    metadata = tuple((key, frozenset(values)) for key, values in when.metadata)
    made = Simple(tuple(expressions), words, metadata, tuple(users))
    return Compiled(made, tuple(faults))


def _valueless(when: Conditions) -> Iterator[tuple[str, str]]:
    for key, values in when.metadata:
        if not values:
            yield f"when.metadata.{key}", "has no value to compare with"
