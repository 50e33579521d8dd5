"""Tenants are walls: nothing of one organization answers to another."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from context.memory import ContextMemory
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errands import Schedule
from contracts.errors import NotFound
from contracts.events import Cursor
from contracts.ids import SCHEDULE, new_id
from contracts.memory import Summary
from tests.context.activation import Activation, Turn, new_key, new_record

OTHER = "org_other"
TABLES = ("organizations", "users", "sessions", "messages", "responses", "summaries")


@dataclass
class House:
    """A session of `org_default`, and its key as another organization would write it."""

    memory: ContextMemory
    host: Activation
    turn: Turn
    waiting: Turn
    item_id: str
    schedule_id: str

    @property
    def key(self) -> SessionKey:
        return SessionKey(OTHER, self.host.key.session_id)

    @property
    def epoch(self) -> int:
        return self.host.epoch


@pytest.fixture
async def house(database: str, memory: ContextMemory) -> AsyncIterator[House]:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO organizations (id, name) VALUES ($1, 'Other') ON CONFLICT DO NOTHING", OTHER
    )
    await connection.close()
    key = new_key()
    await memory.records.create_session(key, user="ann", items=[InputItem("user", "secret")])
    host = await Activation.of(memory, key)
    turn = await host.turn("question", "answer")
    waiting = await host.accept("next", client_id="mine")
    schedule = new_schedule(key)
    await memory.timetable.add(schedule, in_session=9, in_organization=99)
    yield House(memory, host, turn, waiting, turn.input[0].id, schedule.id)


def new_schedule(key: SessionKey) -> Schedule:
    turn = TurnRequest("", "gpt", (InputItem("user", "secret"),))
    return Schedule(key, new_id(SCHEDULE), 1.0, turn, at=9e9, due_at=9e9)


def foreign_end(h: House) -> Awaitable[object]:
    h.host.start(h.waiting)
    h.host.say(h.waiting, "stolen")
    answer = h.host.end(h.waiting)
    return h.memory.finish(h.key, h.epoch, 99, h.waiting.record, answer, [])


CALLS: dict[str, Callable[[House], Awaitable[object]]] = {
    "activate": lambda h: h.memory.activate(h.key),
    "accept": lambda h: h.memory.accept(
        h.key, h.epoch, 9, new_record(h.key.session_id), [h.host.message("x")]
    ),
    "finish": foreign_end,
    "add_items": lambda h: h.memory.add_items(h.key, h.epoch, 9, [h.host.message("x")], []),
    "delete_item": lambda h: h.memory.delete_item(h.key, h.epoch, h.item_id, []),
    "update_metadata": lambda h: h.memory.update_metadata(h.key, h.epoch, {"a": "b"}),
    "keep_summary": lambda h: h.memory.keep_summary(
        h.key, h.epoch, Summary("stolen", 1), "gpt", None
    ),
    "drop": lambda h: h.memory.drop(h.key, h.epoch),
    "memory.response": lambda h: h.memory.response(OTHER, h.turn.record.id),
    "events_since": lambda h: h.memory.events_since(h.key, Cursor(h.epoch, 0), 100),
    "session": lambda h: h.memory.records.session(h.key),
    "items": lambda h: h.memory.records.items(h.key),
    "items after": lambda h: h.memory.records.items(h.key, after=h.item_id),
    "item": lambda h: h.memory.records.item(h.key, h.item_id),
    "response": lambda h: h.memory.records.response(OTHER, h.turn.record.id),
    "input_items": lambda h: h.memory.records.input_items(OTHER, h.turn.record.id),
    "continuation": lambda h: h.memory.records.continuation(OTHER, h.turn.record.id),
    "fork": lambda h: h.memory.records.fork(OTHER, h.turn.record.id),
    "fork_at": lambda h: h.memory.records.fork_at(h.key, h.item_id),
    "schedule": lambda h: h.memory.timetable.add(
        new_schedule(h.key), in_session=9, in_organization=9
    ),
    "schedules": lambda h: h.memory.timetable.all_of(h.key, after=None, limit=9, ascending=True),
    "one schedule": lambda h: h.memory.timetable.one(h.key, h.schedule_id),
    "remove a schedule": lambda h: h.memory.timetable.remove(h.key, h.schedule_id),
    "latest_response_id": lambda h: h.memory.records.latest_response_id(h.key),
    "create in no organization": lambda h: h.memory.records.create_session(new_key("org_none")),
    "create for nobody": lambda h: h.memory.records.create_session(
        new_key("org_none"), user="ann", items=[InputItem("user", "x")]
    ),
    "ensure_user": lambda h: h.memory.records.ensure_user("org_none", "ann"),
}


TABLES = ("organizations", "users", "sessions", "messages", "responses", "schedules", "outbox")


async def everything(database: str) -> dict[str, list[tuple[object, ...]]]:
    connection = await asyncpg.connect(database)
    try:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            for table in TABLES
        }
    finally:
        await connection.close()


@pytest.mark.parametrize("name", CALLS)
async def test_another_organization_finds_nothing_and_changes_nothing(
    database: str, house: House, name: str
) -> None:
    before = await everything(database)
    with pytest.raises(NotFound):
        await CALLS[name](house)
    assert await everything(database) == before


async def test_lists_hold_ones_own(house: House) -> None:
    records = house.memory.records
    assert await records.sessions(OTHER) == ([], False)
    assert await records.sessions(OTHER, after=house.host.key.session_id) == ([], False)
    assert await records.sessions(OTHER, user="ann") == ([], False)
    assert house.host.key in [row.key for row in (await records.sessions("org_default"))[0]]


async def test_one_name_is_two_people_in_two_organizations(house: House) -> None:
    records = house.memory.records
    assert await records.ensure_user(OTHER, "ann") != await records.ensure_user(
        "org_default", "ann"
    )


async def test_one_id_may_be_two_sessions(house: House) -> None:
    memory = house.memory
    await memory.records.create_session(house.key, metadata={"whose": "theirs"})
    theirs = await Activation.of(memory, house.key)
    # The same client and response ids as the neighbour's, too.
    await theirs.turn("ours", "too", client_id="mine", id=house.turn.record.id)
    await memory.hot_copies_written()
    assert [m.text for m in (await memory.activate(house.key)).messages] == ["ours", "too"]
    mine, _ = await memory.records.items(house.host.key, ascending=True)
    assert [m.text for m in mine] == ["secret", "question", "answer", "next"]
    assert (await memory.response("org_default", house.turn.record.id)).text == "answer"
    theirs = await Activation.of(memory, house.key)
    await memory.drop(house.key, theirs.epoch)
    assert (await memory.response("org_default", house.turn.record.id)).text == "answer"


def test_every_table_and_key_carries_the_organization() -> None:
    folder = Path(__file__).resolve().parents[2] / "context" / "migrations"
    sql = "\n".join(path.read_text() for path in sorted(folder.glob("*.sql")))
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", sql, re.DOTALL)
    assert {name for name, _ in tables} >= {"users", "sessions", "messages", "responses"}
    for name, columns in tables:
        if name in ("organizations", "leases", "policies", "counted"):
            continue
        assert re.search(r"org_id text COLLATE \"C\" NOT NULL", columns), name
        for key in re.findall(r"(?:PRIMARY KEY|UNIQUE) \((.*?)\)", columns):
            assert "org_id" in key, name
    for index in re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON \w+ \((.*?)\)", sql):
        assert "org_id" in index or index == "revision"
