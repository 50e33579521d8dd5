"""Budgets within a session: what is refused, what is cut short, and what is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from actors.runtime import HostRuntime
from contracts.agents import End
from contracts.commands import SessionKey
from contracts.errors import (
    Conflict,
    OverBudget,
    ProviderInterrupted,
    StoreUnavailable,
    TroupeError,
)
from contracts.ids import STATELESS, new_id
from contracts.messages import Usage
from contracts.money import Budgets, Limit, Price, Spent
from contracts.tasks import spawn
from gateway.link import Link
from tests.actors.conftest import ask
from tests.actors.test_session import until_ended
from tests.actors.troupe_of import told_until as told
from tests.support.runtime import (
    OneHost,
    ScriptedAgent,
    UnitLedger,
    UnitMemory,
    make_link,
    make_runtime,
)
from tests.support.waiting import until

# 1,000 nano-dollars for a token of input, 4,000 for one of output.
PRICE = Price(1.0, 4.0)
TURN = 100 * 1_000 + 10 * 4_000
"""What `tell` costs."""


@dataclass
class Counter:
    """A host whose turns have a price, and budgets."""

    memory: UnitMemory
    agent: ScriptedAgent
    ledger: UnitLedger
    link: Link
    key: SessionKey
    runtime: HostRuntime

    def tell(self, text: str = "fine") -> None:
        self.agent.say(text, End("stop", Usage(100, 10)))


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def counter(
    ledger: UnitLedger | None = None,
    price: Price | None = PRICE,
    clock: Callable[[], float] = time.time,
    memory: UnitMemory | None = None,
    **limits: Limit,
) -> AsyncIterator[Counter]:
    memory, agent, ledger = memory or UnitMemory(), ScriptedAgent(), ledger or UnitLedger()
    runtime = make_runtime(
        memory,
        {"echo": agent},
        clock=clock,
        budgets=Budgets(**limits),
        price=price,
        ledger=ledger,
    )
    link = make_link(OneHost(runtime))
    try:
        yield Counter(memory, agent, ledger, link, memory.create(), runtime)
    finally:
        await link.close()
        await runtime.close()


async def half_told(bar: Counter) -> None:
    """Have a turn of ann's run, of which something has been said."""
    _, reader = await bar.link.start(bar.key, ask("one", user="ann"))
    bar.agent.say("Once upon ")
    await told(reader, "delta")


async def test_a_turn_beyond_a_budget_is_refused_and_leaves_nothing() -> None:
    async with counter(session=Limit(hard=TURN)) as bar:
        bar.tell()
        _, reader = await bar.link.start(bar.key, ask("one"))
        [*_, end] = await until_ended(reader)
        assert end.data.nano == TURN
        with pytest.raises(OverBudget) as caught:
            await bar.link.submit(bar.key, ask("two"))
        assert caught.value.details == {
            "budget": "session",
            "limit_usd": 0.00014,
            "spent_usd": 0.00014,
        }
        assert len(bar.agent.requests) == 1
        assert [m.text for m in bar.memory.shelves[bar.key].messages] == ["one", "fine"]


async def test_a_turn_that_waited_until_all_was_spent_ends_as_failed() -> None:
    async with counter(user_day=Limit(hard=TURN)) as bar:
        _, reader = await bar.link.start(bar.key, ask("one", user="ann"))
        await bar.link.submit(bar.key, ask("two", user="ann"))
        await bar.link.submit(bar.key, ask("three", user="bob"))
        bar.tell()
        bar.tell("for bob")
        events = await until_ended(reader, 3)
        ends = [event.data for event in events if event.kind == "ended"]
        assert [end.status for end in ends] == ["completed", "failed", "completed"]
        assert ends[1].error["code"] == "budget_exceeded"
        assert 0 < ends[1].error["retry_after"] <= 86_400
        assert ends[1].charges == []
        assert ends[2].text == "for bob"
        assert len(bar.agent.requests) == 2


async def test_a_turn_can_be_cancelled_while_nobody_knows_yet_whether_it_may_begin() -> None:
    class Slow(UnitLedger):
        asked = 0

        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()
            self.gate.set()

        async def spent(self, org_id: str, user: str | None) -> Spent:
            self.asked += 1
            await self.gate.wait()
            return Spent()

    ledger, clock = Slow(), Clock()
    async with counter(ledger, clock=clock, user_day=Limit(hard=10 * TURN)) as bar:
        _, reader = await bar.link.start(bar.key, ask("one", user="ann"))
        second = await bar.link.submit(bar.key, ask("two", user="ann"))
        assert second is not None
        ledger.gate.clear()
        clock.now += 3
        bar.tell()
        await until(lambda: ledger.asked == 2, "the second turn asks")
        record = await bar.link.cancel(bar.key, second.response_id)
        assert record.status == "cancelled"
        await until_ended(reader, 2)
        assert len(bar.agent.requests) == 1


