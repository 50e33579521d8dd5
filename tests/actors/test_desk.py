"""The desk: what its rules may ask, who answers, and who pays for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from actors.desk import Desk, InForce, Seat
from contracts.decisions import Classifier, Found, RoutingInput, Semantic
from contracts.errors import ProviderTimeout, TroupeError
from contracts.money import Charge
from contracts.tasks import spawn, stop
from routing.rules import RuleSpec, compile_rules
from routing.targets import Ask
from tests.support.endpoints import InOrder
from tests.support.waiting import until

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


class Slow:
    """An oracle that waits for its gate, then says b, or why it cannot."""

    def __init__(self, error: TroupeError | None = None) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.error = error

    async def nearest(self, question: Semantic, text: str) -> Found:
        return await self.classify(CLASSIFIER, text)

    async def classify(self, question: Classifier, text: str) -> Found:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Found("b", None, (CHARGE,))


@pytest.mark.parametrize("question", [SEMANTIC, CLASSIFIER], ids=["semantic", "classifier"])
async def test_an_answer_that_nobody_waits_for_any_longer_is_paid_for(question: Any) -> None:
    oracle, till = Slow(), Till()
    desk = Desk(InForce(SEATS, rules(Ask(question, "a"))), oracle)
    given = RoutingInput("hello", user="ada", org_id="org_x", turn=0)
    choosing = spawn(desk.choose("auto", given, pay=till.pay), name="choosing")
    await until(lambda: oracle.asked == 1, "it is asked")
    await stop(choosing)
    assert till.paid == []
    oracle.gate.set()
    await until(lambda: till.paid == [("org_x", "ada", (CHARGE,))], "it is paid for")


async def test_nobody_answers_and_it_is_paid_for() -> None:
    oracle, till = Slow(ProviderTimeout("It took too long.", charges=(CHARGE,))), Till()
    oracle.gate.set()
    desk = Desk(InForce(SEATS, rules(Ask(CLASSIFIER, "a"))), oracle)
    given = RoutingInput("hello", org_id="org_x", turn=0)
    decision, _ = await desk.choose("auto", given, pay=till.pay)
    assert decision.asked == {"kind": "classifier", "fallback": "no answer (provider_timeout)"}
    assert till.paid == [("org_x", None, (CHARGE,))]


async def test_a_question_has_no_more_than_its_time() -> None:
    oracle, till = Slow(), Till()
    hasty = CLASSIFIER._replace(timeout_s=0.01)
    desk = Desk(InForce(SEATS, rules(Ask(hasty, "a"))), oracle)
    decision, _ = await desk.choose("auto", RoutingInput("hello", turn=0), pay=till.pay)
    assert decision.agent == "a"
    await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name() == "rule-asks"], "end")
    assert till.paid == []
