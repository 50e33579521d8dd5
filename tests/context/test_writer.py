"""Group commit: what shares a transaction, and what never reaches a neighbour."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest

from context import writes
from context.driver import Connection
from context.memory import ContextMemory
from context.postgres import Postgres
from context.writer import Writer, _reason  # pyright: ignore[reportPrivateUsage]
from contracts.commands import SessionKey
from contracts.errors import Conflict, Deposed, InvalidRequest, NotFound, StoreUnavailable
from tests.context.activation import Activation, new_key, new_record
from tests.context.conftest import Open
from tests.support.stores import PostgresServer
from tests.support.waiting import until


async def ask(url: str, query: str, *args: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query, *args)
    finally:
        await connection.close()


async def hosts(memory: ContextMemory, count: int) -> list[Activation]:
    return [await Activation.new(memory) for _ in range(count)]


async def transactions(url: str, sessions: list[Activation], table: str = "responses") -> int:
    ids = [host.key.session_id for host in sessions]
    [row] = await ask(
        url,
        f"SELECT count(DISTINCT xmin::text) FROM {table} WHERE session_id = ANY ($1::text[])",
        ids,
    )
    return int(row["count"])


async def test_writes_of_many_sessions_share_transactions(database: str, open_memory: Open) -> None:
    memory = await open_memory(gather_s=0.05)
    sessions = await hosts(memory, 40)
    turns = await asyncio.gather(*(host.accept("hello") for host in sessions))
    assert await transactions(database, sessions) <= 3
    assert await transactions(database, sessions, "messages") <= 3
    before = memory.counts["batches"]
    for host, turn in zip(sessions, turns, strict=True):
        host.start(turn)
        host.say(turn, "good", "bye")
    await asyncio.gather(*(h.finish(t) for h, t in zip(sessions, turns, strict=True)))
    assert memory.counts["batches"] - before <= 3
    assert memory.counts["writes"] == 80
    rows = await ask(database, "SELECT text FROM responses WHERE id = $1", turns[7].record.id)
    assert [tuple(row) for row in rows] == [("goodbye",)]


async def test_every_kind_of_write_shares_one_transaction(database: str, open_memory: Open) -> None:
    memory = await open_memory(gather_s=0.05)
    accepting, ending, adding, deleting, naming, dropping = await hosts(memory, 6)
    turn = await ending.accept("question")
    ending.start(turn)
    ending.say(turn, "answer")
    [item] = await deleting.add("to go")
    before = memory.counts["batches"]
    await asyncio.gather(
        accepting.accept("hello"),
        ending.finish(turn),
        adding.add("one", "two"),
        deleting.delete(item.id),
        memory.update_metadata(naming.key, naming.epoch, {"topic": "birds"}),
        memory.drop(dropping.key, dropping.epoch),
    )
    assert memory.counts["batches"] == before + 1
    assert (await memory.records.session(naming.key)).metadata == {"topic": "birds"}
    assert (await memory.records.items(deleting.key))[0] == []
    with pytest.raises(NotFound):
        await memory.records.session(dropping.key)
    keys = [h.key.session_id for h in (accepting, ending, adding, deleting, naming)]
    [row] = await ask(
        database,
        "SELECT count(DISTINCT xmin::text) FROM sessions WHERE id = ANY ($1::text[])",
        keys,
    )
    assert row["count"] == 1


async def test_one_session_twice_keeps_its_order(open_memory: Open) -> None:
    memory = await open_memory(gather_s=0.05)
    host = await Activation.new(memory)
    turn = await host.accept("first")
    host.start(turn)
    host.say(turn, "an", "swer")
    answer = host.end(turn)
    second = new_record(host.key.session_id, epoch=host.epoch)
    items = [host.message("second", second.id)]
    finishing = memory.finish(
        host.key, host.epoch, turn.record.last_seq, turn.record, answer, host.messages
    )
    accepting = memory.accept(host.key, host.epoch, host.seq, second, items)
    more = [host.message(f"more {n}", None, n) for n in (2, 3)]
    await asyncio.gather(
        finishing,
        accepting,
        memory.add_items(host.key, host.epoch, host.seq + 1, more[:1], []),
        memory.add_items(host.key, host.epoch, host.seq + 2, more[1:], []),
    )
    said, _ = await memory.records.items(host.key, limit=10, ascending=True)
    assert [m.text for m in said] == ["first", "answer", "second", "more 2", "more 3"]
    state = await memory.activate(host.key)
    assert state.position == host.position + 3


@pytest.mark.parametrize("same", ["client_id", "id"])
async def test_an_id_used_before_is_refused_without_a_trace(
    database: str, open_memory: Open, same: str
) -> None:
    memory = await open_memory(gather_s=0.05)
    host, other = await hosts(memory, 2)
    first = await host.turn("hello", "hi", client_id="mine")
    before = await ask(database, "SELECT * FROM sessions WHERE id = $1", host.key.session_id)
    fields = {same: getattr(first.record, same)}
    refused, _ = await asyncio.gather(
        host.accept("again", **fields), other.accept("meanwhile"), return_exceptions=True
    )
    assert isinstance(refused, Conflict)
    assert refused.cause_code == "duplicate_id"
    assert refused.details == {"response_id": first.record.id}
    after = await ask(database, "SELECT * FROM sessions WHERE id = $1", host.key.session_id)
    assert [dict(row) for row in after] == [dict(row) for row in before]
    assert len((await memory.records.items(host.key))[0]) == 2
    assert len((await memory.records.items(other.key))[0]) == 1


async def test_a_client_id_is_one_sessions_own(memory: ContextMemory) -> None:
    host, other = await hosts(memory, 2)
    await host.accept("hello", client_id="mine")
    await other.accept("hello", client_id="mine")
    assert len((await memory.records.items(other.key))[0]) == 1


async def test_two_of_one_id_at_once_leave_one(open_memory: Open) -> None:
    memory = await open_memory(gather_s=0.05)
    host, other = await hosts(memory, 2)
    record = new_record(host.key.session_id)
    stranger = new_record(other.key.session_id, id=record.id)
    results = await asyncio.gather(
        memory.accept(host.key, host.epoch, 0, record, [host.message("one")]),
        memory.accept(other.key, other.epoch, 0, stranger, [other.message("two")]),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "NoneType"]
    said = [len((await memory.records.items(it.key))[0]) for it in (host, other)]
    assert sorted(said) == [0, 1]


async def test_a_poisoned_write_fails_alone(
    open_memory: Open, caplog: pytest.LogCaptureFixture
) -> None:
    memory = await open_memory(gather_s=0.05)
    good, bad, ugly, late = await hosts(memory, 4)
    with caplog.at_level(logging.INFO):
        results = await asyncio.gather(
            good.accept("fine"),
            bad.accept("nul \x00 in it"),
            ugly.accept("in metadata", metadata={"key": "\x00"}),
            memory.update_metadata(late.key, late.epoch, {"topic": "fine"}),
            return_exceptions=True,
        )
    assert "4 writes are tried one by one" in caplog.text
    assert [type(result).__name__ for result in results] == [
        "Turn",
        "InvalidRequest",
        "InvalidRequest",
        "NoneType",
    ]
    assert isinstance(results[1], InvalidRequest)
    assert results[1].cause_code == "invalid_data"
    assert len((await memory.records.items(good.key))[0]) == 1
    assert (await memory.records.session(late.key)).metadata == {"topic": "fine"}
    for host in (bad, ugly):
        assert (await memory.records.items(host.key))[0] == []
        assert (await memory.activate(host.key)).position == 0
    await good.add("and goes on")


async def test_what_is_no_text_at_all_fails_its_maker_before_anybody_hears_of_it(
    memory: ContextMemory,
) -> None:
    host = await Activation.new(memory)
    for bad in ({"x": "\ud800"}, {"x": 2**70}):
        with pytest.raises(InvalidRequest):
            await memory.update_metadata(host.key, host.epoch, bad)  # type: ignore[arg-type]
    assert memory.counts["batches"] == 0


async def test_a_deposed_activation_is_refused_in_every_way(open_memory: Open) -> None:
    memory = await open_memory(gather_s=0.05)
    old = await Activation.new(memory)
    turn = await old.turn("question", "answer")
    new = await Activation.of(memory, old.key)
    neighbour = await Activation.new(memory)
    results = await asyncio.gather(
        old.accept("too late"),
        memory.finish(old.key, old.epoch, 9, turn.record, None, []),
        memory.add_items(old.key, old.epoch, 9, [old.message("x")], []),
        memory.delete_item(old.key, old.epoch, turn.input[0].id, []),
        memory.update_metadata(old.key, old.epoch, {"a": "b"}),
        memory.drop(old.key, old.epoch),
        neighbour.add("unharmed"),
        return_exceptions=True,
    )
    assert [type(result) for result in results[:-1]] == [Deposed] * 6
    assert isinstance(results[-1], list)
    said, _ = await memory.records.items(old.key)
    assert len(said) == 2
    await new.accept("goes on")


async def test_a_session_that_is_gone_is_not_found(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    await memory.drop(host.key, host.epoch)
    with pytest.raises(NotFound):
        await host.accept("anybody?")
    with pytest.raises(NotFound):
        await memory.drop(host.key, host.epoch)


async def test_an_end_may_be_told_twice_but_not_made_up(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("question")
    host.start(turn)
    host.say(turn, "answer")
    answer = host.end(turn)
    end = (host.key, host.epoch, turn.record.last_seq, turn.record, answer, host.messages)
    await memory.finish(*end)
    await memory.finish(*end)
    assert len((await memory.records.items(host.key))[0]) == 2
    other_end = turn.record.snapshot()
    other_end.last_seq += 1
    with pytest.raises(NotFound):
        await memory.finish(host.key, host.epoch, other_end.last_seq, other_end, None, [])
    unheard = new_record(host.key.session_id, status="completed")
    with pytest.raises(NotFound):
        await memory.finish(host.key, host.epoch, 99, unheard, None, [])
    assert (await memory.activate(host.key)).seq == turn.record.last_seq


async def test_an_activation_that_missed_a_write_of_its_own_is_deposed(
    memory: ContextMemory,
) -> None:
    host = await Activation.new(memory)
    lost = new_record(host.key.session_id)
    # Its answer never arrives, so the activation still believes that the place is free.
    await memory.accept(host.key, host.epoch, host.seq, lost, [host.message("lost")])
    with pytest.raises(Deposed):
        await host.accept("next")
    with pytest.raises(Deposed):
        await host.add("next")
    after = await Activation.of(memory, host.key)
    assert [m.text for m in after.messages] == ["lost"]
    assert [turn.record.id for turn in after.turns] == [lost.id]
    await after.accept("next")


async def test_a_waiter_that_gives_up_leaves_the_batch_alone(
    database: str, open_memory: Open
) -> None:
    memory = await open_memory(gather_s=0.05)
    sessions = await hosts(memory, 6)
    tasks = [asyncio.ensure_future(host.accept("hello")) for host in sessions]
    await asyncio.sleep(0)
    tasks[0].cancel()
    done = await asyncio.gather(*tasks[1:5])
    tasks[5].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(done) == 4
    said = [len((await memory.records.items(host.key))[0]) for host in sessions]
    assert said[:5] == [0, 1, 1, 1, 1]


async def locked(url: str, key: SessionKey) -> asyncpg.Connection:
    """A connection that holds the session's row."""
    connection = await asyncpg.connect(url)
    await connection.execute("BEGIN")
    await connection.execute("SELECT FROM sessions WHERE id = $1 FOR UPDATE", key.session_id)
    return connection