async def test_an_answer_is_no_longer_than_its_turn_may_cost() -> None:
    async with counter(turn=Limit(hard=1_000_000)) as bar:
        bar.tell()
        bar.tell()
        _, reader = await bar.link.start(bar.key, ask("hi", max_output_tokens=5_000))
        await bar.link.submit(bar.key, ask("two", max_output_tokens=50))
        await until_ended(reader, 2)
        first, second = bar.agent.requests
        # What is sent is estimated: some tokens of prompt and message, and none free.
        assert first.max_output_tokens is not None
        assert 200 < first.max_output_tokens < 250
        assert second.max_output_tokens == 50
        with pytest.raises(OverBudget) as caught:
            await bar.link.submit(bar.key, ask("word " * 2_000))
        assert caught.value.details["budget"] == "turn"
        assert len(bar.agent.requests) == 2


async def test_what_has_no_price_is_not_cut_short() -> None:
    async with counter(price=None, turn=Limit(hard=1), session=Limit(hard=1)) as bar:
        for text in ("one", "two"):
            bar.tell()
            _, reader = await bar.link.start(bar.key, ask(text, max_output_tokens=5_000))
            await until_ended(reader)
            reader.close()
        assert [request.max_output_tokens for request in bar.agent.requests] == [5_000] * 2


async def test_a_turn_beyond_soft_limits_goes_on_and_says_so() -> None:
    limits = {"turn": Limit(soft=TURN - 1), "session": Limit(soft=TURN - 1)}
    async with counter(**limits) as bar:
        seen = []
        for text in ("one", "two"):
            bar.tell()
            _, reader = await bar.link.start(bar.key, ask(text))
            events = await until_ended(reader)
            started = next(event.data for event in events if event.kind == "started")
            seen.append((started.decision.get("budget"), events[-1].data.decision["budget"]))
            reader.close()
        assert seen == [(None, ["turn"]), (["session"], ["session", "turn"])]


async def test_a_turn_that_waited_says_what_is_beyond_its_soft_limit_when_its_time_comes() -> None:
    async with counter(session=Limit(soft=TURN - 1)) as bar:
        _, reader = await bar.link.start(bar.key, ask("one"))
        await bar.link.submit(bar.key, ask("two"))
        bar.tell()
        bar.tell()
        events = await until_ended(reader, 2)
        ends = [event.data for event in events if event.kind == "ended"]
        assert [end.decision.get("budget") for end in ends] == [None, ["session"]]


async def test_nobody_is_let_in_while_nobody_knows_what_was_spent() -> None:
    class Away(UnitLedger):
        async def spent(self, org_id: str, user: str | None) -> Spent:
            raise StoreUnavailable("The store is away.")

    async with counter(Away(), org_month=Limit(hard=TURN)) as bar:
        with pytest.raises(StoreUnavailable):
            await bar.link.submit(bar.key, ask())
        assert bar.agent.requests == []


async def test_a_turn_that_is_kept_nowhere_is_charged_by_itself() -> None:
    async with counter(user_day=Limit(hard=TURN)) as bar:
        bar.tell()
        key = SessionKey("org_default", new_id(STATELESS))
        _, reader = await bar.link.start(key, ask(user="ann"), lasting=False)
        await until_ended(reader)
        reader.close()
        await until(lambda: len(bar.ledger.charged) == 1, "the charge")
        assert bar.ledger.charged == [("org_default", "ann", TURN, 1)]
        with pytest.raises(OverBudget):
            await bar.link.submit(bar.key, ask(user="ann"))


