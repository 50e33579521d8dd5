"""Rules: an ordered list of conditions and where each leads, the first match wins.

`RuleSpec` is a rule as it was written: plain, picklable. `compile_rules` turns a list of them
into a `RuleSet` once; `faults_in` says everything that is wrong with one. A list that
compiles has an answer for every message: its last rule is unconditional.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest
from contracts.messages import FailurePolicy
from routing.compiled import compiled
from routing.conditions import Condition, Conditions
from routing.expressions import Expression, Failed
from routing.facts import DEAR, Facts
from routing.library import Library
from routing.reach import Reach
from routing.targets import Target, faults_of

MAX_RULES = 500
BATCH = 16
"""Rules whose facts are learned at once."""
MAX_REASONS = 8
"""Reasons for which one rule can fail that are told apart."""
OTHERS = "other reasons"
REST = "no rule before it matched"
SETTINGS = "settings"
SETTINGS_VERSION = "0"

log = logging.getLogger("troupe.routing.rules")


class RuleSpec(NamedTuple):
    """One rule as it was written.

    Args:
        name: Unique among the rules of its source.
        target: An agent's name, or another of `routing.targets`.
        when: A CEL expression, or `Conditions`; None: it takes whatever reaches it.
        sticky: Whether a conversation that has an agent stays with it where this rule matches;
            None: the rule that takes the rest does, others do not.
        on_failure: What becomes of a begun answer whose provider fails; None: the agent's holds.
        source: Where it comes from: an organization, `base`, or `settings`.
    """

    name: str
    target: Target
    when: Conditions | str | None = None
    sticky: bool | None = None
    on_failure: FailurePolicy | None = None
    source: str = SETTINGS


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the rule's index (None: the whole list), its name, the field."""

    index: int | None
    name: str
    field: str
    reason: str


@dataclass(slots=True)
class Failures:
    """For one reason: how often a rule had no answer, and when last, in Unix seconds."""

    count: int = 0
    last: float = 0.0


@dataclass(slots=True, eq=False)
class Rule:
    """One compiled rule, and what became of it since; shared by all sets that it stands in."""

    name: str
    source: str
    target: Target
    condition: Condition | None
    sticky: bool
    on_failure: FailurePolicy | None
    matched: int = 0
    failures: dict[str, Failures] = field(default_factory=dict[str, Failures])

    def same(self, other: Rule) -> bool:
        """Whether both ask the same and lead to the same."""
        return (self.target, self.sticky, self.on_failure) == (
            other.target,
            other.sticky,
            other.on_failure,
        ) and self.condition is other.condition

    def match(self, facts: Facts) -> str | None:
        """What matched, in words that a person can check, or None. Raises `Failed`."""
        return REST if self.condition is None else self.condition.match(facts)

    def failed(self, reason: str, now: float) -> None:
        """Count a condition that had no answer, and log it the first time."""
        if reason not in self.failures and len(self.failures) >= MAX_REASONS:
            reason = OTHERS
        known = self.failures.get(reason)
        if known is None:
            known = self.failures[reason] = Failures()
            log.warning("rule %s (%s) cannot be asked: %s", self.name, self.source, reason)
        known.count += 1
        known.last = max(known.last, now)

    def report(self) -> dict[str, Any]:
        """What became of it, for people."""
        return {
            "rule": self.name,
            "source": self.source,
            "matched": self.matched,
            "faults": [
                {"reason": reason, "count": seen.count, "last": seen.last}
                for reason, seen in self.failures.items()
            ],
        }


class Part:
    """Rules that stand one after the other and share a library."""

    def __init__(self, rules: Sequence[Rule], library: Library) -> None:
        self.rules = tuple(rules)
        self.library = library
        # The engine takes its values over anew after each that is added, so they are learned in
        # batches; what is dear is still left to the rule that looks at it.
        self.batches: tuple[tuple[frozenset[str], tuple[Rule, ...]], ...] = tuple(
            (_looked_at(batch), batch)
            for begin in range(0, len(rules), BATCH)
            if (batch := self.rules[begin : begin + BATCH])
        )


def _looked_at(rules: Sequence[Rule]) -> frozenset[str]:
    conditions = [rule.condition for rule in rules]
    names = [one.names for one in conditions if isinstance(one, Expression)]
    return frozenset[str]().union(*names) - DEAR


class RuleSet:
    """Compiled rules that have an answer for every message. Bound to its process."""

    def __init__(self, parts: Sequence[Part], version: str) -> None:
        """Only `compile_rules` may call this: it guarantees that the last rule matches."""
        self.parts = tuple(parts)
        self.version = version
        """What decisions by these rules say: `base.3+org.7`; settings alone are 0."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for part in self.parts for rule in part.rules)

    def each(self) -> Iterator[tuple[Library, Rule]]:
        """Every rule, with the library that its condition is asked with."""
        return ((part.library, rule) for part in self.parts for rule in part.rules)

    def first_match(self, given: RoutingInput) -> tuple[Rule, str]:
        """The first rule that matches, and what matched. A rule without an answer does not."""
        facts = Facts(given, self.parts[0].library)
        for part in self.parts:
            facts.texts.turn_to(part.library)
            for names, rules in part.batches:
                if names:
                    facts.learn(names)
                for rule in rules:
                    condition = rule.condition
                    try:
                        reason = REST if condition is None else condition.match(facts)
                    except Failed as failure:
                        rule.failed(str(failure), given.now)
                        continue
                    if reason is not None:
                        rule.matched += 1
                        return rule, reason
        raise AssertionError("a compiled list ends with an unconditional rule")

    def report(self) -> list[dict[str, Any]]:
        """Each rule's `rule`, `source`, `matched`, and `faults` as `reason`, `count`, `last`."""
        return [rule.report() for rule in self.rules]


