"""Stored messages through other rules: what would change, before it does. Asks no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.decisions import Decision, RoutingInput
from contracts.messages import FailurePolicy
from routing.decide import BY_MODEL, Question, lead
from routing.rules import RuleSet

MAX_CHANGES = 1_000


class StoredMessage(NamedTuple):
    """A message that was decided, with what was known of it then, as far as that was kept."""

    response_id: str
    session_id: str
    given: RoutingInput
    decision: Decision


class Change(NamedTuple):
    """One message that another agent would get, or the same under another contract."""

    response_id: str
    session_id: str
    before: str
    after: str
    rule_before: str
    rule_after: str
    reason: str
    on_failure_before: FailurePolicy | None = None
    on_failure_after: FailurePolicy | None = None


@dataclass(slots=True)
class Comparison:
    """What other rules would make of stored messages.

    Args:
        version: Of those rules.
        messages: All that were looked at; each is counted in exactly one of the next four.
        same: The same agent would answer, under the same contract.
        changed: It would not be so; `moves` says how many went from whom to whom.
        would_ask: A model would have to be asked, so nobody knows here.
        named: The caller chose the agent, which no rule changes.
        rules: How many messages each rule would take, the callers' choices aside.
        changes: The first of those that change, `MAX_CHANGES` at most.
        faults: What `RuleSet.report` says of rules that had no answer.
    """

    version: str
    messages: int = 0
    same: int = 0
    changed: int = 0
    would_ask: int = 0
    named: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    rules: Counter[str] = field(default_factory=Counter[str])
    changes: list[Change] = field(default_factory=list[Change])
    faults: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def as_dict(self) -> dict[str, Any]:
        """As it is shown; moves with the most frequent first."""
        moves = self.moves.most_common()
        return {
            "version": self.version,
            "messages": self.messages,
            "same": self.same,
            "changed": self.changed,
            "would_ask": self.would_ask,
            "named": self.named,
            "moves": [{"before": b, "after": a, "count": count} for (b, a), count in moves],
            "rules": dict(self.rules.most_common()),
            "changes": [change._asdict() for change in self.changes],
            "faults": self.faults,
        }


def compare(rules: RuleSet, agents: Collection[str], stored: Iterable[StoredMessage]) -> Comparison:
    """Decide each message anew.

    Args:
        rules: A set that nothing else uses: what it counts is part of the answer.
        agents: The names of the agents that there would be.
        stored: The messages, in any order; they are gone through once.
    """
    found = Comparison(rules.version)
    for message in stored:
        found.messages += 1
        if message.decision.rule == BY_MODEL:
            found.named += 1
            continue
        rule, matched = rules.first_match(message.given)
        found.rules[rule.name] += 1
        led = lead(rule, matched, agents, message.given, rules.version)
        if isinstance(led, Question):
            found.would_ask += 1
        elif _outcome(led) == _outcome(message.decision):
            found.same += 1
        else:
            _note(found, message, led)
    found.faults = [
        {"rule": one["rule"], "source": one["source"], **fault}
        for one in rules.report()
        for fault in one["faults"]
    ]
    return found


def _outcome(decision: Decision) -> tuple[str, FailurePolicy | None]:
    return decision.agent, decision.on_failure


def _note(found: Comparison, message: StoredMessage, now: Decision) -> None:
    then = message.decision
    found.changed += 1
    if then.agent != now.agent:
        found.moves[then.agent, now.agent] += 1
    if len(found.changes) < MAX_CHANGES:
        ids = message.response_id, message.session_id
        told = then.agent, now.agent, then.rule, now.rule, now.reason
        found.changes.append(Change(*ids, *told, then.on_failure, now.on_failure))