async def writer_is_waiting(url: str) -> int:
    """The pid of the writer's backend, once it waits for a lock."""
    # Its own connection: within a transaction the view would stay as it was first seen.
    connection = await asyncpg.connect(url)
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'troupe-writer'"
        " AND datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def waiting() -> bool:
        return await connection.fetchval(query) is not None

    try:
        await until(waiting, "the writer waits for a lock")
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_a_connection_that_breaks_in_a_commit_leaves_it_open_and_the_next_one_works(
    database: str, open_memory: Open
) -> None:
    memory = await open_memory(gather_s=0.02)
    sessions = await hosts(memory, 3)
    holder = await locked(database, sessions[0].key)
    try:
        tasks = [asyncio.ensure_future(host.accept("hello")) for host in sessions]
        pid = await writer_is_waiting(database)
        await holder.execute("SELECT pg_terminate_backend($1)", pid)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await holder.close()
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    for error in results:
        assert isinstance(error, StoreUnavailable)
        assert error.details == {"written": "unknown"}
        assert error.retry_after
    assert len({id(error) for error in results}) == 3
    await sessions[1].accept("hello again")


async def test_a_statement_that_takes_too_long_is_given_up(
    database: str, open_memory: Open
) -> None:
    memory = await open_memory(postgres_timeout_s=1.0)
    host = await Activation.new(memory)
    holder = await locked(database, host.key)
    try:
        with pytest.raises(StoreUnavailable) as given_up:
            await host.accept("hello")
    finally:
        await holder.close()
    assert given_up.value.details == {"written": "unknown"}
    await (await Activation.of(memory, host.key)).accept("hello")


