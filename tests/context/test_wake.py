"""Activations: one writer at a time, and the same context whatever it is woken from."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from context import writes
from context.hot import redis_key
from context.journal import Name
from context.journal import redis_key as journal_key
from context.memory import ContextMemory
from context.recover import Entry, unpack
from context.writes import Stamp
from contracts.errors import Deposed, NotFound
from contracts.events import Cursor, Event
from contracts.messages import Message
from tests.context.activation import Activation, Turn, new_key
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


async def half_a_turn(host: Activation, *pieces: str) -> tuple[Turn, list[Event]]:
    """A turn in the midst of its answer, of which readers were told this."""
    turn = await host.accept("question", client_id="mine")
    host.start(turn)
    host.say(turn, *pieces)
    return turn, await host.tell()


async def test_a_turn_left_behind_is_taken_up_as_it_was_said(open_memory: Open) -> None:
    dying, taking = await open_memory(), await open_memory()
    old = await Activation.new(dying)
    await old.turn("one", "1")
    await old.tell()
    turn, told = await half_a_turn(old, "half ", "an ans")
    state = await taking.activate(old.key)
    assert [event[:4] for event in state.events] == [event[:4] for event in told]
    assert state.events[0].data == told[0].data
    assert [event.data for event in state.events[2:]] == ["half ", "an ans"]
    assert state.events[1].data.status == "in_progress"
    assert (state.seq, state.written_epoch) == (old.seq, old.epoch)
    [found] = state.open_turns
    assert (found.record.text, found.record.cuts) == ("half an ans", [5, 6])
    assert (found.record.first_seq, found.record.accepted_seq) == (6, 5)
    assert (found.record.attempts, found.record.epoch) == (2, old.epoch)
    assert (found.input, found.answer_position) == (turn.input, turn.answer_position)
    assert found.may_have_begun
    assert state.position == turn.answer_position, "the answer's place is kept"
    assert [m.text for m in state.messages] == ["one", "1", "question"]


async def test_it_ends_in_a_further_leg_and_every_cursor_is_answered(open_memory: Open) -> None:
    dying, taking = await open_memory(), await open_memory()
    old = await Activation.new(dying)
    _, told = await half_a_turn(old, "half ", "an ans")
    new = await Activation.of(taking, old.key)
    [turn] = new.turns
    leg = new.go_on(turn)
    new.say(turn, "wer")
    await new.finish(turn)
    record = await taking.response(old.key.org_id, turn.record.id)
    assert record == turn.record
    assert record.legs == [leg]
    assert record.text == "half an answer"
    everything = [*told, *new.untold]
    for seen in range(len(told) + 1):
        events = await taking.events_since(old.key, Cursor(old.epoch, seen), 100)
        assert events is not None
        assert [e[:4] for e in events[:-1]] == [e[:4] for e in everything[seen:]]
        assert events[-1].kind == "ended"
    resumed = await taking.events_since(old.key, Cursor(new.epoch, len(told)), 1)
    assert resumed is None, "more than asked for"
    after_it = await taking.events_since(old.key, Cursor(new.epoch, len(told) + 1), 100)
    assert after_it is not None
    assert [event.kind for event in after_it] == ["delta", "ended"]
    # The old host had gone on under a seq that is `resumed` now.
    assert await taking.events_since(old.key, Cursor(old.epoch, len(told) + 1), 100) is None
    # A second try of the same end is no error; one of another turn's end is.
    await taking.finish(new.key, new.epoch, record.last_seq, turn.record, None, [])
    turn.record.last_seq += 1
    with pytest.raises(NotFound):
        await taking.finish(new.key, new.epoch, record.last_seq + 1, turn.record, None, [])


async def test_what_was_taken_over_is_durable_before_anything_is_said(open_memory: Open) -> None:
    dying, taking, third = [await open_memory() for _ in range(3)]
    old = await Activation.new(dying)
    turn, told = await half_a_turn(old, "half ", "an ans")
    waiting = await old.accept("and then?")
    told += await old.tell()
    await taking.activate(old.key)
    stored = await taking.response(old.key.org_id, turn.record.id)
    assert (stored.text, stored.cuts, stored.attempts) == ("half an ans", [5, 6], 2)
    assert (stored.first_seq, stored.accepted_seq, stored.status) == (2, 1, "queued")
    # The journal of the lost host is not needed any more, and the second one said nothing.
    state = await third.activate(old.key)
    [first, second] = state.open_turns
    assert first.record.attempts == 3
    assert [leg.epoch for leg in first.record.legs] == [state.epoch]
    assert [event[:4] for event in state.events[:-1]] == [event[:4] for event in told]
    assert state.events[-1].kind == "resumed"
    assert state.seq == old.seq + 1
    assert (second.record.id, second.record.accepted_seq) == (waiting.record.id, old.seq)
    assert (second.record.attempts, second.may_have_begun) == (1, False)


async def test_without_the_journal_nothing_is_taken_as_said(
    open_memory: Open, valkey: ValkeyServer
) -> None:
    dying, taking = await open_memory(), await open_memory()
    old = await Activation.new(dying)
    done = await old.turn("one", "1")
    turn, _ = await half_a_turn(old, "half an ans")
    waiting = await old.accept("three", client_id="third")
    valkey.wipe()
    state = await taking.activate(old.key)
    assert state.events == []
    assert [found.record.id for found in state.open_turns] == [turn.record.id, waiting.record.id]
    for found in state.open_turns:
        record = found.record
        assert (record.first_seq, record.accepted_seq, record.text) == (0, 0, "")
        assert record.epoch == state.epoch
    assert [found.may_have_begun for found in state.open_turns] == [True, False]
    assert state.seq >= done.record.last_seq
    # Who saw what was lost is not told that it has seen what comes instead.
    for seq in (done.record.last_seq + 1, state.seq + 1):
        assert await taking.events_since(old.key, Cursor(old.epoch, seq), 100) is None


async def test_a_redis_that_hangs_costs_the_words_but_not_the_turn(open_memory: Open) -> None:
    with ValkeyServer() as stuck:
        dying = await open_memory(redis_url=stuck.url)
        taking = await open_memory(redis_url=stuck.url, redis_timeout_s=0.1)
        old = await Activation.new(dying)
        turn, _ = await half_a_turn(old, "half an ans")
        stuck.freeze()
        state = await taking.activate(old.key)
        stuck.thaw()
    [found] = state.open_turns
    assert (found.record.id, found.record.text, found.record.first_seq) == (turn.record.id, "", 0)


async def test_left_behind_in_many_sessions_at_once(database: str, open_memory: Open) -> None:
    dying, taking = await open_memory(), await open_memory()
    hosts = [await Activation.new(dying) for _ in range(10)]
    turns = [await half_a_turn(host, f"answer {n}") for n, host in enumerate(hosts[:7])]
    states = await asyncio.gather(*(taking.activate(host.key) for host in hosts))
    assert [state.seq for state in states] == [3] * 7 + [0] * 3
    for n, (state, (turn, told)) in enumerate(zip(states, turns, strict=False)):
        assert [event[:4] for event in state.events] == [event[:4] for event in told]
        assert state.open_turns[0].record.id == turn.record.id
        assert state.open_turns[0].record.text == f"answer {n}"
    connection = await asyncpg.connect(database)
    try:
        count = await connection.fetchval(
            "SELECT count(DISTINCT xmin::text) FROM responses WHERE id = ANY ($1::text[])",
            [turn.record.id for turn, _ in turns],
        )
    finally:
        await connection.close()
    assert count <= 2, "they are written back together"


async def test_an_activation_deposed_while_it_takes_over_is_told(open_memory: Open) -> None:
    memories = [await open_memory() for _ in range(4)]
    old = await Activation.new(memories[0])
    turn, _ = await half_a_turn(old, "half")
    results = await asyncio.gather(*(m.activate(old.key) for m in memories), return_exceptions=True)
    states = [result for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(r, Deposed) for r in results if isinstance(r, BaseException))
    assert states
    newest = max(states, key=lambda state: state.epoch)
    record = await memories[0].response("org_default", turn.record.id)
    assert record.attempts == newest.open_turns[0].record.attempts == len(states) + 1
    after_all = Activation(memories[0], newest)
    [again] = after_all.turns
    after_all.go_on(again)
    after_all.say(again, " more")
    await after_all.finish(again)


async def test_an_activation_that_was_slow_to_take_over_leaves_it_to_the_newer_one(
    open_memory: Open,
) -> None:
    with ValkeyServer() as stuck:
        quick = await open_memory()
        slow = await open_memory(redis_url=stuck.url, redis_timeout_s=60.0)
        old = await Activation.new(quick)
        turn, told = await half_a_turn(old, "half")
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
        assert not activating.done()
        stuck.thaw()
        with pytest.raises(Deposed):
            await activating
    assert [event[:4] for event in newest.events] == [event[:4] for event in told]
    record = await quick.response("org_default", turn.record.id)
    assert (record.text, record.attempts) == ("half", 2)


async def test_a_turn_asked_nothing_new_keeps_the_place_of_its_answer(
    memory: ContextMemory,
) -> None:
    host = await Activation.new(memory)
    await host.turn("one", "1")
    anew = await host.accept()
    host.start(anew)
    later = await host.accept("two")
    await host.tell()
    state = await memory.activate(host.key)
    places = [found.answer_position for found in state.open_turns]
    assert places == [anew.answer_position, later.answer_position] == [3, 5]


async def test_what_a_turn_said_is_forgotten_once_it_is_durable(
    memory: ContextMemory, valkey: ValkeyServer
) -> None:
    host = await Activation.new(memory)
    turn, _ = await half_a_turn(host, "an answer")
    waiting = await host.accept("and then?")
    [kept] = await host.tell()
    await host.finish(turn)
    memory.forget_events(host.key, host.epoch, [kept])
    await memory.hand_off()
    async with Redis.from_url(valkey.url, protocol=2) as redis:
        [key] = await redis.keys(f"troupe:log:*{host.key.session_id}*")
        assert key.decode() == journal_key(Name(host.key, host.epoch))
        assert unpack(await redis.lrange(key, 0, -1)) == [
            Entry(kept.seq, "accepted", waiting.record.id, -1, None)
        ]
        assert 0 < await redis.pttl(key) <= 1_800_000
        await memory.drop(host.key, host.epoch)
        await memory.hand_off()

        async def gone() -> bool:
            return not await redis.keys(f"troupe:*{host.key.session_id}*")

        await until(gone, "nothing of the session is left in Redis")


async def test_what_a_deletion_left_that_was_not_answered_goes_with_the_next(
    memory: ContextMemory, valkey: ValkeyServer
) -> None:
    host = await Activation.new(memory)
    await host.turn("question", "answer")
    await half_a_turn(host, "an answer")
    await host.tell()
    await memory.hot_copies_written()
    await memory.hand_off()
    await memory._writer.write(writes.drop(host.key, host.epoch))
    async with Redis.from_url(valkey.url, protocol=2) as redis:

        async def left() -> int:
            return len(await redis.keys(f"troupe:*{host.key.session_id}*"))

        assert await left() >= 1
        with pytest.raises(NotFound):
            await memory.drop(host.key, host.epoch)
        await memory.hand_off()

        async def gone() -> bool:
            return not await left()

        await until(gone, "nothing of the session is left in Redis")


async def test_the_epoch_of_the_last_write_is_known(memory: ContextMemory) -> None:
    one = await Activation.new(memory)
    await one.turn("one", "1")
    assert (await memory.activate(one.key)).written_epoch == one.epoch
    idle = await memory.activate(one.key)
    assert idle.written_epoch == one.epoch, "an activation that writes nothing is none"
    three = Activation(memory, idle)
    await three.add("an item")
    assert (await memory.activate(one.key)).written_epoch == three.epoch


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
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
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
