"""Events come back from the store exactly as they were said, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from context.memory import ContextMemory
from context.replay import StoredItems, StoredTurn, after, assemble
from contracts.errors import NotFound
from contracts.events import Cursor, Event
from tests.context.activation import Activation, Turn, new_record
from tests.context.conftest import Open


async def all_of(host: Activation, seq: int = 0, limit: int = 1000) -> list[Event] | None:
    return await host.memory.events_since(host.key, Cursor(host.epoch, seq), limit)


async def test_a_turn_comes_back_as_it_was_said(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.turn("question", "one ", "two ", "three", client_id="mine")
    events = await all_of(host)
    assert events == host.said(turn)
    assert events is not None
    assert [(event.seq, event.kind) for event in events] == [
        (1, "accepted"),
        (2, "started"),
        (3, "delta"),
        (4, "delta"),
        (5, "delta"),
        (6, "ended"),
    ]
    assert [event.data for event in events[2:5]] == ["one ", "two ", "three"]
    assert events[-1].data == turn.record
    for seq in range(7):
        assert await all_of(host, seq) == events[seq:]
    assert await all_of(host, 7) is None


async def test_what_happened_between_a_turns_words_stands_in_its_place(
    memory: ContextMemory,
) -> None:
    host = await Activation.new(memory)
    before = await host.add("before", "it")
    first = await host.accept("first")
    host.start(first)
    host.say(first, "a", "b")
    second = await host.accept("second", "and more", client_id="2")
    host.say(first, "c")
    third = await host.accept("third")
    # The third is cancelled while it waits: all it has to say stands within the first.
    host.start(third)
    await host.finish(third, "cancelled")
    host.say(first, "d")
    await host.finish(first)
    host.start(second)
    host.say(second, "x")
    await host.finish(second)
    await host.add("after")
    events = await all_of(host)
    assert events == host.said(first, second, third)
    assert events is not None
    assert events[0].data == {"items": before}
    assert (
        "".join(e.data for e in events if e.response_id == first.record.id and e.kind == "delta")
        == "abcd"
    )
    for seq in range(len(events) + 1):
        assert await all_of(host, seq) == events[seq:]


async def test_it_spans_activations(memory: ContextMemory) -> None:
    one = await Activation.new(memory)
    first = await one.turn("one", "1")
    two = await Activation.of(memory, one.key)
    second = await two.turn("two", "2")
    assert await two.memory.events_since(one.key, Cursor(one.epoch, 2), 100) == [
        *one.said(first)[2:],
        *two.said(second),
    ]


async def test_a_cursor_of_what_was_never_stored_is_not_honoured(memory: ContextMemory) -> None:
    old = await Activation.new(memory)
    await old.turn("one", "1")
    new = await Activation.of(memory, old.key)
    turn = await new.turn("two", "2")
    taken = new.seq - 1
    # The old host had gone on telling its readers of events under the same seqs.
    assert await memory.events_since(old.key, Cursor(old.epoch, taken), 100) is None
    events = await memory.events_since(old.key, Cursor(new.epoch, taken), 100)
    assert events == new.said(turn)[-1:]
    assert await memory.events_since(old.key, Cursor(new.epoch, 99), 100) is None


async def test_open_turns_end_the_list_where_their_words_begin(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    done = await host.turn("one", "1")
    running = await host.accept("two")
    host.start(running)
    host.say(running, "half")
    assert await all_of(host) == host.said(done)[: host.seq - 3]
    waiting = await host.accept("three")
    host.start(waiting)
    await host.finish(waiting, "cancelled")
    assert await all_of(host, done.record.last_seq) == []


async def test_too_many_are_not_given_back(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    for n in range(3):
        await host.turn(str(n), *"abcdef")
    assert host.seq == 27
    assert await all_of(host, 0, 26) is None
    events = await all_of(host, 0, 27)
    assert events is not None
    assert len(events) == 27
    assert await all_of(host, 20, 7) == events[20:]


async def test_what_was_deleted_since_breaks_the_thread(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    first = await host.turn("one", "1")
    second = await host.turn("two", "2")
    await host.delete(first.input[0].id)
    assert await all_of(host, 2) is None, "who shows the deleted item must be told"
    assert await all_of(host, host.seq) == []
    third = await host.turn("three", "3")
    assert (
        await all_of(host, second.record.last_seq)
        == host.said(first, second, third)[host.seq - 4 :]
    )


async def test_a_turn_that_could_not_be_stored_leaves_a_gap(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    await host.turn("one", "1")
    lost = await host.accept("lost")
    host.start(lost)
    host.say(lost, "words")
    host.end(lost)
    after_it = await host.turn("three", "3")
    new = await Activation.of(memory, host.key)
    [again] = new.turns
    new.accept_anew(again)
    new.start(again)
    await new.finish(again, "failed")
    assert await all_of(new) is None
    assert await all_of(new, after_it.record.last_seq) is not None


async def test_an_absent_session_is_not_found(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    await memory.drop(host.key, host.epoch)
    with pytest.raises(NotFound):
        await all_of(host)


def test_a_turn_with_strangers_in_between_is_left_out() -> None:
    # The record says that the turn ended later than its own events can account for.
    record = new_record(
        "conv_x", status="completed", text="ab", cuts=[1, 1], epoch=1, accepted_seq=1, first_seq=2
    )
    record.last_seq = 9
    said = assemble([StoredTurn(record, [])], [StoredItems(10, 1)])
    assert sorted(said) == [1, 10]
    assert after(said, Cursor(1, 1)) == ([], False)
    record.last_seq = 5
    assert sorted(assemble([StoredTurn(record, [])], [])) == [1, 2, 3, 4, 5]


def test_the_inner_turn_keeps_its_place_whatever_comes_first() -> None:
    outer = new_record(
        "conv_x", status="completed", text="ab", cuts=[1, 1], epoch=1, accepted_seq=1, first_seq=2
    )
    outer.last_seq = 8
    inner = new_record("conv_x", status="cancelled", epoch=1, accepted_seq=4, first_seq=5)
    inner.last_seq = 6
    for turns in ([outer, inner], [inner, outer]):
        said = assemble([StoredTurn(record, []) for record in turns], [])
        assert {seq: event.response_id for seq, (_, event) in said.items()} == {
            seq: inner.id if seq in (4, 5, 6) else outer.id for seq in range(1, 9)
        }


steps = st.lists(
    st.sampled_from(["accept", "accept", "say", "say", "say", "end", "cancel", "add", "host"]),
    max_size=25,
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=steps,
    pieces=st.lists(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
    ),
)
async def test_whatever_happens_every_cursor_gets_exactly_what_it_missed(
    open_memory: Open, steps: list[str], pieces: list[str]
) -> None:
    """An actor's rules, in random order: one turn runs, others wait, some are cancelled unheard."""
    memory = await open_memory()
    host = await Activation.new(memory)
    running: Turn | None = None
    waiting: list[Turn] = []
    done: list[Turn] = []
    lineage: list[Event] = []
    for n, step in enumerate(steps):
        if step == "accept" and len(waiting) < 3:
            turn = await host.accept(f"question {n}", client_id=f"client {n}")
            if running is None:
                running = turn
                host.start(turn)
            else:
                waiting.append(turn)
        elif step == "say" and running is not None:
            host.say(running, pieces[n % len(pieces)])
        elif step == "end" and running is not None:
            await host.finish(running)
            done.append(running)
            running = waiting.pop(0) if waiting else None
            if running is not None:
                host.start(running)
        elif step == "cancel" and waiting:
            turn = waiting.pop()
            host.start(turn)
            await host.finish(turn, "cancelled")
            done.append(turn)
        elif step == "add" and running is None:
            await host.add(f"item {n}")
        elif step == "host" and running is None:
            lineage += host.said(*done)
            done = []
            host = await Activation.of(memory, host.key)
    while running is not None:
        await host.finish(running)
        done.append(running)
        running = waiting.pop(0) if waiting else None
        if running is not None:
            host.start(running)
    events = [*lineage, *host.said(*done)]
    assert [event.seq for event in events] == list(range(1, host.seq + 1))
    for seq in range(host.seq + 1):
        assert await all_of(host, seq) == events[seq:]
    await memory.aclose()