async def test_a_deadlock_is_tried_again(
    database: str, open_memory: Open, caplog: pytest.LogCaptureFixture
) -> None:
    memory = await open_memory(gather_s=0.05)
    sessions = sorted(await hosts(memory, 2), key=lambda host: host.key)
    caplog.set_level(logging.INFO)
    # Another process that takes the rows in the wrong order, and so in turn with the writer.
    holder = await locked(database, sessions[1].key)
    try:
        # The writer, not the other one, is to be picked as the victim.
        await holder.execute("SET deadlock_timeout = '10min'")
        tasks = [asyncio.ensure_future(host.accept("hello")) for host in sessions]
        await writer_is_waiting(database)
        await holder.execute(
            "SELECT FROM sessions WHERE id = $1 FOR UPDATE", sessions[0].key.session_id
        )
        await holder.execute("ROLLBACK")
        await asyncio.gather(*tasks)
    finally:
        await holder.close()
    assert "one by one: deadlock detected" in caplog.text
    for host in sessions:
        assert len((await memory.records.items(host.key))[0]) == 1


class Flaky(Postgres):
    """Connects as often as it was told, then is away."""

    def __init__(self, url: str, connections: int) -> None:
        super().__init__(url)
        self._left = connections

    async def connect(self) -> Connection:
        if not self._left:
            raise StoreUnavailable("away", details={"written": "no"})
        self._left -= 1
        return await super().connect()