def compile_rules(
    specs: Sequence[RuleSpec],
    agents: Collection[str],
    *,
    version: str = SETTINGS_VERSION,
    embedders: Collection[str] | None = None,
    everybody: RuleSet | None = None,
    before: RuleSet | None = None,
) -> RuleSet:
    """Compile a list once, to be used for every message. Takes its time: not for an event loop.

    Args:
        specs: In their order: an organization's own, then those for everybody, then the settings'.
            An `else` takes the rest of all that follow, whose rules are then left out.
        agents: The names of all agents.
        version: What decisions by these rules are to say.
        embedders: What a semantic rule may name; None: not known here.
        everybody: Compiled already; those of its rules that are in the list are shared with it.
        before: What these rules replace; a rule that did not change is kept, with its counts.

    Raises:
        InvalidRequest: `invalid_rules`; `details["faults"]` lists all that `faults_in` found.
    """
    made = list[Rule]()
    faults = list(_faults(specs, agents, embedders, made))
    if faults:
        first = faults[0]
        where = f"rule {first.index} ({first.name}), {first.field}" if first.name else first.field
        raise InvalidRequest(
            f"The rules have {len(faults)} fault(s), first {where}: {first.reason}.",
            param="rules",
            code="invalid_rules",
            details={"faults": [asdict(fault) for fault in faults]},
        )
    last = next(number for number, rule in enumerate(made) if rule.condition is None)
    return RuleSet(list(_parts(made[: last + 1], everybody, before)), version)


def _parts(
    rules: Sequence[Rule], everybody: RuleSet | None, before: RuleSet | None
) -> Iterator[Part]:
    known = {(rule.source, rule.name): rule for rule in before.rules} if before else {}
    shared: dict[tuple[str, str], tuple[Library, Rule]] = {}
    if everybody is not None:
        shared = {(rule.source, rule.name): (of, rule) for of, rule in everybody.each()}
    placed: list[tuple[Library | None, Rule]] = []
    for rule in rules:
        library, same = shared.get((rule.source, rule.name), (None, None))
        if same is not None and same.same(rule):
            placed.append((library, same))
        else:
            placed.append((None, _kept(rule, known.get((rule.source, rule.name)))))
    there = [part for one in (everybody, before) if one is not None for part in one.parts]
    for library, group in groupby(placed, key=lambda pair: pair[0]):
        together = tuple(rule for _, rule in group)
        same_part = next((part for part in there if part.rules == together), None)
        yield same_part or Part(together, library or _library(together))


def _library(rules: Sequence[Rule]) -> Library:
    conditions = [rule.condition for rule in rules if rule.condition is not None]
    library = Library(one for condition in conditions for one in condition.patterns)
    library.close()
    return library


def _kept(rule: Rule, before: Rule | None) -> Rule:
    """The rule as it was, if nothing has changed; what it cannot be asked for is not told anew."""
    if before is not None and before.same(rule):
        return before
    if before is not None and before.condition is rule.condition:
        rule.failures = before.failures
    return rule


def faults_in(
    specs: Sequence[RuleSpec],
    agents: Collection[str],
    *,
    embedders: Collection[str] | None = None,
) -> list[Fault]:
    """Everything that is wrong with a list of rules, in its order; see `compile_rules`."""
    return list(_faults(specs, agents, embedders, []))


def _faults(
    specs: Sequence[RuleSpec],
    agents: Collection[str],
    embedders: Collection[str] | None,
    made: list[Rule],
) -> Iterator[Fault]:
    """Compile what can be compiled into `made`, and yield the rest as faults."""
    if len(specs) > MAX_RULES:
        yield Fault(None, "", "rules", f"has more than {MAX_RULES} rules")
        return
    reach: dict[str, Reach] = {}
    names: set[tuple[str, str]] = set()
    for index, spec in enumerate(specs):
        here = reach.setdefault(spec.source, Reach())
        if spec.name == "model":
            yield Fault(index, spec.name, "name", "is reserved: it stands for the caller's choice")
        if (spec.source, spec.name) in names:
            yield Fault(index, spec.name, "name", "is taken by an earlier rule")
        names.add((spec.source, spec.name))
        for where, reason in faults_of(spec.target, agents, embedders):
            yield Fault(index, spec.name, where, reason)
        condition, faults = compiled(spec.when)
        unreachable = here.unreachable(spec.name, spec.when, condition)
        for where, reason in (*(("when", why) for why in unreachable), *faults):
            yield Fault(index, spec.name, where, reason)
        sticky = spec.when is None if spec.sticky is None else spec.sticky
        made.append(Rule(spec.name, spec.source, spec.target, condition, sticky, spec.on_failure))
    if not specs:
        yield Fault(None, "", "rules", "must have at least one rule, whose `when` is `else`")
    elif all(spec.when is not None for spec in specs):
        reason = "must end with a rule whose `when` is `else`, so that every message has an agent"
        yield Fault(None, "", "rules", reason)
