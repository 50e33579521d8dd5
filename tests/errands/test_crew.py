"""Everybody together, in rounds; and the settings that tell them what to do."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest

from config.load import load
from config.orders import orders
from context.memory import ContextMemory
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errands import Schedule
from contracts.errors import StoreUnavailable
from contracts.ids import SCHEDULE, SESSION, new_id
from errands.courier import Endpoint
from errands.crew import Crew, Orders
from errands.janitor import DAY_S, Keeping
from errands.rounds import Rounds
from errands.signing import key_of
from gateway.link import Link
from tests.errands.receiver import SECRET, Receiver
from tests.support.runtime import OneHost, ScriptedAgent, make_link, make_runtime
from tests.support.waiting import until

_gateways = itertools.count(1)


@pytest.fixture
async def link(memory: ContextMemory) -> AsyncIterator[Link]:
    agent = ScriptedAgent()
    for _ in range(20):
        agent.answer("Good morning.")
    runtime = make_runtime(memory, {"echo": agent})  # type: ignore[arg-type]
    link = make_link(OneHost(runtime), f"gw_crew_{next(_gateways)}")
    yield link
    await link.close()
    await runtime.close()


async def test_a_crew_does_all_errands(
    memory: ContextMemory, link: Link, receiver: Receiver, database: asyncpg.Connection
) -> None:
    """A schedule's turn begins, its end is told, and a conversation whose time is over goes."""
    now = time.time()
    key, old = SessionKey("org_default", new_id(SESSION)), SessionKey("org_default", "conv_0")
    for one in (key, old):
        await memory.records.create_session(one)
    await database.execute("UPDATE sessions SET updated_at = 0 WHERE id = $1", old.session_id)
    turn = TurnRequest("", "echo", (InputItem("user", "Wake up."),))
    schedule = Schedule(key, new_id(SCHEDULE), now, turn, at=now - 1, due_at=now - 1)
    await memory.timetable.add(schedule, in_session=1, in_organization=1)
    orders = Orders(
        endpoints=(Endpoint("shop", receiver.url, key_of(SECRET)),),
        private=True,
        webhooks_poll_s=0.01,
        schedules_poll_s=0.01,
        sweep_s=0.05,
        keeping=Keeping(30),
    )
    crew = Crew(
        "gw_1", orders, outbox=memory.outbox, timetable=memory.timetable, archive=memory.archive,
        sessions=link,
    )  # fmt: skip
    crew.start()
    try:
        await until(lambda: len(receiver.got) == 1, "the end is told")

        async def gone() -> bool:
            return await database.fetchval("SELECT count(*) FROM sessions") == 1

        await until(gone, "the old conversation is gone")
    finally:
        await crew.close()
    kept = await memory.timetable.one(key, schedule.id)
    assert kept.last is not None
    assert json.loads(receiver.got[0].body)["data"]["id"] == kept.last.response_id
    await crew.close()


async def test_a_round_that_fails_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    faults: list[Exception | None] = [StoreUnavailable("Away."), RuntimeError("a bug"), None]
    done = asyncio.Event()

    async def work() -> bool:
        if not faults:
            done.set()
            return False
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return True

    rounds = Rounds("test", work, 0.001, Random(1))
    rounds.start()
    rounds.start()
    await done.wait()
    await rounds.close()
    said = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "troupe.errands"
    ]
    assert said == [("WARNING", "test: Away."), ("ERROR", "test: a round failed")]
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "test"]


def test_settings_become_orders() -> None:
    endpoint = '[{"name": "shop", "url": "http://127.0.0.1:9/", "secret_env": "S"}]'
    given = orders(
        load(
            {
                "TROUPE_WEBHOOKS__ENDPOINTS": endpoint,
                "S": SECRET,
                "TROUPE_WEBHOOKS__ATTEMPTS": "3",
                "TROUPE_SCHEDULES__LATE_S": "60",
                "TROUPE_RETENTION__DEFAULT_DAYS": "30",
                "TROUPE_RETENTION__ORGANIZATIONS": '{"org_a": null}',
            }
        )
    )
    assert given.endpoints == (Endpoint("shop", "http://127.0.0.1:9/", key_of(SECRET)),)
    assert SECRET.removeprefix("whsec_") not in repr(given)
    assert repr(key_of(SECRET)) not in repr(given)
    assert (given.patience.attempts, given.late_s, given.private) == (3, 60, True)
    assert [given.keeping.days(org) for org in ("org_a", "org_b")] == [None, 30]
    assert given.keeping.outbox_days * DAY_S == 7 * DAY_S
