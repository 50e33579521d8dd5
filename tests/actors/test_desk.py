"""The desk: what its rules may ask, who answers, and who pays for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.desk import Desk, InForce, Seat
from contracts.decisions import Classifier, Found, RoutingInput, Semantic
from contracts.money import Charge
from routing.rules import RuleSpec, compile_rules
from routing.targets import Ask
from tests.support.endpoints import InOrder

SEMANTIC = Semantic("", (("a", "one"), ("b", "two")), 0.5, 5.0)
CLASSIFIER = Classifier("a", (("a", "this"), ("b", "that")), None, 5.0)
CHARGE = Charge("router", "near", "small", 7, 0, 0, 140, True)
SEATS = {name: Seat(name, {}, InOrder([name]), None, None, None, 1000, 1000) for name in "ab"}


class Knows:
    """An oracle that always says b."""

    async def nearest(self, question: Semantic, text: str) -> Found:
        return Found("b", 0.9, (CHARGE,))

    async def classify(self, question: Classifier, text: str) -> Found:
        return Found("b")


def rules(*targets: Any) -> Any:
    named = [RuleSpec(f"r{n}", one, f"turn.number == {n}") for n, one in enumerate(targets)]
    return compile_rules([*named, RuleSpec("rest", "a")], SEATS)


class Till:
    def __init__(self) -> None:
        self.paid: list[tuple[str, str | None, tuple[Charge, ...]]] = []

    def pay(self, org_id: str, user: str | None, charges: Sequence[Charge]) -> None:
        self.paid.append((org_id, user, tuple(charges)))


def test_every_question_is_named_once() -> None:
    everybody = rules(Ask(SEMANTIC, "a"), "b", Ask(CLASSIFIER, "a"))
    held = InForce(SEATS, everybody, {"org_x": rules(Ask(SEMANTIC, "b"))})
    assert held.questions() == [SEMANTIC, CLASSIFIER]
    assert InForce(SEATS, rules()).questions() == []


async def test_who_said_the_message_pays_for_what_was_asked() -> None:
    desk = Desk(InForce(SEATS, rules(Ask(SEMANTIC, "a"), Ask(CLASSIFIER, "a"))), Knows())
    till = Till()
    for turn, rule in ((0, "r0"), (1, "r1")):
        given = RoutingInput("hello", user="ada", org_id="org_x", turn=turn)
        decision, seat = await desk.choose("auto", given, pay=till.pay)
        assert (decision.agent, decision.rule, seat) == ("b", rule, SEATS["b"])
    assert till.paid == [("org_x", "ada", (CHARGE,))]


async def test_where_nobody_may_be_asked_nobody_pays() -> None:
    desk = Desk(InForce(SEATS, rules(Ask(SEMANTIC, "a"))), Knows())
    till = Till()
    decision, _ = await desk.choose("auto", RoutingInput("x", turn=0), ask=False, pay=till.pay)
    assert decision.agent == "a"
    assert till.paid == []
