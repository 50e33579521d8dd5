"""Conversations go when their time is over: from Postgres, from Redis and from memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from actors.runtime import HostRuntime
from context.memory import ContextMemory
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errands import Outcome, Schedule
from contracts.errors import HostUnavailable, NotFound
from contracts.ids import RESPONSE, SCHEDULE, SESSION, new_id
from errands.janitor import DAY_S, Janitor, Keeping
from gateway.link import Link
from tests.errands.clock import Clock
from tests.support.runtime import OneHost, ScriptedAgent, make_link, make_runtime
from tests.support.stores import PostgresServer
from tests.support.waiting import until

ORG, OTHER = "org_default", "org_other"
KEEPING = Keeping(30, {OTHER: None})
PER_SECOND = 5.0
_gateways = itertools.count(1)


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent()


@pytest.fixture
async def runtime(memory: ContextMemory, agent: ScriptedAgent) -> AsyncIterator[HostRuntime]:
    runtime = make_runtime(memory, {"echo": agent})  # type: ignore[arg-type]
    yield runtime
    await runtime.close()


@pytest.fixture
async def link(runtime: HostRuntime) -> AsyncIterator[Link]:
    link = make_link(OneHost(runtime), f"gw_janitor_{next(_gateways)}")
    yield link
    await link.close()


class Pauses:
    """Notes pauses instead of making them."""

    def __init__(self) -> None:
        self.made: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.made.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def other(database: asyncpg.Connection) -> str:
    await database.execute(
        "INSERT INTO organizations (id, name) VALUES ($1, 'other') ON CONFLICT DO NOTHING", OTHER
    )
    return OTHER


def janitor_of(
    memory: ContextMemory, link: Any, clock: Clock, pauses: Pauses, keeping: Keeping = KEEPING,
    name: str = "one",
) -> Janitor:  # fmt: skip
    return Janitor(
        name,
        memory.archive,
        memory.outbox,
        memory.timetable,
        link,
        keeping,
        per_second=PER_SECOND,
        lease_s=600,
        clock=clock,
        pause=pauses,
    )


async def conversation(memory: ContextMemory, link: Link, org: str = ORG) -> SessionKey:
    key = SessionKey(org, new_id(SESSION))
    await memory.records.create_session(key)
    await link.add_items(key, (InputItem("user", "hello"),))
    return key


def turn(text: str = "hi") -> TurnRequest:
    return TurnRequest(new_id(RESPONSE), "echo", (InputItem("user", text),), background=True)


async def over(database: asyncpg.Connection) -> None:
    """Wait until the turn has ended."""

    async def ended() -> bool:
        return await database.fetchval("SELECT status FROM responses") == "completed"

    await until(ended, "the turn is over")


async def rows(database: asyncpg.Connection) -> dict[str, int]:
    return {
        table: await database.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("sessions", "messages", "responses", "schedules", "outbox")
    }


async def test_what_is_old_goes_from_everywhere(
    memory: ContextMemory, link: Link, agent: ScriptedAgent, runtime: HostRuntime, pauses: Pauses,
    database: asyncpg.Connection, servers: tuple[PostgresServer, str, str],
) -> None:  # fmt: skip
    key = await conversation(memory, link)
    agent.answer("hello")
    await link.submit(key, turn())
    await over(database)
    schedule = Schedule(key, new_id(SCHEDULE), 0.0, turn(), cron="* * * * *", due_at=9e9)
    await memory.timetable.add(schedule, in_session=9, in_organization=9)
    await memory.hot_copies_written()
    cache = redis.asyncio.Redis.from_url(servers[2])
    assert [name async for name in cache.scan_iter(f"*{key.session_id}*")] != []
    assert min((await rows(database)).values()) > 0
    clock = Clock(time.time() + 29 * DAY_S)
    await janitor_of(memory, link, clock, pauses).round()
    assert (await rows(database))["sessions"] == 1
    clock.now += 2 * DAY_S
    await janitor_of(memory, link, clock, pauses, name="one").round()
    assert set((await rows(database)).values()) == {0}
    await memory.hot_copies_written()
    assert [name async for name in cache.scan_iter(f"*{key.session_id}*")] == []
    await cache.aclose()
    assert runtime.load() == 0
    with pytest.raises(NotFound):
        await link.submit(key, turn())


async def test_each_organization_has_its_own_time(
    memory: ContextMemory, link: Link, pauses: Pauses, other: str
) -> None:
    mine = await conversation(memory, link)
    theirs = await conversation(memory, link, other)
    clock = Clock(time.time() + 31 * DAY_S)
    await janitor_of(memory, link, clock, pauses).round()
    with pytest.raises(NotFound):
        await memory.records.session(mine)
    assert (await memory.records.session(theirs)).key == theirs
    await janitor_of(memory, link, clock, pauses, Keeping(None, {other: 40})).round()
    assert (await memory.records.session(theirs)).key == theirs
    await janitor_of(memory, link, clock, pauses, Keeping(None, {other: 30})).round()
    with pytest.raises(NotFound):
        await memory.records.session(theirs)


async def test_without_a_word_nothing_goes(
    memory: ContextMemory, link: Link, pauses: Pauses, database: asyncpg.Connection
) -> None:
    await conversation(memory, link)
    clock = Clock(time.time() + 10_000 * DAY_S)
    await janitor_of(memory, link, clock, pauses, Keeping(None)).round()
    assert (await rows(database))["sessions"] == 1


async def test_an_old_conversation_that_is_used_stays(
    memory: ContextMemory, link: Link, agent: ScriptedAgent, pauses: Pauses
) -> None:
    """Of what was found to be old, some is used again before its turn to go has come."""
    running, spoken = await conversation(memory, link), await conversation(memory, link)
    found_old = time.time() + 0.01
    await until(lambda: time.time() > found_old, "what was said is a moment ago")
    expired = memory.archive.expired

    async def and_then(*args: Any, **options: Any) -> Any:
        page = await expired(*args, **options)
        assert set(page.keys) == {running, spoken}
        await link.submit(running, turn())
        await link.add_items(spoken, (InputItem("user", "I am back"),))
        return page

    memory.archive.expired = and_then  # type: ignore[method-assign]
    await janitor_of(memory, link, Clock(found_old + 30 * DAY_S), pauses).round()
    said, _ = await memory.records.items(spoken)
    assert [message.text for message in said] == ["I am back", "hello"]
    assert (await memory.records.session(running)).key == running
    await until(lambda: agent.open == 1, "the turn runs on")


async def test_it_goes_slowly_and_through_all_pages(
    memory: ContextMemory, link: Link, pauses: Pauses, database: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("errands.janitor.PAGE", 3)
    for _ in range(8):
        await memory.records.create_session(SessionKey(ORG, new_id(SESSION)))
    clock = Clock(time.time() + 31 * DAY_S)
    young = SessionKey(ORG, f"{SESSION}_{round(clock.now * 1000):012x}" + 20 * "0")
    await memory.records.create_session(young)
    await database.execute(
        "UPDATE sessions SET updated_at = $1 WHERE id = (SELECT min(id) FROM sessions)", clock.now
    )
    await janitor_of(memory, link, clock, pauses).round()
    assert (await rows(database))["sessions"] == 2
    assert pauses.made == [1 / PER_SECOND] * 7


async def test_one_janitor_works_at_a_time(
    memory: ContextMemory, link: Link, pauses: Pauses, database: asyncpg.Connection
) -> None:
    clock = Clock(time.time() + 31 * DAY_S)
    await janitor_of(memory, link, clock, pauses, name="first").round()
    await conversation(memory, link)
    second = janitor_of(memory, link, clock, pauses, name="second")
    await second.round()
    assert (await rows(database))["sessions"] == 1
    clock.now += 601
    await second.round()
    assert (await rows(database))["sessions"] == 0
    await conversation(memory, link)
    clock.now += 1
    await second.round()
    assert (await rows(database))["sessions"] == 0, "its own lease is in nobody's way"


async def test_hosts_that_are_away_stop_it_until_the_next_time(
    memory: ContextMemory, pauses: Pauses, database: asyncpg.Connection
) -> None:
    class Away:
        calls = 0

        async def drop(self, key: SessionKey, *, unused_since: float | None = None) -> None:
            self.calls += 1
            raise HostUnavailable("Away.")

    for _ in range(3):
        await memory.records.create_session(SessionKey(ORG, new_id(SESSION)))
    away = Away()
    with pytest.raises(HostUnavailable):
        await janitor_of(memory, away, Clock(time.time() + 31 * DAY_S), pauses).round()
    assert away.calls == 1
    assert (await rows(database))["sessions"] == 3


async def test_what_errands_leave_behind_goes_too(
    memory: ContextMemory, link: Link, agent: ScriptedAgent, pauses: Pauses,
    database: asyncpg.Connection,
) -> None:  # fmt: skip
    key = await conversation(memory, link)
    agent.answer("hello")
    await link.submit(key, turn())
    await over(database)
    schedule = Schedule(key, new_id(SCHEDULE), 0.0, turn(), at=1.0, due_at=1.0)
    await memory.timetable.add(schedule, in_session=9, in_organization=9)
    await memory.timetable.settle(schedule, Outcome(time.time(), "ran"), None, 0)
    clock = Clock(time.time() + 8 * DAY_S)
    await janitor_of(memory, link, clock, pauses, Keeping(None)).round()
    assert [(await rows(database))[table] for table in ("outbox", "schedules")] == [0, 1]
    clock.now += 23 * DAY_S
    await janitor_of(memory, link, clock, pauses, Keeping(None)).round()
    assert [(await rows(database))[table] for table in ("outbox", "schedules")] == [0, 0]


async def test_sums_of_days_long_past_are_forgotten(
    memory: ContextMemory, link: Link, pauses: Pauses, database: asyncpg.Connection
) -> None:
    now = time.time()
    await database.execute("TRUNCATE spending")
    await database.execute(
        "INSERT INTO spending SELECT $1, 'user-' || n,"
        " (to_timestamp($2 - d * 86400) AT TIME ZONE 'UTC')::date, 1, 1"
        " FROM generate_series(1, 150) AS n, (VALUES (0), (400), (402)) AS days (d)",
        ORG,
        now,
    )
    await janitor_of(memory, link, Clock(now), pauses, Keeping(None)).round()
    left = await database.fetch("SELECT day, count(*) FROM spending GROUP BY day ORDER BY day")
    assert [row["count"] for row in left] == [150, 150]
    assert pauses.made
