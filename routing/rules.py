"""Rules: an ordered list of conditions and agents, the first match wins.

`RuleSpec` is a rule as it was written: plain, picklable. `compile_rules` turns a list of them
into a `RuleSet` once; `faults_in` says everything that is wrong with one. A list that compiles
has an answer for every message: its last rule is unconditional.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest
from routing.patterns import BadPattern, Pattern, encodable, fold, glob, keywords, regex

MAX_RULES = 500
SHOWN_CHARS = 60


class Conditions(NamedTuple):
    """What a rule asks. Each one that is not empty must hold; one of its entries is enough.

    `regex`: found anywhere in the text. `keywords`: whole words or phrases in any case.
    `metadata`: keys, each with the values it may have. `user`: ids or globs.
    """

    regex: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    user: tuple[str, ...] = ()


class RuleSpec(NamedTuple):
    """One rule as it was written. `when` None: it takes whatever reaches it."""

    name: str
    agent: str
    when: Conditions | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the rule's index (None: the whole list), its name, the field."""

    index: int | None
    name: str
    field: str
    reason: str


class Rule(NamedTuple):
    """One compiled rule."""

    name: str
    agent: str
    unconditional: bool
    regex: tuple[tuple[str, Pattern], ...]
    keywords: Pattern | None
    metadata: tuple[tuple[str, frozenset[str]], ...]
    user: tuple[tuple[str, Pattern], ...]

    def match(self, given: RoutingInput) -> str | None:
        """What matched, in words that a person can check, or None."""
        if self.unconditional:
            return "no rule before it matched"
        found: list[str] = []
        # Cheapest first: most rules that fail then fail without reading the text.
        for part in (self._metadata, self._user, self._keywords, self._regex):
            reason = part(given)
            if reason is None:
                return None
            if reason:
                found.append(reason)
        return " and ".join(found)

    def _metadata(self, given: RoutingInput) -> str | None:
        pairs: list[str] = []
        for key, values in self.metadata:
            value = given.metadata.get(key)
            if value not in values:
                return None
            pairs.append(f"metadata {shown(key)} is {shown(value)}")
        return " and ".join(pairs)

    def _user(self, given: RoutingInput) -> str | None:
        if not self.user:
            return ""
        if given.user is None:
            return None
        for written, pattern in self.user:
            if pattern.search(encodable(given.user)):
                like = "" if written == given.user else f", which is like {shown(written)}"
                return f"the user is {shown(given.user)}{like}"
        return None

    def _keywords(self, given: RoutingInput) -> str | None:
        if self.keywords is None:
            return ""
        match = self.keywords.search(fold(encodable(given.text)))
        return f"the message says {shown(match.group(1))}" if match else None

    def _regex(self, given: RoutingInput) -> str | None:
        if not self.regex:
            return ""
        text = encodable(given.text)
        for written, pattern in self.regex:
            if match := pattern.search(text):
                return f"the message has {shown(match.group(0))}, which fits {shown(written)}"
        return None


class RuleSet:
    """Compiled rules that have an answer for every message. Bound to its process."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Only `compile_rules` may call this: it guarantees that the last rule matches."""
        self.rules = tuple(rules)

    def first_match(self, given: RoutingInput) -> tuple[Rule, str]:
        """The first rule that matches, and what matched."""
        for rule in self.rules:
            reason = rule.match(given)
            if reason is not None:
                return rule, reason
        raise AssertionError("a compiled list ends with an unconditional rule")


def compile_rules(specs: Sequence[RuleSpec], agents: Collection[str]) -> RuleSet:
    """Compile a list once, to be used for every message.

    Raises:
        InvalidRequest: `invalid_rules`; `details["faults"]` lists all that `faults_in` found.
    """
    compiled: list[Rule] = []
    faults = list(_faults(specs, agents, compiled))
    if faults:
        first = faults[0]
        where = f"rule {first.index} ({first.name}), {first.field}" if first.name else first.field
        raise InvalidRequest(
            f"The rules have {len(faults)} fault(s), first {where}: {first.reason}.",
            param="rules",
            code="invalid_rules",
            details={"faults": [asdict(fault) for fault in faults]},
        )
    return RuleSet(compiled)


def faults_in(specs: Sequence[RuleSpec], agents: Collection[str]) -> list[Fault]:
    """Everything that is wrong with a list of rules, in its order."""
    return list(_faults(specs, agents, []))


def shown(text: str | None) -> str:
    """A short quotation for a reason: one line, no control characters, bounded."""
    text = " ".join((text or "").split())
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return f'"{text}"' if len(text) <= SHOWN_CHARS else f'"{text[:SHOWN_CHARS]}…"'


def _faults(
    specs: Sequence[RuleSpec], agents: Collection[str], compiled: list[Rule]
) -> Iterator[Fault]:
    """Compile what can be compiled into `compiled`, and yield the rest as faults."""
    if len(specs) > MAX_RULES:
        yield Fault(None, "", "rules", f"has more than {MAX_RULES} rules")
        return
    names: set[str] = set()
    conditions: dict[Conditions, str] = {}
    otherwise: str | None = None
    for index, spec in enumerate(specs):
        if spec.name == "model":
            yield Fault(index, spec.name, "name", "is reserved: it stands for the caller's choice")
        if spec.name in names:
            yield Fault(index, spec.name, "name", "is taken by an earlier rule")
        names.add(spec.name)
        if spec.agent not in agents:
            known = ", ".join(sorted(agents))
            yield Fault(
                index, spec.name, "agent", f"names no agent: {spec.agent}; there is {known}"
            )
        if otherwise is not None:
            reason = f"can never match: rule `{otherwise}` before it takes everything"
            yield Fault(index, spec.name, "when", reason)
        elif spec.when is None:
            otherwise = spec.name
        elif spec.when == Conditions():
            yield Fault(index, spec.name, "when", "has no condition; write `else` to take the rest")
        elif spec.when in conditions:
            reason = f"can never match: rule `{conditions[spec.when]}` asks the same"
            yield Fault(index, spec.name, "when", reason)
        else:
            conditions[spec.when] = spec.name
        yield from _compile(index, spec, compiled)
    if specs and otherwise is None:
        reason = "must end with a rule whose `when` is `else`, so that every message has an agent"
        yield Fault(None, "", "rules", reason)
    if not specs:
        yield Fault(None, "", "rules", "must have at least one rule, whose `when` is `else`")


def _compile(index: int, spec: RuleSpec, compiled: list[Rule]) -> Iterator[Fault]:
    when = spec.when or Conditions()
    expressions: list[tuple[str, Pattern]] = []
    users: list[tuple[str, Pattern]] = []
    words: Pattern | None = None
    for field, written, compiler, into in (
        ("when.regex", when.regex, regex, expressions),
        ("when.user", when.user, glob, users),
    ):
        for one in written:
            try:
                into.append((one, compiler(one)))
            except BadPattern as error:
                yield Fault(index, spec.name, field, f"{shown(one)}: {error}")
    if when.keywords:
        try:
            words = keywords(when.keywords)
        except BadPattern as error:
            yield Fault(index, spec.name, "when.keywords", str(error))
    for key, values in when.metadata:
        if not values:
            yield Fault(index, spec.name, f"when.metadata.{key}", "has no value to compare with")
    compiled.append(
        Rule(
            name=spec.name,
            agent=spec.agent,
            unconditional=spec.when is None,
            regex=tuple(expressions),
            keywords=words,
            metadata=tuple((key, frozenset(values)) for key, values in when.metadata),
            user=tuple(users),
        )
    )