async def raising(url: str, text: str, state: str) -> None:
    """From now on Postgres fails with this SQLSTATE at a message with this text."""
    await ask(
        url,
        f"CREATE FUNCTION fail_{state}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'as asked for' USING ERRCODE = '{state}'; END $$",
    )
    await ask(
        url,
        f"CREATE TRIGGER fail_{state} BEFORE INSERT ON messages FOR EACH ROW"
        f" WHEN (NEW.content = '{text}') EXECUTE FUNCTION fail_{state}()",
    )


@pytest.mark.parametrize(
    ("state", "connections", "told"),
    [
        # Undone for another's sake, twice: nothing is stored, and everybody else goes on.
        ("40001", 9, ["no", None]),
        # The server breaks off: that one is left open, the next one connects anew.
        ("57P01", 9, ["unknown", None]),
        # Or cannot.
        ("57P05", 1, ["unknown", "no"]),
    ],
)
async def test_one_by_one_each_write_has_its_own_fate(
    database: str, memory: ContextMemory, state: str, connections: int, told: list[str | None]
) -> None:
    await raising(database, f"fails {state}", state)
    poison, failing, good = sorted(await hosts(memory, 3), key=lambda host: host.key)
    writer = Writer(Flaky(database, connections), gather_s=0.05)
    writer.open()
    results = await asyncio.gather(
        writer.write(writes.add_items(poison.key, 1, 1, [poison.message("nul \x00")])),
        writer.write(writes.add_items(failing.key, 1, 1, [failing.message(f"fails {state}")])),
        writer.write(writes.add_items(good.key, 1, 1, [good.message("fine")])),
        return_exceptions=True,
    )
    await writer.aclose()
    assert isinstance(results[0], InvalidRequest)
    assert isinstance(results[1], StoreUnavailable)
    assert [getattr(result, "details", {}).get("written") for result in results[1:]] == told
    stored = [len((await memory.records.items(h.key))[0]) for h in (poison, failing, good)]
    assert stored == [0, 0, int(told[1] is None)]


async def test_a_place_that_is_taken_is_a_conflict(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("question")
    host.start(turn)
    host.say(turn, "answer")
    turn.answer_position = turn.input[0].position
    with pytest.raises(Conflict) as refused:
        await host.finish(turn)
    assert refused.value.cause_code == "conflict"
    assert len((await memory.records.items(host.key))[0]) == 1


async def test_closing_in_a_commit_leaves_it_open(database: str, open_memory: Open) -> None:
    memory = await open_memory(close_timeout_s=0.05)
    host = await Activation.new(memory)
    holder = await locked(database, host.key)
    try:
        task = asyncio.ensure_future(host.accept("hello"))
        await writer_is_waiting(database)
        await memory.aclose()
        with pytest.raises(StoreUnavailable) as cut:
            await task
    finally:
        await holder.close()
    assert cut.value.details == {"written": "unknown"}


def test_a_fence_that_holds_again_is_no_reason() -> None:
    write = writes.update_metadata(new_key(), 3, {})
    nothing = dict.fromkeys(("same_id", "same_client_id", "ended_epoch", "ended_seq", "overtaken"))
    told = _reason(write, {**nothing, "epoch": 3})  # type: ignore[arg-type]
    assert isinstance(told, StoreUnavailable)
    assert told.details == {"written": "no"}


async def test_a_server_that_is_away_is_not_asked_at_every_write(
    postgres: PostgresServer, database: str
) -> None:
    away = Postgres(postgres.url("nowhere"))
    writer = Writer(away, gather_s=0.0, retry_s=60.0)
    writer.open()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as refused:
                await writer.write(writes.drop(new_key(), 1))
            assert refused.value.details == {"written": "no"}
    finally:
        await writer.aclose()


async def test_after_closing_nothing_is_taken(open_memory: Open) -> None:
    memory = await open_memory()
    host = await Activation.new(memory)
    await memory.aclose()
    with pytest.raises(StoreUnavailable):
        await host.accept("hello")
    with pytest.raises(StoreUnavailable):
        await memory.activate(host.key)
    with pytest.raises(StoreUnavailable):
        await memory.records.session(host.key)
