"""A provider fails: who is asked instead, what readers are told, what is kept and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.purse import over_budget
from context.tokens import estimate
from contracts.agents import End
from contracts.errors import (
    AgentUnavailable,
    Busy,
    ProviderError,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
    StoreUnavailable,
)
from contracts.events import LEG_NUMBERS, Cursor, Event, events_of
from contracts.messages import Usage
from contracts.tasks import spawn
from routing.health import Capacity
from tests.actors.conftest import ask
from tests.actors.troupe_of import SESSION_LIMITS, company, shown, told_until, until_asked
from tests.support.waiting import until

AWAY = ProviderUnavailable("away")
BROKE = ProviderInterrupted("broke")


def said_so_far(events: list[Event]) -> list[tuple[Any, ...]]:
    """The legs: policy, position, reason, from and to."""
    legs = [event.data for event in events if event.kind == "resumed"]
    return [(leg.policy, leg.position, leg.reason, leg.source, leg.target) for leg in legs]


# -- before the first token -------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [AWAY, ProviderTimeout("x"), ProviderRateLimited("x"), ProviderUnauthorized("x"), Busy("x")],
    ids=lambda error: error.cause_code,
)
async def test_before_the_first_token_another_is_asked_unseen(error: Any) -> None:
    async with company(2) as cast:
        cast["a"].say(error)
        cast["b"].answer("hello")
        events, record = await cast.play()
        assert [event.kind for event in events] == ["accepted", "started", "delta", "ended"]
        assert (record.text, record.legs, record.status) == ("hello", [], "completed")
        assert cast.tickets() == [("a", error.cause_code), ("b", "spoke", "done")]
        assert cast["b"].requests[0].model == "model-b"
        assert record.decision["endpoint"] == "a"
        assert [one["endpoint"] for one in record.decision["candidates"]] == ["a", "b"]


@pytest.mark.parametrize("on_failure", ["continue", "restart", "stop"])
@pytest.mark.parametrize("continues", [True, False])
async def test_what_broke_before_the_message_was_stored_nobody_has_heard(
    on_failure: str, continues: bool
) -> None:
    """It is stored while the turn waits for the time to ask again."""
    voices = "a" if continues else ""
    async with company(1, on_failure=on_failure, continues=voices) as cast:
        cast.memory.gate.clear()
        cast["a"].say("one ", "two ", ProviderInterrupted("broke", retry_after=0.5))
        cast["a"].answer("hello")
        turn = spawn(cast.play(), name="turn")
        await until_asked(cast["a"])
        await until(lambda: cast["a"].closed == 1, "it broke")
        cast.memory.gate.set()
        events, record = await turn
        assert [event.kind for event in events] == ["accepted", "started", "delta", "ended"]
        assert (record.text, record.legs, record.status) == ("hello", [], "completed")
        assert cast["a"].requests[1].said is None
        broken = record.charges[0]
        assert broken.output_tokens == estimate("one two "), "what nobody heard is paid for"


async def test_the_only_endpoint_is_asked_again() -> None:
    async with company(1) as cast:
        cast["a"].say(ProviderRateLimited("slow", retry_after=0.001))
        cast["a"].answer("hello")
        _, record = await cast.play()
        assert record.text == "hello"
        assert len(cast["a"].requests) == 2


async def test_what_is_rejected_is_asked_nowhere_else() -> None:
    async with company(2) as cast:
        cast["a"].say(ProviderRejected("no"))
        events, record = await cast.play()
        assert (record.status, record.error and record.error["code"]) == (
            "failed",
            "provider_rejected",
        )
        assert said_so_far(events) == []
        assert cast["b"].requests == []
        assert record.charges == [] and record.usage is None


async def test_a_key_that_every_endpoint_refuses_ends_the_turn_at_once() -> None:
    async with company(2, attempts=9) as cast:
        for name in "ab":
            cast[name].say(ProviderUnauthorized("no"))
        _, record = await cast.play()
        assert record.error is not None and record.error["code"] == "provider_unauthorized"
        assert [len(cast[name].requests) for name in "ab"] == [1, 1]


async def test_fallbacks_are_asked_after_the_agents_own_and_speak_for_it() -> None:
    async with company(1, others={"spare": 2}) as cast:
        cast["a"].say(AWAY)
        cast["b"].say(AWAY)
        cast["c"].answer("hello")
        _, record = await cast.play()
        assert (record.text, record.agent) == ("hello", "spare")
        asked = cast["c"].requests[0]
        assert (asked.model, asked.instructions) == ("model-c", "I am echo.")
        assert [m.text for m in asked.messages] == ["question"]
        assert cast.tickets("spare") == [("b", "provider_unavailable"), ("c", "spoke", "done")]
        assert [(charge.agent, charge.endpoint) for charge in record.charges] == [("spare", "c")]


async def test_an_endpoint_that_failed_is_asked_again_only_after_all_others() -> None:
    async with company(1, others={"spare": 1}, attempts=3) as cast:
        cast["a"].say(AWAY)
        cast["b"].say(AWAY)
        cast["a"].answer("hello")
        _, record = await cast.play()
        assert (record.text, record.agent) == ("hello", "echo")


async def test_attempts_are_counted_over_all_endpoints() -> None:
    async with company(2, others={"spare": 2}, attempts=3) as cast:
        for name in "abcd":
            cast[name].say(AWAY)
        _, record = await cast.play()
        assert record.status == "failed"
        assert [len(cast[name].requests) for name in "abcd"] == [1, 1, 1, 0]


async def test_time_is_a_budget() -> None:
    async with company(2, retry_s=0.0) as cast:
        cast["a"].say(AWAY)
        _, record = await cast.play()
        assert record.status == "failed"
        assert cast["b"].requests == []


async def test_money_is_a_budget() -> None:
    async with company(3, retry_nano=1) as cast:
        cast["a"].say(ProviderTimeout("x"))
        _, record = await cast.play()
        assert record.status == "failed"
        assert cast["b"].requests == []
        assert [charge.estimated for charge in record.charges] == [True]


async def test_a_request_that_cost_nothing_does_not_make_the_next_one_the_first() -> None:
    async with company(1, attempts=1) as cast:
        cast["a"].say(ProviderTimeout("x"))
        _, record = await cast.play()
        cost = record.nano
    async with company(3, retry_nano=cost * 3 // 2) as cast:
        cast["a"].say(ProviderRateLimited("x"))
        cast["b"].say(ProviderTimeout("x"))
        _, record = await cast.play()
        assert record.nano == cost > 0
        assert record.status == "failed"
        assert cast["c"].requests == []


async def test_where_only_the_one_that_failed_is_free_it_is_asked_once_more_and_no_oftener() -> (
    None
):
    async with company(2, attempts=2) as cast:
        balanced = cast.balance()
        here, there = balanced.endpoints
        there.health.circuit.open(asyncio.get_running_loop().time(), for_s=60.0)
        cast["a"].say(AWAY)
        cast["a"].answer("hello")
        _, record = await cast.play()
        assert record.text == "hello"
        assert (here.asked, len(cast["a"].requests)) == (2, 2)
        now = asyncio.get_running_loop().time()
        assert here.health.word(now)[:3] == (2, record.charges[-1].input_tokens + 1, 0)


async def test_a_turn_has_one_time_for_all_its_requests() -> None:
    limits = replace(SESSION_LIMITS, turn_s=0.5)
    async with company(2, session_limits=limits) as cast:
        cast["a"].say("one ")
        events, record = await cast.play()
        assert (record.status, record.text) == ("failed", "one ")
        assert said_so_far(events) == [("stop", 4, "provider_timeout", "echo/a", None)]
        assert cast.tickets() == [("a", "spoke", "provider_timeout")]


# -- after it ---------------------------------------------------------------------------------


async def test_another_goes_on_from_what_was_said() -> None:
    async with company(2) as cast:
        cast["a"].say("one ", "two ", BROKE)
        cast["b"].answer("three")
        events, record = await cast.play()
        leg = ("continue", 8, "provider_interrupted", "echo/a", "echo/b")
        assert said_so_far(events) == [leg]
        assert cast["b"].requests[0].said == "one two "
        assert shown(events) == record.text == "one two three"
        assert sum(record.cuts) == len(record.text)
        assert record.legs == [event.data for event in events if event.kind == "resumed"]
        resumed = next(event for event in events if event.kind == "resumed")
        assert resumed.number == LEG_NUMBERS
        assert [event[:4] for event in events_of(record)] == [event[:4] for event in events[1:]]


async def test_a_restart_takes_the_text_back() -> None:
    async with company(2, on_failure="restart") as cast:
        cast["a"].say("one ", BROKE)
        cast["b"].answer("uno")
        events, record = await cast.play()
        assert said_so_far(events) == [("restart", 0, "provider_interrupted", "echo/a", "echo/b")]
        assert cast["b"].requests[0].said is None
        assert shown(events) == record.text == "uno"
        assert record.cuts == [0, 3]
        assert [event[:4] for event in events_of(record)] == [event[:4] for event in events[1:]]


async def test_whoever_cannot_go_on_begins_anew() -> None:
    async with company(2, continues=["a"]) as cast:
        cast["a"].say("one ", BROKE)
        cast["b"].answer("uno")
        events, record = await cast.play()
        assert said_so_far(events)[0][:2] == ("restart", 0)
        assert shown(events) == record.text == "uno"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"on_failure": "stop"}, BROKE),
        ({"attempts": 1}, BROKE),
        ({}, ProviderRejected("no")),
        ({}, ProviderError("odd")),
    ],
    ids=["stop", "attempts", "rejected", "odd"],
)
async def test_nobody_goes_on_and_what_was_said_stands(
    options: dict[str, Any], error: ProviderError
) -> None:
    async with company(2, **options) as cast:
        cast["a"].say("one ", error)
        events, record = await cast.play()
        assert said_so_far(events) == [("stop", 4, error.cause_code, "echo/a", None)]
        assert [event.kind for event in events[-2:]] == ["resumed", "ended"]
        assert (record.status, record.text) == ("failed", "one ")
        assert record.error is not None and record.error["code"] == error.cause_code
        assert shown(events) == "one "
        assert cast["b"].requests == []
        assert [event[:4] for event in events_of(record)] == [event[:4] for event in events[1:]]


async def test_each_change_has_a_leg_also_one_that_said_nothing() -> None:
    async with company(3) as cast:
        cast["a"].say("one ", BROKE)
        cast["b"].say(AWAY)
        cast["c"].answer("two")
        events, record = await cast.play()
        assert said_so_far(events) == [
            ("continue", 4, "provider_interrupted", "echo/a", "echo/b"),
            ("continue", 4, "provider_unavailable", "echo/b", "echo/c"),
        ]
        assert [leg.number for leg in record.legs] == [1, 2]
        assert shown(events) == record.text == "one two"


async def test_the_rules_own_word_goes_before_the_agents() -> None:
    async with company(2, on_failure="continue") as cast:
        choose = cast.desk.choose

        async def strict(*args: Any, **options: Any) -> Any:
            decision, seat = await choose(*args, **options)
            return replace(decision, on_failure="stop"), seat

        cast.desk.choose = strict  # type: ignore[method-assign]
        cast["a"].say("one ", BROKE)
        _, record = await cast.play()
        assert (record.status, record.legs[0].policy) == ("failed", "stop")


async def test_what_nobody_has_heard_is_unsaid_without_a_word() -> None:
    """The store is still writing the question: the next one may begin as if it were the first."""
    async with company(2) as cast:
        cast.memory.gate.clear()
        starting = asyncio.ensure_future(cast.start())
        cast["a"].say("one ", BROKE)
        await until_asked(cast["b"])
        cast.memory.gate.set()
        _, reader = await starting
        cast["b"].answer("uno")
        events = await told_until(reader, "ended")
        assert said_so_far(events) == []
        assert shown(events) == "uno"
        assert cast["b"].requests[0].said is None


# -- no place ---------------------------------------------------------------------------------


async def test_a_full_agent_refuses_before_anything_is_kept() -> None:
    async with company(2) as cast:
        cast.endpoints["echo"].full = {"a", "b"}
        cast.endpoints["echo"].wait = 7.0
        with pytest.raises(AgentUnavailable) as caught:
            await cast.start()
        assert caught.value.retry_after == 7.0
        assert cast.memory.responses == {}


async def test_a_turn_for_which_there_are_not_tokens_enough_is_refused_before_it_is_kept() -> None:
    async with company(1) as cast:
        balanced = cast.balance(capacity=Capacity(tokens_per_minute=2000))
        _, reader = await cast.start()
        second = asyncio.ensure_future(cast.link.start(cast.memory.create("conv_2"), ask()))
        with pytest.raises(AgentUnavailable) as caught:
            await second
        assert 58 < (caught.value.retry_after or 0) <= 61
        assert len(cast.memory.responses) == 1
        assert balanced.endpoints[0].asked == 1
        cast["a"].answer("one")
        await told_until(reader, "ended")
        cast["a"].answer("two")
        assert (await cast.play())[1].text == "two"


async def test_nor_does_such_a_turn_end_the_one_that_runs() -> None:
    async with company(1) as cast:
        cast.balance(capacity=Capacity(tokens_per_minute=2000))
        _, reader = await cast.start()
        with pytest.raises(AgentUnavailable):
            await cast.start(ask("stop!", on_busy="interrupt"))
        cast["a"].answer("one")
        events = await told_until(reader, "ended")
        assert (events[-1].data.status, events[-1].data.text) == ("completed", "one")


@pytest.mark.parametrize("most", ["agent", "endpoint"])
async def test_whoever_interrupts_has_the_place_of_the_turn_that_ends_by_it(most: str) -> None:
    async with company(1) as cast:
        if most == "agent":
            cast.balance(max_sessions=1)
        else:
            cast.balance(capacity=Capacity(max_sessions=1))
        _, reader = await cast.start()
        await until_asked(cast["a"])
        other = cast.memory.create("conv_2")
        with pytest.raises(AgentUnavailable):
            await cast.link.start(other, ask())
        await cast.start(ask("stop!", on_busy="interrupt"))
        await until_asked(cast["a"], 2)
        cast["a"].answer("two")
        events = await told_until(reader, "ended", 2)
        ends = [event.data.status for event in events if event.kind == "ended"]
        assert ends == ["cancelled", "completed"]


async def test_a_place_elsewhere_is_of_no_use_to_whoever_interrupts() -> None:
    async with company(1, others={"spare": 1}) as cast:
        cast.balance("spare", max_sessions=1)
        other = cast.memory.create("conv_2")
        await cast.link.start(other, replace(ask(), model="spare"))
        _, reader = await cast.start()
        with pytest.raises(AgentUnavailable):
            await cast.start(replace(ask("stop!", on_busy="interrupt"), model="spare"))
        cast["a"].answer("one")
        events = await told_until(reader, "ended")
        assert events[-1].data.status == "completed"


async def test_a_full_agent_is_stood_in_for() -> None:
    async with company(1, others={"spare": 1}) as cast:
        cast.endpoints["echo"].full = {"a"}
        cast["b"].answer("hello")
        _, record = await cast.play()
        assert (record.text, record.agent) == ("hello", "spare")


async def test_a_turn_that_waited_waits_for_a_place() -> None:
    async with company(1) as cast:
        _, reader = await cast.start()
        await cast.start(ask("second"))
        cast.endpoints["echo"].full = {"a"}
        cast["a"].answer("one")
        events = await told_until(reader, "started", 2)
        assert len(cast["a"].requests) == 1
        cast.endpoints["echo"].full = set()
        cast["a"].answer("two")
        if sum(event.kind == "ended" for event in events) < 2:
            events += await told_until(reader, "ended", 1)
        assert events[-1].data.text == "two"


async def test_a_turn_that_waited_does_not_wait_for_ever() -> None:
    async with company(1, retry_s=0.1) as cast:
        _, reader = await cast.start()
        await cast.start(ask("second"))
        cast.endpoints["echo"].full = {"a"}
        cast.endpoints["echo"].wait = 60.0
        cast["a"].answer("one")
        events = await told_until(reader, "ended", 2)
        assert events[-1].data.error["code"] == "agent_unavailable"
        assert events[-1].data.error["retry_after"] == 60.0


# -- going away -------------------------------------------------------------------------------


async def test_a_turn_is_cancelled_while_it_pauses() -> None:
    async with company(1) as cast:
        cast["a"].say("one ", ProviderRateLimited("slow", retry_after=60))
        _, reader = await cast.start()
        async with asyncio.timeout(30):
            while cast["a"].closed == 0:
                await asyncio.sleep(0.001)
        record = await cast.link.cancel(cast.key)
        assert (record.status, record.text) == ("cancelled", "one ")
        assert said_so_far(await told_until(reader, "ended")) == []
        assert cast.tickets() == [("a", "spoke", "provider_rate_limited")]


@pytest.mark.parametrize("token", [None, "one "], ids=["silent", "speaking"])
async def test_a_cancelled_request_is_left_and_paid_for(token: str | None) -> None:
    async with company(1) as cast:
        _, reader = await cast.start()
        await until_asked(cast["a"])
        if token:
            cast["a"].say(token)
            await told_until(reader, "delta")
        record = await cast.link.cancel(cast.key)
        told = ("spoke", "left") if token else ("left",)
        assert cast.tickets() == [("a", *told)]
        charge = record.charges[0]
        assert (len(record.charges), charge.estimated) == (1, True)
        assert charge.input_tokens > 0 and bool(charge.output_tokens) == bool(token)


async def test_a_turn_that_may_not_begin_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with company(1) as cast:
        _, reader = await cast.start()
        await cast.start(ask("second"))

        async def spent(*args: Any) -> tuple[str, ...]:
            raise over_budget("org_day", 1, 2)

        monkeypatch.setattr("actors.purse.Purse.check", spent)
        cast["a"].answer("one")
        events = await told_until(reader, "ended", 2)
        assert events[-1].data.error["code"] == "budget_exceeded"
        assert events[-1].data.charges == []
        assert cast.tickets() == [("a", "spoke", "done")]


async def test_a_refused_write_gives_the_place_back() -> None:
    async with company(1) as cast:
        cast.memory.broken = [StoreUnavailable("away")]
        with pytest.raises(StoreUnavailable):
            await cast.start()
        assert cast.tickets() == [("a", "unused")], "it was refused before anybody was asked"
        cast.memory.gate.clear()
        cast.memory.broken = [StoreUnavailable("away")]
        starting = asyncio.ensure_future(cast.start())
        await until_asked(cast["a"])
        cast.memory.gate.set()
        with pytest.raises(StoreUnavailable):
            await starting
        assert cast.tickets()[1:] == [("a", "left")]


# -- what it costs ----------------------------------------------------------------------------


async def test_every_leg_is_paid_for() -> None:
    async with company(3) as cast:
        cast["a"].say(AWAY)
        cast["b"].say("one two three ", BROKE)
        cast["c"].say("four", End("stop", Usage(100, 7, 40)))
        _, record = await cast.play()
        broken, whole = record.charges
        assert (broken.endpoint, broken.model, broken.estimated) == ("b", "model-b", True)
        assert broken.output_tokens >= 3
        assert whole == ("echo", "c", "model-c", 100, 7, 40, 170_000, False)
        assert record.usage == Usage(100 + broken.input_tokens, 7 + broken.output_tokens, 40)
        assert broken.nano == broken.input_tokens * 1000 + broken.output_tokens * 10_000
        assert record.nano == (broken.nano or 0) + 170_000


async def test_what_has_no_price_is_counted_all_the_same() -> None:
    async with company(1, price=None) as cast:
        cast["a"].say("x", End("stop", None))
        _, record = await cast.play()
        assert [(c.nano, c.estimated) for c in record.charges] == [(None, True)]
        assert record.usage is not None and record.usage.output_tokens >= 1


# -- with hosts that are lost -----------------------------------------------------------------


async def test_a_host_is_lost_after_a_change() -> None:
    async with company(2) as cast, company(2, memory=cast.memory) as heir:
        cast["a"].say("one ", BROKE)
        cast["b"].say("two ")
        _, reader = await cast.start()
        seen = await told_until(reader, "delta", 2)
        later = await heir.link.attach(heir.key, after=Cursor(1, seen[-1].seq))
        heir["a"].answer("three")
        events = await told_until(later, "ended")
        record = events[-1].data
        assert heir["a"].requests[0].said == "one two "
        assert [(leg.policy, leg.number, leg.position) for leg in record.legs] == [
            ("continue", 1, 4),
            ("continue", 16, 8),
        ]
        assert shown(seen + events) == record.text == "one two three"
        assert [(c.endpoint, c.estimated) for c in record.charges] == [
            ("a", True),
            ("b", True),
            ("a", False),
        ]
        assert all(charge.input_tokens > 0 for charge in record.charges)
        assert [c.output_tokens for c in record.charges[:2]] == [estimate("one "), estimate("two ")]


async def test_a_turn_that_was_taken_over_changes_its_provider_too() -> None:
    async with company(2) as cast, company(2, memory=cast.memory) as heir:
        cast["a"].say("one ")
        _, reader = await cast.start()
        seen = await told_until(reader, "delta")
        later = await heir.link.attach(heir.key, after=Cursor(1, seen[-1].seq))
        heir["a"].say(AWAY)
        heir["b"].say("two ", BROKE)
        heir["a"].answer("three")
        events = await told_until(later, "ended")
        record = events[-1].data
        assert [leg.number for leg in record.legs] == [16, 17]
        assert said_so_far(events)[1][2:] == ("provider_interrupted", "echo/b", "echo/a")
        assert shown(seen + events) == record.text == "one two three"


async def test_an_heir_that_cannot_go_on_begins_anew() -> None:
    async with company(1) as cast, company(1, memory=cast.memory, continues=[]) as heir:
        cast["a"].say("one ")
        _, reader = await cast.start()
        seen = await told_until(reader, "delta")
        later = await heir.link.attach(heir.key, after=Cursor(1, seen[-1].seq))
        heir["a"].answer("uno")
        events = await told_until(later, "ended")
        assert shown(seen + events) == events[-1].data.text == "uno"
        assert heir["a"].requests[0].said is None


# -- what rules are told ----------------------------------------------------------------------


async def test_rules_learn_how_the_conversation_went() -> None:
    async with company(1, others={"spare": 1}, attempts=2) as cast:
        told: list[Any] = []
        choose = cast.desk.choose

        async def noted(model: str, message: Any, **options: Any) -> Any:
            told.append((message.turn, message.agent, message.failures, message.messages))
            return await choose(model, message, **options)

        cast.desk.choose = noted  # type: ignore[method-assign]
        for own, other in ((AWAY, AWAY), (AWAY, "fine"), (AWAY, AWAY), ("fine", None), ("", None)):
            for name, item in (("a", own), ("b", other)):
                if isinstance(item, str):
                    cast[name].answer(item)
                elif item is not None:
                    cast[name].say(item)
            _, record = await cast.play()
            if other == "fine":
                assert (record.agent, record.text) == ("spare", "fine")
        # Who never spoke is nobody's agent; who stands in for one does not take its place.
        assert told == [
            (1, None, 0, 0),
            (2, None, 1, 2),
            (3, "echo", 0, 4),
            (4, "echo", 1, 6),
            (5, "echo", 0, 8),
        ]


async def test_a_cancellation_does_not_wait_for_a_model_that_is_to_route() -> None:
    async with company(1) as cast:
        _, reader = await cast.start()
        choose, asked = cast.desk.choose, asyncio.Event()

        async def slow(*args: Any, ask: bool = True, **options: Any) -> Any:
            if ask:
                asked.set()
                await asyncio.Event().wait()
            return await choose(*args, ask=ask, **options)

        cast.desk.choose = slow  # type: ignore[method-assign]
        second = asyncio.ensure_future(cast.start(ask("second")))
        await asked.wait()
        async with asyncio.timeout(30):
            record = await cast.link.cancel(cast.key)
            await second
        assert record.status == "cancelled"
        cast["a"].answer("two")
        assert (await told_until(reader, "ended", 2))[-1].data.text == "two"


async def _gone(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_session_that_moved_while_a_model_routed_accepts_nothing() -> None:
    async with company(1) as cast:
        cast["a"].answer("one")
        await cast.play()
        choose, asked, go = cast.desk.choose, asyncio.Event(), asyncio.Event()

        async def slow(*args: Any, ask: bool = True, **options: Any) -> Any:
            asked.set()
            await go.wait()
            return await choose(*args, ask=ask, **options)

        cast.desk.choose = slow  # type: ignore[method-assign]
        second = asyncio.ensure_future(cast.start(ask("second")))
        await asked.wait()
        session = next(iter(cast.runtime._sessions.values()))
        await session.deposed()
        cast["a"].answer("two")
        go.set()
        response_id, _ = await second  # by the link's second try, in a new activation
        await _gone(lambda: cast.memory.responses[response_id].status == "completed")
        assert cast.memory.shelves[cast.key].epoch == 2
        assert len(cast["a"].requests) == 2
