"""A host is lost in mid-answer: the next activation goes on, and every screen ends up right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from actors.runtime import HostRuntime
from contracts.commands import SessionKey
from contracts.errors import StoreUnavailable
from contracts.events import Cursor, Event, events_of
from contracts.messages import ENDED, FailurePolicy
from contracts.money import Budgets, Limit, Price, Spent
from contracts.tasks import spawn
from gateway.link import Link
from tests.actors.conftest import Stage, ask
from tests.actors.screen import Screen
from tests.actors.test_budgets import Clock
from tests.actors.troupe_of import told_until
from tests.support.runtime import (
    OneHost,
    ScriptedAgent,
    UnitLedger,
    UnitMemory,
    make_link,
    make_runtime,
)
from tests.support.waiting import until

PRICE = Price(1.0, 4.0)


class Heir:
    """The host that takes over, with an agent of its own to tell who was asked."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        self.agent = ScriptedAgent()
        self.runtime: HostRuntime = make_runtime(stage.memory, {"echo": self.agent}, **options)
        self.link: Link = make_link(OneHost(self.runtime), "gw_heir")


@asynccontextmanager
async def heir(stage: Stage, **options: Any) -> AsyncIterator[Heir]:
    taken = Heir(stage, **options)
    try:
        yield taken
    finally:
        await taken.link.close()
        await taken.runtime.close()


async def half_said(stage: Stage, *tokens: str) -> Screen:
    """A turn that has said these tokens, all of them on a screen and on record."""
    accepted, reader = await stage.link.start(stage.key, ask("question"))
    screen = Screen(accepted.response_id)
    text = ""
    for token in tokens:
        stage.agent.say(token)
        text += token
        async with asyncio.timeout(30):
            while screen.text != text:
                screen.show(await reader.next())
    async with asyncio.timeout(30):
        while screen.seq < 2:
            screen.show(await reader.next())
    return screen


async def go_on(taken: Heir, key: SessionKey, screen: Screen) -> list[Event]:
    """The screen comes back with its cursor and stays to the end; gives what it was told."""
    reader = await taken.link.attach(key, after=Cursor(screen.epoch, screen.seq))
    assert reader.attached.recovered
    told: list[Event] = []
    async with asyncio.timeout(30):
        while screen.ended is None:
            batch = await reader.next()
            told.extend(event for _, event in batch)
            if screen.seq >= batch[0][1].seq:
                screen.seq = batch[0][1].seq - 1  # it had been told more than was recorded
            screen.show(batch)
    reader.close()
    return told


def stored(stage: Stage, screen: Screen) -> str:
    record = stage.memory.responses[screen.response_id]
    assert record.status in ENDED
    said = [m.text for m in stage.memory.shelves[stage.key].messages if m.role == "assistant"]
    assert said == ([record.text] if record.text else [])
    return record.text


