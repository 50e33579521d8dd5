"""A second request where the first is silent: one is heard, both are paid for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.desk import Hedge
from contracts.errors import ProviderInterrupted, ProviderUnavailable
from contracts.limits import Word
from contracts.tasks import spawn
from tests.actors.troupe_of import Company, company, shown, told_until, until_asked
from tests.support.waiting import until

AWAY = ProviderUnavailable("away")


def hedge(**fields: Any) -> Hedge:
    return Hedge(**{"after_s": 0.01, "max_nano": 10**9, "share": 1.0, **fields})


async def test_the_second_speaks_first_and_is_heard() -> None:
    async with company(2, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["b"])
        assert cast["b"].requests[0].messages == cast["a"].requests[0].messages
        cast["b"].answer("hello")
        events = await told_until(reader, "ended")
        record = events[-1].data
        assert (shown(events), record.legs) == ("hello", [])
        assert sorted(cast.tickets()) == [("a", "left"), ("b", "spoke", "done")]
        assert {(c.endpoint, c.estimated) for c in record.charges} == {("a", True), ("b", False)}


async def test_the_first_speaks_after_all() -> None:
    async with company(2, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["b"])
        cast["a"].answer("hello")
        events = await told_until(reader, "ended")
        assert shown(events) == "hello"
        assert sorted(cast.tickets()) == [("a", "spoke", "done"), ("b", "left")]


@pytest.mark.parametrize(("fails", "speaks"), ["ab", "ba"])
async def test_the_failure_of_one_is_not_the_turns(fails: str, speaks: str) -> None:
    async with company(2, attempts=1, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["b"])
        cast[fails].say(AWAY)
        async with asyncio.timeout(30):
            while cast[fails].open:
                await asyncio.sleep(0.001)
        cast[speaks].answer("hello")
        events = await told_until(reader, "ended")
        assert (events[-1].data.status, shown(events)) == ("completed", "hello")
        told = {(fails, "provider_unavailable"), (speaks, "spoke", "done")}
        assert set(cast.tickets()) == told


async def test_where_both_fail_the_turn_asks_on() -> None:
    async with company(3, attempts=3, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["b"])
        cast["a"].say(AWAY)
        cast["b"].say(AWAY)
        cast["c"].answer("hello")
        events = await told_until(reader, "ended")
        assert shown(events) == "hello"
        assert len(cast.tickets()) == 3


async def test_the_one_that_was_heard_is_lost_later() -> None:
    async with company(2, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["b"])
        cast["b"].say("one ", ProviderInterrupted("broke"))
        await until_asked(cast["a"], 2)
        cast["a"].answer("two")
        events = await told_until(reader, "ended")
        leg = next(event.data for event in events if event.kind == "resumed")
        assert (leg.source, leg.target) == ("echo/b", "echo/a")
        assert shown(events) == "one two"


async def _without(cast: Company) -> None:
    """The turn goes by and `b` is never asked."""
    _, reader = await cast.start()
    await until_asked(cast["a"])
    await asyncio.sleep(0.03)
    cast["a"].answer("hello")
    assert shown(await told_until(reader, "ended")) == "hello"
    assert cast["b"].requests == []


async def test_one_that_may_cost_too_much_is_not_sent() -> None:
    async with company(2, hedge=hedge(max_nano=1000)) as cast:
        await _without(cast)
        assert cast.tickets() == [("a", "spoke", "done"), ("b", "unused")]


async def test_one_that_is_not_sent_is_no_request_of_the_turn() -> None:
    async with company(2, attempts=2, hedge=hedge(max_nano=1000)) as cast:
        _, reader = await cast.start()
        async with asyncio.timeout(5):
            while ("b", "unused") not in cast.tickets():
                await asyncio.sleep(0.001)
        cast["a"].say(AWAY)
        cast["b"].answer("hello")
        events = await told_until(reader, "ended")
        assert (events[-1].data.status, shown(events)) == ("completed", "hello")


async def test_one_that_is_not_sent_leaves_no_trace_at_its_endpoint() -> None:
    async with company(2, hedge=hedge(max_nano=1000)) as cast:
        balanced = cast.balance()
        take, taken = balanced.take, list[str]()

        def noted(*args: Any, **options: Any) -> Any:
            ticket = take(*args, **options)
            assert ticket is not None
            taken.append(ticket.endpoint)
            return ticket

        balanced.take = noted  # type: ignore[method-assign]
        _, reader = await cast.start()
        async with asyncio.timeout(5):
            while len(taken) < 2:
                await asyncio.sleep(0.001)
        cast[taken[0]].answer("hello")
        await told_until(reader, "ended")
        assert sorted(taken) == ["a", "b"]
        there = next(one for one in balanced.endpoints if one.name == taken[1])
        now = asyncio.get_running_loop().time()
        assert (there.asked, there.health.word(now)) == (0, Word())
        assert there.health.expected_s(now) is None


async def test_nor_one_whose_price_nobody_knows() -> None:
    async with company(2, price=None, hedge=hedge()) as cast:
        await _without(cast)


async def test_nor_one_beyond_the_share() -> None:
    async with company(2, hedge=hedge(share=0.5)) as cast:
        await _without(cast)
        _, reader = await cast.start()
        await until_asked(cast["b"])
        cast["a"].answer("hello")
        await told_until(reader, "ended")


async def test_with_one_endpoint_there_is_none() -> None:
    async with company(1, hedge=hedge()) as cast:
        _, reader = await cast.start()
        await until_asked(cast["a"])
        cast["a"].answer("hello")
        await told_until(reader, "ended")
        assert len(cast.tickets()) == 1


async def test_both_are_left_by_a_turn_that_is_cancelled() -> None:
    async with company(2, hedge=hedge()) as cast:
        await cast.start()
        await until_asked(cast["b"])
        record = await cast.link.cancel(cast.key)
        assert [c.endpoint for c in record.charges] == ["a", "b"]
        assert sorted(cast.tickets()) == [("a", "left"), ("b", "left")]


async def test_a_cancellation_finds_one_that_spoke_and_one_that_is_being_left() -> None:
    async with company(2, hedge=hedge()) as cast:
        await cast.start()
        await until_asked(cast["b"])
        cast["a"].lets_go.clear()
        cast["b"].say("hello")
        await until(cast["b"].said.empty, "`b` has spoken")
        record = await cast.link.cancel(cast.key)
        assert record.text == ""
        assert [c.endpoint for c in record.charges] == ["a", "b"]
        assert cast.tickets() == [("a", "left"), ("b", "left")]
        assert cast["b"].open == 0, "its stream is closed with the turn"
        cast["a"].lets_go.set()
        await until(lambda: cast["a"].open == 0, "the other one is closed as well")


async def test_both_are_left_at_once_however_long_their_streams_take_to_close() -> None:
    async with company(2, hedge=hedge()) as cast:
        await cast.start()
        await until_asked(cast["b"])
        for voice in (cast["a"], cast["b"]):
            voice.lets_go.clear()
        cancelled = spawn(cast.link.cancel(cast.key), name="cancelled")
        gone = {("a", "left"), ("b", "left")}
        await until(lambda: set(cast.tickets()) == gone, "both places are free")
        # A second cancellation, while they still close.
        await cast.runtime.depose([cast.key])
        for voice in (cast["a"], cast["b"]):
            voice.lets_go.set()
        await asyncio.wait([cancelled])
        await until(lambda: cast["a"].open + cast["b"].open == 0, "both streams are closed")
        assert set(cast.tickets()) == gone
