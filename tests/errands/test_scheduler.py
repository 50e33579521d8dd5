"""Schedules begin turns in real sessions: each due time once, whoever dies in between."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from actors.runtime import HostRuntime
from context.memory import ContextMemory
from contracts.commands import Accepted, InputItem, SessionKey, TurnRequest
from contracts.errands import Outcome, Schedule
from contracts.errors import Busy, Conflict, HostUnavailable, NotFound, TroupeError, UnknownModel
from contracts.ids import SCHEDULE, SESSION, new_id
from errands.scheduler import Scheduler
from gateway.link import Link
from tests.errands.clock import Clock
from tests.support.runtime import OneHost, ScriptedAgent, make_link, make_runtime

LATE_S, RETRY_S, LEASE_S = 3600.0, 10.0, 45.0
ORG = "org_default"
START = datetime.fromisoformat("2026-11-24T12:00:00+00:00").timestamp()
_gateways = itertools.count(1)


class Way:
    """The way to sessions, which a test may break: before a turn is taken, or after."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.before: TroupeError | None = None
        self.after: BaseException | None = None
        self.unheard = False
        self.asked: list[TurnRequest] = []

    async def submit(self, key: SessionKey, turn: TurnRequest) -> Accepted | None:
        self.asked.append(turn)
        if self.before is not None:
            raise self.before
        accepted = await self.link.submit(key, turn)
        if self.after is not None:
            raise self.after
        return None if self.unheard else accepted

    async def drop(self, key: SessionKey, *, unused_since: float | None = None) -> None:
        await self.link.drop(key, unused_since=unused_since)


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def agent() -> ScriptedAgent:
    agent = ScriptedAgent()
    for _ in range(20):
        agent.answer("Good morning.")
    return agent


@pytest.fixture
async def runtime(memory: ContextMemory, agent: ScriptedAgent) -> AsyncIterator[HostRuntime]:
    runtime = make_runtime(memory, {"echo": agent})  # type: ignore[arg-type]
    yield runtime
    await runtime.close()


@pytest.fixture
async def ways(runtime: HostRuntime) -> AsyncIterator[tuple[Way, Way]]:
    """Two gateways' ways to one host."""
    async with AsyncExitStack() as stack:
        links: list[Way] = []
        for _ in range(2):
            link = make_link(OneHost(runtime), f"gw_errands_{next(_gateways)}")
            stack.push_async_callback(link.close)
            links.append(Way(link))
        yield links[0], links[1]


def scheduler_of(memory: ContextMemory, way: Way, clock: Clock, limit: int = 32) -> Scheduler:
    return Scheduler(
        memory.timetable,
        way,
        late_s=LATE_S,
        retry_s=RETRY_S,
        lease_s=LEASE_S,
        limit=limit,
        clock=clock,
    )


async def new_schedule(memory: ContextMemory, **fields: Any) -> Schedule:
    """One that is kept: in a session of its own, unless told otherwise."""
    key = fields.pop("key", None)
    if key is None:
        key = SessionKey(ORG, new_id(SESSION))
        await memory.records.create_session(key)
    turn = TurnRequest("", "echo", (InputItem("user", "Wake up."),), metadata={"who": "clock"})
    given = {"due_at": START, "turn": turn, "created_at": time.time(), **fields}
    schedule = Schedule(key=key, id=new_id(SCHEDULE), **given)
    await memory.timetable.add(schedule, in_session=5, in_organization=50)
    return schedule


async def kept(memory: ContextMemory, schedule: Schedule) -> Schedule:
    return await memory.timetable.one(schedule.key, schedule.id)


async def turns(database: asyncpg.Connection, schedule: Schedule) -> list[str]:
    rows = await database.fetch(
        "SELECT client_id FROM responses WHERE session_id = $1 ORDER BY turn",
        schedule.key.session_id,
    )
    return [row["client_id"] for row in rows]


def name(schedule: Schedule, due_at: float) -> str:
    return f"schedule:{schedule.id}:{due_at:.0f}"


async def test_a_moment_comes_once(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, at=START)
    assert schedule == await kept(memory, schedule)
    scheduler = scheduler_of(memory, ways[0], clock)
    clock.now = START - 0.1
    await scheduler.round()
    assert await turns(database, schedule) == []
    clock.now = START
    await scheduler.round()
    after = await kept(memory, schedule)
    [record] = await database.fetch("SELECT * FROM responses")
    assert after == replace(schedule, due_at=None, last=Outcome(START, "ran", record["id"], None))
    assert record["client_id"] == name(schedule, START)
    assert record["background"]
    said = await database.fetchval("SELECT content FROM messages WHERE role = 'user'")
    assert said == "Wake up."
    clock.now += 10 * LATE_S
    await scheduler.round()
    assert len(await turns(database, schedule)) == 1


