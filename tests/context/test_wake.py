"""Activations: one writer at a time, and the same context whatever it is woken from."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from context.hot import redis_key
from context.memory import ContextMemory
from context.writes import Stamp
from contracts.errors import Deposed, NotFound
from contracts.events import Cursor
from contracts.messages import Message
from tests.context.activation import Activation, new_key
from tests.context.conftest import Open
from tests.support.stores import ValkeyServer
from tests.support.waiting import until


async def test_of_two_activations_the_newer_one_writes(open_memory: Open) -> None:
    one, two = await open_memory(), await open_memory()
    old = await Activation.new(one)
    await old.turn("hello", "hi")
    new = await Activation.of(two, old.key)
    assert new.epoch == old.epoch + 1
    with pytest.raises(Deposed):
        await old.accept("from the old one")
    await new.turn("from the new one", "fine")
    assert [m.text for m in new.messages] == ["hello", "hi", "from the new one", "fine"]
    said, _ = await one.records.items(old.key, ascending=True)
    assert said == new.messages


async def test_activations_at_once_give_out_each_epoch_once(open_memory: Open) -> None:
    memories = [await open_memory() for _ in range(4)]
    key = new_key()
    await memories[0].records.create_session(key)
    states = await asyncio.gather(*(m.activate(key) for m in memories for _ in range(5)))
    assert sorted(state.epoch for state in states) == list(range(1, 21))


async def test_under_contention_every_write_that_was_taken_is_there(open_memory: Open) -> None:
    memories = [await open_memory() for _ in range(3)]
    key = new_key()
    await memories[0].records.create_session(key)
    kept: list[str] = []

    async def fight(memory: ContextMemory, name: str) -> None:
        for n in range(8):
            try:
                host = await Activation.of(memory, key)
                for k in range(3):
                    text = f"{name} {n} {k}"
                    await host.add(text)
                    kept.append(text)
            except Deposed:
                continue

    await asyncio.gather(*(fight(m, str(n)) for n, m in enumerate(memories)))
    said, more = await memories[0].records.items(key, limit=100, ascending=True)
    assert not more
    assert sorted(m.text for m in said) == sorted(kept)
    assert [m.position for m in said] == list(range(1, len(kept) + 1))


async def test_many_wake_in_few_statements(database: str, open_memory: Open) -> None:
    memory = await open_memory()
    keys = [new_key() for _ in range(60)]
    for key in keys:
        await memory.records.create_session(key, metadata={"of": key.session_id})
    states = await asyncio.gather(*(memory.activate(key) for key in keys))
    assert [state.key for state in states] == keys
    assert [state.metadata["of"] for state in states] == [key.session_id for key in keys]
    connection = await asyncpg.connect(database)
    try:
        count = await connection.fetchval(
            "SELECT count(DISTINCT xmin::text) FROM sessions WHERE id = ANY ($1::text[])",
            [key.session_id for key in keys],
        )
    finally:
        await connection.close()
    assert count <= 5


async def test_one_that_is_not_there_does_not_disturb_the_others(memory: ContextMemory) -> None:
    key = new_key()
    await memory.records.create_session(key)
    found, missing, absurd = await asyncio.gather(
        memory.activate(key),
        memory.activate(new_key()),
        memory.activate(key._replace(session_id="nul\x00")),
        return_exceptions=True,
    )
    assert not isinstance(found, BaseException)
    assert isinstance(missing, NotFound)
    assert isinstance(absurd, NotFound)


# -- turns left behind ---------------------------------------------------------------------------


async def test_turns_left_behind_fail_and_the_log_goes_on(memory: ContextMemory) -> None:
    old = await Activation.new(memory)
    done = await old.turn("one", "1")
    running = await old.accept("two")
    old.start(running)
    old.say(running, "half an ans")
    waiting = await old.accept("three", client_id="third")
    new = await Activation.of(memory, old.key)
    assert [m.text for m in new.messages] == ["one", "1", "two", "three"]
    for turn in (running, waiting):
        record = await memory.response(old.key.org_id, turn.record.id)
        assert record.status == "failed"
        assert record.error is not None
        assert record.error["code"] == "session_moved"
        assert record.epoch == new.epoch
        assert record.completed_at is not None
    seen = Cursor(old.epoch, done.record.last_seq)
    events = await memory.events_since(old.key, seen, 100)
    assert events is None, "the second turn's deltas took seqs that were never stored"
    # Whoever comes back between the two is told how the last one ended.
    told = await memory.events_since(old.key, Cursor(new.epoch, new.seq - 3), 100)
    assert told is not None
    assert [(e.kind, e.response_id) for e in told] == [
        (kind, waiting.record.id) for kind in ("accepted", "started", "ended")
    ]
    again = await memory.activate(old.key)
    assert again.seq == new.seq, "they fail once"
    after = Activation(memory, again)
    await after.turn("four", "4")


async def test_a_reader_of_a_turn_left_behind_at_once_hears_its_end(memory: ContextMemory) -> None:
    old = await Activation.new(memory)
    done = await old.turn("one", "1")
    lost = await old.accept("two", client_id="second")
    new = await Activation.of(memory, old.key)
    events = await memory.events_since(old.key, Cursor(old.epoch, done.record.last_seq), 100)
    assert events is not None
    assert [event.kind for event in events] == ["accepted", "started", "ended"]
    assert events[0].data == {"input": lost.input, "client_id": "second"}
    assert events[2].data.status == "failed"
    assert events[-1].seq == new.seq
    # Who was told of the acceptance under the old epoch has seen what the store never had.
    assert (
        await memory.events_since(old.key, Cursor(old.epoch, done.record.last_seq + 1), 100) is None
    )
    assert await memory.events_since(old.key, Cursor(new.epoch, new.seq), 100) == []


async def test_left_behind_in_many_sessions_at_once(open_memory: Open) -> None:
    dying, taking = await open_memory(), await open_memory()
    hosts = [await Activation.new(dying) for _ in range(10)]
    turns = await asyncio.gather(*(host.accept("?") for host in hosts[:7]))
    states = await asyncio.gather(*(taking.activate(host.key) for host in hosts))
    assert [state.seq for state in states] == [3] * 7 + [0] * 3
    for turn in turns:
        record = await taking.response("org_default", turn.record.id)
        assert (record.accepted_seq, record.first_seq, record.last_seq) == (1, 2, 3)


async def test_an_activation_deposed_while_it_cleans_up_is_told(open_memory: Open) -> None:
    memories = [await open_memory() for _ in range(4)]
    old = await Activation.new(memories[0])
    turn = await old.accept("?")
    results = await asyncio.gather(*(m.activate(old.key) for m in memories), return_exceptions=True)
    states = [result for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(r, Deposed) for r in results if isinstance(r, BaseException))
    assert states
    newest = max(states, key=lambda state: state.epoch)
    assert newest.seq == 3
    record = await memories[0].response("org_default", turn.record.id)
    assert (record.status, record.last_seq) == ("failed", 3)
    await Activation(memories[0], await memories[0].activate(old.key)).turn("next", "fine")


async def test_an_activation_that_was_slow_to_clean_up_leaves_it_to_the_newer_one(
    open_memory: Open, valkey: ValkeyServer
) -> None:
    with ValkeyServer() as stuck:
        quick = await open_memory()
        slow = await open_memory(redis_url=stuck.url, redis_timeout_s=1.0)
        old = await Activation.new(quick)
        turn = await old.accept("?")
        stuck.freeze()
        # It takes the next epoch and then waits for a Redis that does not answer.
        activating = asyncio.ensure_future(slow.activate(old.key))

        async def taken() -> bool:
            try:
                await quick.update_metadata(old.key, old.epoch, {})
            except Deposed:
                return True
            return False

        await until(taken, "the slow one has taken the next epoch")
        newest = await quick.activate(old.key)
        with pytest.raises(Deposed):
            await activating
        stuck.thaw()
    assert newest.seq == 3
    record = await quick.response("org_default", turn.record.id)
    assert record.epoch == newest.epoch


# -- hot and cold --------------------------------------------------------------------------------


async def test_a_session_wakes_hot_and_cold_alike(
    memory: ContextMemory, valkey: ValkeyServer
) -> None:
    host = await Activation.new(memory)
    await host.turn("one", "1")
    await host.add("between")
    await host.turn("zwei 東京", "2")
    await memory.hot_copies_written()
    hot = await memory.activate(host.key)
    assert memory.counts["hits"] == 1
    valkey.wipe()
    cold = await memory.activate(host.key)
    assert memory.counts["hits"] == 1
    assert hot.messages == cold.messages == host.messages
    cold.epoch = hot.epoch
    assert cold == hot


async def test_a_copy_from_before_a_deletion_is_not_used(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    await host.turn("one", "1")
    await memory.hot_copies_written()
    stale = list(host.messages)
    before = host.messages[0]
    await host.delete(before.id)
    await memory.hot_copies_written()
    # A copy that was delayed on its way arrives last.
    hot = memory._hot  # pyright: ignore[reportPrivateUsage]
    hot.put(host.key, Stamp(host.seq, 2, 0, 0), stale)
    await memory.hot_copies_written()
    state = await memory.activate(host.key)
    assert before not in state.messages
    assert len(state.messages) == 1


async def test_a_copy_is_left_unwritten_while_another_turn_is_open(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    first = await host.accept("one")
    second = await host.accept("two")
    host.start(first)
    host.say(first, "1")
    await host.finish(first)
    await memory.hot_copies_written()
    assert memory.counts["written"] == 0
    host.start(second)
    host.say(second, "2")
    await host.finish(second)
    await memory.hot_copies_written()
    assert memory.counts["written"] == 1
    state = await memory.activate(host.key)
    assert memory.counts["hits"] == 1
    assert [m.text for m in state.messages] == ["one", "1", "two", "2"]


async def test_a_copy_of_an_older_state_is_not_used(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    await host.turn("one", "1")
    await memory.hot_copies_written()
    await host.accept("two")
    state = await memory.activate(host.key)
    assert memory.counts["hits"] == 0
    assert [m.text for m in state.messages] == ["one", "1", "two"]


async def test_somebody_elses_bytes_in_redis_are_not_used(
    memory: ContextMemory, valkey: ValkeyServer
) -> None:
    host, other = await Activation.new(memory), await Activation.new(memory)
    await host.turn("mine", "1")
    await other.turn("theirs", "2")
    await memory.hot_copies_written()
    async with Redis.from_url(valkey.url, protocol=2) as redis:
        copy = await redis.get(redis_key(other.key))
        for bad in (copy, b"no json", b"[1,2]", b'["a","b",1,2,0,[["x"]]]', b"\xff", b"null"):
            await redis.set(redis_key(host.key), bad)
            assert [m.text for m in (await memory.activate(host.key)).messages] == ["mine", "1"]
    assert memory.counts["hits"] == 0


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    messages=st.integers(1, 8),
    chars=st.integers(0, 80),
)
async def test_both_windows_are_cut_alike(
    open_memory: Open, lengths: list[int], messages: int, chars: int
) -> None:
    memory = await open_memory(window_messages=messages, window_chars=chars)
    host = await Activation.new(memory)
    said: list[Message] = []
    for length in lengths:
        said += await host.add("ü" * length)
    await memory.hot_copies_written()
    hot = await memory.activate(host.key)
    hits = memory.counts["hits"]
    await memory._hot._redis.flushdb()  # type: ignore[union-attr]
    cold = await memory.activate(host.key)
    assert hits == 1
    assert hot.messages == cold.messages
    assert cold.messages == said[len(said) - len(cold.messages) :]
    assert 1 <= len(cold.messages) <= messages
    assert sum(len(m.text) for m in cold.messages) <= chars or len(cold.messages) == 1
    await memory.aclose()