async def test_further_requests_of_a_turn_stay_within_what_is_left_of_it() -> None:
    async with counter(turn=Limit(hard=1_000_000)) as bar:
        bar.agent.say("Once ", ProviderInterrupted("It broke off."))
        bar.agent.say("upon a time.", End("stop", Usage(100, 10)))
        _, reader = await bar.link.start(bar.key, ask("hi", max_output_tokens=5_000))
        [*_, end] = await until_ended(reader)
        assert end.data.text == "Once upon a time."
        first, second = [request.max_output_tokens for request in bar.agent.requests]
        assert first is not None
        assert second is not None
        lost, told = end.data.charges
        assert (lost.estimated, told.estimated) == (True, False)
        assert lost.nano > 0
        # The rest, less what it costs to send what was said and asked again.
        left = 1_000_000 - lost.nano
        assert 0 < second * 4_000 < left < first * 4_000 + lost.input_tokens * 1_000


async def test_a_turn_that_cannot_pay_for_a_further_request_ends_with_its_providers_error() -> None:
    async with counter(turn=Limit(hard=30_000)) as bar:
        bar.agent.say("Once upon a time. ", ProviderInterrupted("It broke off."))
        _, reader = await bar.link.start(bar.key, ask("hi"))
        events = await until_ended(reader)
        assert events[-1].data.status == "failed"
        assert events[-1].data.error["code"] == "provider_interrupted"
        assert events[-1].data.text == "Once upon a time. "
        assert len(bar.agent.requests) == 1


# -- turns of which the store never hears ---------------------------------------------------------


SENT = 1_000
"""What a token costs that was sent, the least that a request costs which was dropped."""


async def test_a_conversation_that_is_deleted_in_mid_answer_is_paid_for() -> None:
    async with counter(user_day=Limit(hard=SENT)) as bar:
        await half_told(bar)
        await bar.link.drop(bar.key)
        await until(lambda: len(bar.ledger.charged) == 1, "the charge")
        [(org, user, nano, turns)] = bar.ledger.charged
        assert (org, user, turns) == ("org_default", "ann", 1)
        assert nano >= SENT + 4_000, "what was said is paid for as well"
        with pytest.raises(OverBudget):
            await bar.link.submit(bar.memory.create("conv_2"), ask(user="ann"))


async def test_a_deletion_that_fails_leaves_the_charge_to_whoever_goes_on() -> None:
    async with counter() as bar:
        first, reader = await bar.link.start(bar.key, ask("one", user="ann"))
        bar.agent.say("Once upon ")
        await told(reader, "delta")
        bar.memory.broken = [StoreUnavailable("away", details={"written": "no"})]
        with pytest.raises(StoreUnavailable):
            await bar.link.drop(bar.key)
        reader.close()
        bar.tell("a time.")
        reader = await bar.link.attach(bar.key, response_id=first.response_id)
        [*_, end] = await until_ended(reader)
        assert [charge.estimated for charge in end.data.charges] == [True, False]
        assert bar.ledger.charged == []


class Mute(UnitMemory):
    """Of the first deletions, as many as `lost`, it does not say whether they went through.

    They did if `deletes`.
    """

    def __init__(self, *, deletes: bool, lost: int = 1) -> None:
        super().__init__()
        self.deletes, self.lost = deletes, lost

    async def drop(self, key: SessionKey, epoch: int) -> None:
        if self.lost == 0:
            await super().drop(key, epoch)
            return
        self.lost -= 1
        if self.deletes:
            self.shelves.pop(key, None)
        raise StoreUnavailable("It broke off.", details={"written": "unknown"})


@pytest.mark.parametrize("deletes", [True, False], ids=["deleted", "not deleted"])
async def test_a_deletion_whose_answer_was_lost_is_asked_again_and_paid_for(deletes: bool) -> None:
    async with counter(memory=Mute(deletes=deletes)) as bar:
        await half_told(bar)
        await bar.link.drop(bar.key)
        assert bar.key not in bar.memory.shelves
        await until(lambda: len(bar.ledger.charged) == 1, "the charge")
        [(org, user, nano, turns)] = bar.ledger.charged
        assert (org, user, turns) == ("org_default", "ann", 1)
        assert nano >= SENT + 4_000


async def test_where_nobody_knows_whether_it_was_deleted_the_log_says_what_it_cost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with counter(memory=Mute(deletes=True, lost=99)) as bar:
        await half_told(bar)
        with pytest.raises(StoreUnavailable):
            await bar.link.drop(bar.key)
        [said] = [r.getMessage() for r in caplog.records if "may not be counted" in r.getMessage()]
        assert said.startswith("org_default: $0.0000")
        assert "$0.000000" not in said
        assert bar.ledger.charged == []


