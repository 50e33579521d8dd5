"""The path of one message through the rules: each of them, what it said and why. Asks no model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from contracts.decisions import Decision, RoutingInput
from routing.conditions import Simple
from routing.decide import AUTO, Question, lead, named
from routing.expressions import BadExpression, Expression, Failed, expression
from routing.facts import Facts
from routing.library import Library
from routing.rules import Rule, RuleSet
from routing.scan import operands
from routing.targets import told
from routing.wording import shown


class Step(NamedTuple):
    """What one rule says of the message. The first that matched is `chosen`; those after it are
    asked here as well, since a person may have meant one of them.
    """

    rule: str
    source: str
    outcome: Literal["matched", "not", "failed"]
    why: str
    chosen: bool
    leads_to: str


class Explanation(NamedTuple):
    """The whole path. `decision` is None where a model would have to be asked, `asks` is its kind
    then.
    """

    version: str
    steps: tuple[Step, ...]
    leads_to: str
    decision: Decision | None
    asks: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As it is shown."""
        return {
            "version": self.version,
            "rules": [step._asdict() for step in self.steps],
            "leads_to": self.leads_to,
            "decision": self.decision.as_dict() if self.decision else None,
            "asks": self.asks,
        }


def explain(
    rules: RuleSet, agents: Collection[str], model: str, given: RoutingInput
) -> Explanation:
    """What would become of the message, without counting it. Raises `UnknownModel`."""
    facts = Facts(given, Library())
    steps: list[Step] = []
    first: tuple[Rule, str] | None = None
    choosing = model == AUTO
    for library, rule in rules.each():
        facts.texts.turn_to(library)
        outcome, why = _asked(rule, facts)
        chosen = choosing and first is None and outcome == "matched"
        if chosen:
            first = rule, why
        steps.append(Step(rule.name, rule.source, outcome, why, chosen, told(rule.target)))
    if first is None:
        decision = named(agents, model)
        return Explanation(rules.version, tuple(steps), decision.agent, decision)
    led = lead(*first, agents, given, rules.version)
    if isinstance(led, Question):
        return Explanation(rules.version, tuple(steps), told(led.ask), None, led.ask.kind)
    return Explanation(rules.version, tuple(steps), led.agent, led)


def _asked(rule: Rule, facts: Facts) -> tuple[Literal["matched", "not", "failed"], str]:
    try:
        matched = rule.match(facts)
    except Failed as failure:
        return "failed", str(failure)
    if matched is not None:
        return "matched", matched
    condition = rule.condition
    if isinstance(condition, Simple):
        return "not", condition.missed(facts)
    return "not", _untrue(condition, facts) if isinstance(condition, Expression) else ""


def _untrue(whole: Expression, facts: Facts) -> str:
    """Which of the parts that must all hold does not."""
    for part in operands(whole.source):
        try:
            alone = expression(part)
            # With facts of its own: those of the set have the set's patterns.
            holds = alone.match(Facts(facts.given, Library(alone.patterns))) is not None
        except (BadExpression, Failed):
            continue  # Alone it is no condition, or has no answer: then the whole has to do.
        if not holds:
            return f"{shown(part)} is false"
    return f"{shown(whole.source)} is false"