async def test_cron_comes_again_and_again(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, cron="*/5 * * * *")
    scheduler = scheduler_of(memory, ways[0], clock)
    for n in range(3):
        clock.now = START + n * 300 + 1.5
        await scheduler.round()
        await scheduler.round()
        assert (await kept(memory, schedule)).due_at == START + (n + 1) * 300
    assert await turns(database, schedule) == [name(schedule, START + n * 300) for n in range(3)]
    assert (await kept(memory, schedule)).skipped == 0


async def test_two_schedulers_begin_each_turn_once(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedules = [await new_schedule(memory, at=START) for _ in range(12)]

    async def work(scheduler: Scheduler) -> None:
        while await scheduler.round():
            pass

    await asyncio.gather(*(work(scheduler_of(memory, way, clock, 2)) for way in ways))
    for schedule in schedules:
        assert await turns(database, schedule) == [name(schedule, START)]
    assert len(ways[0].asked) + len(ways[1].asked) == len(schedules)


async def test_one_that_dies_before_it_submits_is_followed_by_another(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, at=START)
    claimed = await memory.timetable.claim(now=clock.now, lease_s=LEASE_S, limit=9)
    assert [one.id for one in claimed] == [schedule.id]
    scheduler = scheduler_of(memory, ways[0], clock)
    await scheduler.round()
    assert await turns(database, schedule) == []
    clock.now += LEASE_S
    await scheduler.round()
    assert await turns(database, schedule) == [name(schedule, START)]


async def test_one_that_dies_between_submitting_and_noting_it_has_done_it(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, cron="0 12 * * *")
    ways[0].after = RuntimeError("killed")
    with pytest.raises(RuntimeError, match="killed"):
        await scheduler_of(memory, ways[0], clock).round()
    [done] = await database.fetch("SELECT id FROM responses")
    assert (await kept(memory, schedule)).last is None
    clock.now += LEASE_S
    await scheduler_of(memory, ways[1], clock).round()
    assert len(ways[1].asked) == 1
    assert await turns(database, schedule) == [name(schedule, START)]
    after = await kept(memory, schedule)
    assert after.last == Outcome(START, "ran", done["id"], None)
    assert after.due_at == START + 86_400


async def test_a_turn_that_was_taken_unheard_has_begun(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, at=START)
    ways[0].unheard = True
    await scheduler_of(memory, ways[0], clock).round()
    [begun] = await database.fetch("SELECT id FROM responses")
    assert (await kept(memory, schedule)).last == Outcome(START, "ran", begun["id"], None)


async def test_who_is_late_notes_nothing_over_what_came_since(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock
) -> None:
    schedule = await new_schedule(memory, cron="* * * * *")
    [old] = await memory.timetable.claim(now=clock.now, lease_s=LEASE_S, limit=1)
    clock.now += LEASE_S
    await scheduler_of(memory, ways[0], clock).round()
    before = await kept(memory, schedule)
    await memory.timetable.settle(old, Outcome(START, "failed"), None, 7)
    await memory.timetable.postpone(old, START + 10**9)
    assert await kept(memory, schedule) == before
    clock.now += 60
    await scheduler_of(memory, ways[0], clock).round()
    assert len(ways[0].asked) == 2


async def test_times_missed_are_made_up_for_once_by_the_latest(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    often = await new_schedule(memory, cron="*/10 * * * *")
    once = await new_schedule(memory, at=START)
    clock.now = START + 3000
    await scheduler_of(memory, ways[0], clock).round()
    assert await turns(database, often) == [name(often, START + 3000)]
    assert await turns(database, once) == [name(once, START)]
    after = await kept(memory, often)
    assert (after.due_at, after.skipped) == (START + 3600, 5)
    assert (await kept(memory, once)).skipped == 0


async def test_what_is_too_late_is_skipped_and_that_is_noted(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    daily = await new_schedule(memory, cron="0 12 * * *")
    once = await new_schedule(memory, at=START)
    clock.now = START + 86_400 + LATE_S + 1
    await scheduler_of(memory, ways[0], clock).round()
    assert ways[0].asked == []
    after = await kept(memory, daily)
    assert (after.due_at, after.skipped) == (START + 2 * 86_400, 2)
    assert after.last is not None
    assert (after.last.kind, after.last.due_at) == ("skipped", START + 86_400)
    after = await kept(memory, once)
    assert (after.due_at, after.skipped) == (None, 1)
    assert after.last is not None and after.last.error is not None
    assert after.last.error["code"] == "too_late"


@pytest.mark.parametrize("error", [Busy("Full."), HostUnavailable("Away.")])
async def test_a_session_that_cannot_now_is_asked_again(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection,
    error: TroupeError,
) -> None:  # fmt: skip
    schedule = await new_schedule(memory, at=START)
    way = ways[0]
    way.before = error
    scheduler = scheduler_of(memory, way, clock)
    await scheduler.round()
    await scheduler.round()
    assert len(way.asked) == 1
    way.before = None
    clock.now += RETRY_S
    await scheduler.round()
    assert await turns(database, schedule) == [name(schedule, START)]


async def test_a_session_that_cannot_for_too_long_has_failed(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock
) -> None:
    schedule = await new_schedule(memory, at=START)
    ways[0].before = HostUnavailable("Away.")
    clock.now = START + LATE_S - 1
    await scheduler_of(memory, ways[0], clock).round()
    after = await kept(memory, schedule)
    assert after.last == Outcome(
        START, "failed", None, {"code": "host_unavailable", "message": "Away."}
    )
    assert after.due_at is None


@pytest.mark.parametrize("error", [UnknownModel("Who?"), Conflict("No.", code="turn_running")])
async def test_what_no_retry_mends_fails_and_the_next_time_comes(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, error: TroupeError
) -> None:
    schedule = await new_schedule(memory, cron="0 12 * * *")
    ways[0].before = error
    await scheduler_of(memory, ways[0], clock).round()
    after = await kept(memory, schedule)
    assert after.last is not None and after.last.kind == "failed"
    assert after.last.error == {"code": error.cause_code, "message": error.message}
    assert after.due_at == START + 86_400


async def test_a_zone_that_is_known_no_more_ends_a_schedule(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock
) -> None:
    schedule = await new_schedule(memory, cron="0 12 * * *", timezone="Mars/Olympus")
    await scheduler_of(memory, ways[0], clock).round()
    after = await kept(memory, schedule)
    assert after.due_at is None and after.last is not None
    assert after.last.kind == "failed"


async def test_a_schedule_without_its_conversation_goes(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedule = await new_schedule(memory, at=START)
    await database.execute("DELETE FROM sessions WHERE id = $1", schedule.key.session_id)
    await scheduler_of(memory, ways[0], clock).round()
    with pytest.raises(NotFound):
        await kept(memory, schedule)


async def test_one_that_fails_keeps_no_other_from_its_turn(
    memory: ContextMemory, ways: tuple[Way, Way], clock: Clock, database: asyncpg.Connection
) -> None:
    schedules = [await new_schedule(memory, at=START) for _ in range(3)]
    way = ways[0]
    inner = way.link.submit

    async def submit(key: SessionKey, turn: TurnRequest) -> Accepted:
        if key == schedules[0].key:
            raise RuntimeError("a bug")
        await asyncio.sleep(0)
        return await inner(key, turn)

    way.link.submit = submit  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        await scheduler_of(memory, way, clock).round()
    for schedule in schedules[1:]:
        assert await turns(database, schedule) == [name(schedule, START)]


async def test_no_more_are_kept_than_there_may_be(memory: ContextMemory) -> None:
    first = await new_schedule(memory, at=START)

    async def add() -> bool:
        try:
            await new_schedule(memory, key=first.key, at=START)
        except Conflict as error:
            assert error.cause_code == "too_many_schedules"
            return False
        return True

    # All at once: they count right all the same.
    assert sum(await asyncio.gather(*(add() for _ in range(9)))) == 4
    found, more = await memory.timetable.all_of(first.key, after=None, limit=9, ascending=True)
    assert (len(found), more) == (5, False)
    # What is over counts no more.
    await memory.timetable.settle(first, Outcome(START, "ran"), None, 0)
    await new_schedule(memory, key=first.key, at=START)


async def test_what_is_over_is_purged_after_a_while(memory: ContextMemory) -> None:
    over, waiting = await new_schedule(memory, at=START), await new_schedule(memory, at=START)
    await memory.timetable.settle(over, Outcome(START, "ran"), None, 0)
    assert await memory.timetable.purge(START, 9) == 0
    assert await memory.timetable.purge(START + 1, 9) == 1
    assert (await kept(memory, waiting)).due_at == START