async def test_one_that_has_moved_meanwhile_is_left_to_whoever_goes_on() -> None:
    class Moved(Mute):
        moved = False

        async def drop(self, key: SessionKey, epoch: int) -> None:
            if self.lost == 0 and not self.moved:
                self.moved = True
                self.shelves[key].epoch += 1
            await super().drop(key, epoch)

    async with counter(memory=Moved(deletes=False)) as bar:
        await half_told(bar)
        # The gateway asks the next activation, which goes on with the turn.
        await bar.link.drop(bar.key)
        assert bar.key not in bar.memory.shelves
        await until(lambda: len(bar.ledger.charged) == 1, "the charge")
        [(_, user, nano, turns)] = bar.ledger.charged
        assert (user, turns) == ("ann", 1)
        assert nano >= SENT + 4_000


async def test_an_end_that_is_being_kept_counts_once_though_its_conversation_is_deleted() -> None:
    async with counter() as bar:
        first, reader = await bar.link.start(bar.key, ask("one", user="ann"))
        await bar.link.submit(bar.key, ask("two", user="ann"))
        bar.memory.gate.clear()
        bar.tell()
        await until(lambda: bar.agent.closed == 1, "the answer is whole")
        await told(reader, "delta")
        turns = bar.runtime._sessions[bar.key].turns  # pyright: ignore[reportPrivateUsage]
        deletion = spawn(bar.link.drop(bar.key), name="deletion")
        await until(
            lambda: turns._draining or turns._abandoned,  # pyright: ignore[reportPrivateUsage]
            "the deletion is begun",
        )
        bar.memory.gate.set()
        await deletion
        assert bar.memory.responses[first.response_id].nano == TURN
        assert bar.ledger.charged == []
        assert len(bar.agent.requests) == 1, "what waited was not begun"


async def test_an_end_that_could_not_be_kept_is_paid_for_with_the_deletion() -> None:
    async with counter() as bar:
        _, reader = await bar.link.start(bar.key, ask("one", user="ann"))
        await told(reader, "started")
        bar.memory.broken = [StoreUnavailable("away", details={"written": "no"})]
        bar.memory.gate.clear()
        bar.tell()
        await until(lambda: bar.agent.closed == 1, "the answer is whole")
        turns = bar.runtime._sessions[bar.key].turns  # pyright: ignore[reportPrivateUsage]
        deletion = spawn(bar.link.drop(bar.key), name="deletion")
        await until(lambda: turns._draining, "it is begun")  # pyright: ignore[reportPrivateUsage]
        bar.memory.gate.set()
        await deletion
        assert bar.ledger.charged == [("org_default", "ann", TURN, 1)]


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("The store is away.", details={"written": "no"}),
        Conflict("That id was used before.", code="duplicate_id"),
    ],
    ids=lambda error: error.cause_code,
)
async def test_a_request_whose_turn_was_refused_is_paid_for(error: TroupeError) -> None:
    async with counter() as bar:
        bar.memory.gate.clear()
        bar.memory.broken = [error]
        asked = spawn(bar.link.submit(bar.key, ask("one", user="ann")), name="asked")
        await until(lambda: len(bar.agent.requests) == 1, "the model is asked")
        bar.memory.gate.set()
        with pytest.raises(type(error)):
            await asked
        await until(lambda: len(bar.ledger.charged) == 1, "the charge")
        [(_, user, nano, turns)] = bar.ledger.charged
        assert (user, turns) == ("ann", 0)
        assert nano >= SENT


async def test_a_turn_that_may_be_stored_is_paid_for_by_whoever_goes_on() -> None:
    class Lossy(UnitMemory):
        """Stores what it says it did not."""

        async def accept(self, *args: Any) -> None:
            await super().accept(*args)
            if len(self.responses) == 1:
                raise StoreUnavailable("It broke off.", details={"written": "unknown"})

    async with counter(memory=Lossy()) as bar:
        bar.memory.gate.clear()
        asked = spawn(bar.link.submit(bar.key, ask("one")), name="asked")
        await until(lambda: len(bar.agent.requests) == 1, "the model is asked")
        bar.memory.gate.set()
        with pytest.raises(StoreUnavailable):
            await asked
        await bar.runtime.depose([bar.key])
        bar.tell()
        [lost] = bar.memory.responses
        reader = await bar.link.attach(bar.key, response_id=lost)
        [*_, end] = await until_ended(reader)
        assert [charge.estimated for charge in end.data.charges] == [True, False]
        assert bar.ledger.charged == []