async def test_it_goes_on_from_what_was_recorded(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ")
    async with heir(stage) as taken:
        taken.agent.answer("three")
        told = await go_on(taken, stage.key, screen)
        assert taken.agent.requests[0].said == "one two "
        assert [m.text for m in taken.agent.requests[0].messages] == ["question"]
        assert told[0].kind == "resumed"
        leg = told[0].data
        assert (leg.policy, leg.position, leg.reason) == ("continue", 8, "host_lost")
        assert screen.text == stored(stage, screen) == "one two three"
        assert screen.ended is not None and screen.ended.attempts == 2


async def test_a_screen_that_shows_more_than_the_record_is_told_where_to_cut(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ", "three ")
    stage.memory.lose_journal(stage.key, keep=3)  # accepted, started, "one "
    async with heir(stage) as taken:
        taken.agent.answer("2 ", "3")
        await go_on(taken, stage.key, screen)
        assert taken.agent.requests[0].said == "one "
        assert screen.text == stored(stage, screen) == "one 2 3"


async def test_a_screen_that_shows_less_than_the_record_gets_the_rest(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ")
    screen.text, screen.seq = "", 2
    async with heir(stage) as taken:
        taken.agent.answer("three")
        told = await go_on(taken, stage.key, screen)
        assert [event.kind for event in told[:3]] == ["delta", "delta", "resumed"]
        assert screen.text == stored(stage, screen) == "one two three"


@pytest.mark.parametrize("begun", [False, True], ids=["nothing said", "something said"])
async def test_with_no_record_left_all_is_said_anew(stage: Stage, begun: bool) -> None:
    screen = await half_said(stage, *(["one "] if begun else []))
    stage.memory.lose_journal(stage.key)
    async with heir(stage) as taken:
        taken.agent.answer("uno ", "due")
        told = await go_on(taken, stage.key, screen)
        assert [event.kind for event in told[:3]] == ["accepted", "started", "resumed"]
        assert taken.agent.requests[0].said is None
        assert told[2].data.policy == "restart"
        assert screen.text == stored(stage, screen) == "uno due"


async def test_a_reader_by_number_is_led_on_into_the_next_leg(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ", "three ")
    stage.memory.lose_journal(stage.key, keep=3)
    async with heir(stage) as taken:
        reader = await taken.link.attach(
            stage.key, response_id=screen.response_id, number=screen.number
        )
        taken.agent.answer("2")
        told: list[Event] = []
        async with asyncio.timeout(30):
            while not told or told[-1].kind != "ended":
                told.extend(event for _, event in await reader.next())
        new = [event for event in told if event.number > screen.number]
        assert new[0].kind == "resumed"
        screen.text = screen.text[: new[0].data.position]
        screen.text += "".join(event.data for event in new if event.kind == "delta")
        assert screen.text == stored(stage, screen) == "one 2"


async def test_a_restart_drops_what_was_said_and_keeps_its_numbers(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ")
    async with heir(stage, on_host_loss="restart") as taken:
        taken.agent.answer("anew")
        told = await go_on(taken, stage.key, screen)
        assert taken.agent.requests[0].said is None
        assert (told[0].data.policy, told[0].data.position) == ("restart", 0)
        assert screen.text == stored(stage, screen) == "anew"
        record = stage.memory.responses[screen.response_id]
        assert record.cuts[:2] == [0, 0]


async def test_a_turn_that_is_to_fail_keeps_what_was_said(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    async with heir(stage, on_host_loss="stop") as taken:
        await go_on(taken, stage.key, screen)
        assert taken.agent.requests == []
        assert screen.ended is not None
        assert (screen.ended.status, screen.ended.error) == (
            "failed",
            {"code": "host_lost", "message": "The host of this turn was lost."},
        )
        assert screen.text == stored(stage, screen) == "one "


async def test_a_turn_that_loses_host_after_host_fails_in_the_end(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    async with heir(stage) as second, heir(stage) as third, heir(stage) as last:
        for n, taken in enumerate((second, third), 2):
            reader = await taken.link.attach(stage.key, response_id=screen.response_id)
            taken.agent.say(f"{n} ")
            told: list[Any] = []
            async with asyncio.timeout(30):
                while f"{n} " not in told:
                    told.extend(event.data for _, event in await reader.next())
            assert len(taken.agent.requests) == 1
        await go_on(last, stage.key, screen)
        assert last.agent.requests == []
        assert screen.ended is not None and screen.ended.status == "failed"
        assert screen.text == stored(stage, screen) == "one 2 3 "
        legs = screen.ended.legs
        assert [(leg.position, leg.policy) for leg in legs] == [
            (4, "continue"),
            (6, "continue"),
            (8, "stop"),
        ]


async def test_turns_that_waited_come_in_their_order(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    second = await stage.link.submit(stage.key, ask("q2"))
    third = await stage.link.submit(stage.key, ask("q3"))
    async with heir(stage) as taken:
        for answer in ("two", "a2", "a3"):
            taken.agent.answer(answer)
        reader = await taken.link.attach(stage.key, after=Cursor(screen.epoch, screen.seq))
        told: list[Event] = []
        async with asyncio.timeout(30):
            while sum(event.kind == "ended" for event in told) < 3:
                told.extend(event for _, event in await reader.next())
        ends = [event.response_id for event in told if event.kind == "ended"]
        assert ends == [screen.response_id, second.response_id, third.response_id]
        assert [event.seq for event in told] == list(range(screen.seq + 1, told[-1].seq + 1))
        texts = [m.text for m in stage.memory.shelves[stage.key].messages]
        assert texts == ["question", "one two", "q2", "a2", "q3", "a3"]


async def test_the_log_of_a_resumed_turn_comes_back_from_its_record(stage: Stage) -> None:
    screen = await half_said(stage, "one ", "two ")
    async with heir(stage) as taken:
        reader = await taken.link.attach(stage.key, response_id=screen.response_id)
        taken.agent.answer("three ", "four")
        told: list[Event] = []
        async with asyncio.timeout(30):
            while not told or told[-1].kind != "ended":
                told.extend(event for _, event in await reader.next())
        again = events_of(stage.memory.responses[screen.response_id])
        assert [event[:4] for event in again] == [event[:4] for event in told]
        assert [e.data for e in again if e.kind == "delta"] == [
            e.data for e in told if e.kind == "delta"
        ]


async def test_the_lost_host_lives_on_and_changes_nothing(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    async with heir(stage) as taken:
        taken.agent.answer("right")
        await go_on(taken, stage.key, screen)
        await stage.link.close()  # its readers would follow the session, to this very host
        stage.agent.answer("wrong")
        async with asyncio.timeout(30):
            while stage.runtime.load():
                await asyncio.sleep(0.001)
        assert screen.text == stored(stage, screen) == "one right"


async def test_an_agent_that_is_gone_ends_the_turn(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    other = ScriptedAgent()
    runtime = make_runtime(stage.memory, {"somebody-else": other})
    link = make_link(OneHost(runtime), "gw_2")
    reader = await link.attach(stage.key, after=Cursor(screen.epoch, screen.seq))
    async with asyncio.timeout(30):
        while screen.ended is None:
            screen.show(await reader.next())
    assert (screen.ended.status, screen.ended.error and screen.ended.error["code"]) == (
        "failed",
        "host_lost",
    )
    assert screen.text == stored(stage, screen) == "one "
    await link.close()
    await runtime.close()


async def test_what_is_told_is_on_record_before(stage: Stage) -> None:
    """Each event on a screen had left the host's process by then."""
    accepted, reader = await stage.link.start(stage.key, ask())
    stage.agent.say("a")
    seen: list[Event] = []
    async with asyncio.timeout(30):
        while not any(event.kind == "delta" for event in seen):
            for _, event in await reader.next():
                journal = {noted.seq for noted in stage.memory.shelves[stage.key].journal}
                assert event.seq in journal
                seen.append(event)
    stage.agent.answer("b")
    async with asyncio.timeout(30):
        while seen[-1].kind != "ended":
            seen.extend(event for _, event in await reader.next())
    assert stage.memory.shelves[stage.key].journal == [], "an ended turn is durable elsewhere"
    assert seen[-1].response_id == accepted.response_id


async def test_an_agent_that_is_gone_is_paid_for_as_the_dearest_that_is_there(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    runtime = make_runtime(stage.memory, {"somebody-else": ScriptedAgent()}, price=PRICE)
    link = make_link(OneHost(runtime), "gw_2")
    reader = await link.attach(stage.key, after=Cursor(screen.epoch, screen.seq))
    async with asyncio.timeout(5):
        while screen.ended is None:
            screen.show(await reader.next())
    [charge] = screen.ended.charges
    assert (charge.agent, charge.endpoint, charge.model) == ("echo", "echo-1", "")
    assert charge.nano == 1_000 * charge.input_tokens + 4_000 * charge.output_tokens
    assert min(charge.input_tokens, charge.output_tokens) > 0
    assert charge.estimated
    await link.close()
    await runtime.close()


async def test_a_turn_that_waited_for_an_agent_that_is_gone_is_answered_by_nobody_else() -> None:
    memory, poet, key = UnitMemory(), ScriptedAgent(), SessionKey("org_default", "conv_1")
    first = make_runtime(memory, {"echo": ScriptedAgent(), "poet": poet})
    memory.create()
    link = make_link(OneHost(first))
    begun = await link.submit(key, ask("question"))
    waits = await link.submit(key, replace(ask("a rhyme"), model="poet"))
    last = await link.submit(key, ask("and then?"))
    assert begun and waits and last
    agent = ScriptedAgent()
    second = make_runtime(memory, {"echo": agent})
    other = make_link(OneHost(second), "gw_2")
    reader = await other.attach(key, response_id=begun.response_id)
    agent.answer("answer")
    agent.answer("that")
    told: dict[str, Any] = {}
    async with asyncio.timeout(5):
        while len(told) < 3:
            told |= {e.response_id: e.data for _, e in await reader.next() if e.kind == "ended"}
    ends = [told[one.response_id] for one in (begun, waits, last)]
    assert [end.status for end in ends] == ["completed", "failed", "completed"]
    assert ends[1].error["code"] == "host_lost"
    assert (ends[1].agent, ends[1].text, ends[1].charges) == ("poet", "", [])
    assert [request.messages[-1].text for request in agent.requests] == ["question", "and then?"]
    for one, runtime in ((link, first), (other, second)):
        await one.close()
        await runtime.close()


# -- what a further request may cost --------------------------------------------------------------


class Spender(UnitLedger):
    """Whose user has spent this much; `gate` keeps the answer back, `away` refuses it."""

    def __init__(self, nano: int) -> None:
        super().__init__()
        self.nano = nano
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self.away = False

    async def spent(self, org_id: str, user: str | None) -> Spent:
        self.asked += 1
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("The store is away.")
        return Spent(org_day=self.nano)


BUDGETS = Budgets(org_day=Limit(50, 100))


@pytest.mark.parametrize("policy", ["continue", "restart"])
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "not recorded"])
async def test_beyond_a_hard_limit_no_further_request_is_bought(
    stage: Stage, policy: FailurePolicy, recorded: bool
) -> None:
    screen = await half_said(stage, "one ")
    if not recorded:
        stage.memory.lose_journal(stage.key)
    ledger = Spender(100)
    async with heir(stage, on_host_loss=policy, budgets=BUDGETS, ledger=ledger) as taken:
        told = await go_on(taken, stage.key, screen)
        assert taken.agent.requests == []
        legs = [event.data for event in told if event.kind == "resumed"]
        text = "one " if recorded else ""
        assert [(leg.policy, leg.position, leg.reason, leg.target) for leg in legs] == [
            ("stop", len(text), "budget_exceeded", None)
        ]
        assert screen.ended is not None and screen.ended.error is not None
        assert (screen.ended.status, screen.ended.error["code"]) == ("failed", "budget_exceeded")
        assert screen.text == stored(stage, screen) == text, "what was said stands"
        assert len(screen.ended.charges) == 1, "what was asked before is paid for"


async def test_beyond_a_soft_limit_it_goes_on_and_says_so(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    async with heir(stage, budgets=BUDGETS, ledger=Spender(60)) as taken:
        taken.agent.answer("two")
        await go_on(taken, stage.key, screen)
        assert screen.text == stored(stage, screen) == "one two"
        assert screen.ended is not None and screen.ended.decision["budget"] == ["org_day"]


async def test_it_waits_for_a_store_that_is_away_and_goes_on(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    ledger, clock = Spender(0), Clock()
    ledger.away = True
    async with heir(stage, budgets=BUDGETS, ledger=ledger, clock=clock) as taken:
        taken.agent.answer("two")
        told = spawn(go_on(taken, stage.key, screen), name="told")
        await until(lambda: ledger.asked == 1, "it asks")
        ledger.away = False
        clock.now += 3
        assert [event.kind for event in await told] == ["resumed", "delta", "ended"]
        assert screen.text == stored(stage, screen) == "one two"
        assert screen.ended is not None and screen.ended.status == "completed"


async def test_so_does_one_that_had_not_begun(stage: Stage) -> None:
    begun, _ = await stage.link.start(stage.key, ask("one", user="ann"))
    waits = await stage.link.submit(stage.key, ask("two", user="bob"))
    assert waits is not None
    ledger, clock, budgets = Spender(0), Clock(), Budgets(user_day=Limit(50, 100))
    async with heir(stage, budgets=budgets, ledger=ledger, clock=clock) as taken:
        reader = await taken.link.attach(stage.key, response_id=begun.response_id)
        await until(lambda: len(taken.agent.requests) == 1, "the first goes on")
        ledger.away = True
        taken.agent.answer("1")
        taken.agent.answer("2")
        await until(lambda: ledger.asked == 2, "the second asks")
        ledger.away = False
        clock.now += 3
        ends = [e.data for e in await told_until(reader, "ended", 2) if e.kind == "ended"]
        assert [(end.id, end.status, end.text) for end in ends] == [
            (begun.response_id, "completed", "1"),
            (waits.response_id, "completed", "2"),
        ]
        reader.close()


async def test_it_holds_no_place_while_it_waits(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    ledger = Spender(0)
    ledger.gate.clear()
    async with heir(stage, budgets=BUDGETS, ledger=ledger) as taken:
        desk = taken.runtime._desk  # pyright: ignore[reportPrivateUsage]
        endpoints = desk.in_force.seats["echo"].endpoints
        taken.agent.answer("two")
        told = spawn(go_on(taken, stage.key, screen), name="told")
        with patch.object(endpoints, "take", wraps=endpoints.take) as take:
            await until(lambda: ledger.asked == 1, "it asks")
            assert take.call_count == 0
            ledger.gate.set()
            await told
            assert take.call_count == 1


async def test_where_the_store_stays_away_it_ends_with_its_contracts_time(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    ledger = Spender(0)
    ledger.away = True
    async with heir(stage, budgets=BUDGETS, ledger=ledger, retry_s=0.25) as taken:
        told = await go_on(taken, stage.key, screen)
        [leg] = [event.data for event in told if event.kind == "resumed"]
        assert (leg.policy, leg.reason) == ("stop", "store_unavailable")
        assert screen.ended is not None and screen.ended.status == "failed"
        assert screen.text == stored(stage, screen) == "one "
        assert taken.agent.requests == []


async def test_it_can_be_cancelled_while_the_store_is_away(stage: Stage) -> None:
    screen = await half_said(stage, "one ")
    ledger = Spender(0)
    ledger.away = True
    async with heir(stage, budgets=BUDGETS, ledger=ledger) as taken:
        reader = await taken.link.attach(stage.key, after=Cursor(screen.epoch, screen.seq))
        await until(lambda: ledger.asked == 1, "it asks")
        record = await taken.link.cancel(stage.key, screen.response_id)
        assert (record.status, record.text) == ("cancelled", "one ")
        assert taken.agent.requests == []
        reader.close()


async def test_it_can_be_cancelled_while_nobody_knows_yet_whether_it_may_go_on(
    stage: Stage,
) -> None:
    screen = await half_said(stage, "one ")
    ledger = Spender(0)
    ledger.gate.clear()
    async with heir(stage, on_host_loss="restart", budgets=BUDGETS, ledger=ledger) as taken:
        reader = await taken.link.attach(stage.key, after=Cursor(screen.epoch, screen.seq))
        await until(lambda: ledger.asked == 1, "it asks")
        record = await taken.link.cancel(stage.key, screen.response_id)
        assert (record.status, record.text) == ("cancelled", "one ")
        async with asyncio.timeout(5):
            while screen.ended is None:
                screen.show(await reader.next())
        assert taken.agent.requests == []
        assert screen.text == stored(stage, screen) == "one "


async def test_a_reader_that_has_nothing_is_shown_what_was_said_before_the_leg(
    stage: Stage,
) -> None:
    await half_said(stage, "one ")
    ledger = Spender(0)
    ledger.gate.clear()
    async with heir(stage, budgets=BUDGETS, ledger=ledger) as taken:
        reader = await taken.link.attach(stage.key, after=Cursor(0, 0))
        assert not reader.attached.recovered
        shown = await reader.next()
        assert [event.kind for _, event in shown] == ["started", "delta"]
        ledger.gate.set()
        taken.agent.answer("two")
        told = await told_until(reader, "ended")
        assert [event.kind for event in told] == ["resumed", "delta", "ended"]
        reader.close()
