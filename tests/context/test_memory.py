"""What a session is given back of what it stored."""

from __future__ import annotations

import pytest

from context.memory import ContextMemory
from contracts.errors import NotFound
from contracts.events import Cursor
from contracts.messages import Message, Usage
from tests.context.activation import NOW, Activation, new_key, new_record


async def test_a_record_comes_back_as_it_was_stored(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept(
        "question",
        client_id="mine",
        user="ann",
        previous_response_id="resp_before",
        instructions="Be brief.",
        temperature=0.5,
        top_p=0.25,
        max_output_tokens=2**40,
        background=True,
        metadata={"a": "b", "ü": "😀"},
    )
    queued = await memory.response(host.key.org_id, turn.record.id)
    turn.record.accepted_seq, seq = 0, turn.record.accepted_seq
    assert queued == turn.record
    turn.record.accepted_seq = seq
    host.start(turn)
    host.say(turn, " ein\n", "é", "zwei 東京 ")
    turn.record.agent, turn.record.model = "gemini", "gemini-flash"
    turn.record.decision = {"agent": "gemini", "rule": "fallback", "reason": "gpt was away"}
    turn.record.incomplete_reason = "max_output_tokens"
    turn.record.error = {"code": "x", "message": "y", "deep": [1, {"z": None}]}
    await host.finish(turn, "incomplete")
    assert await memory.response(host.key.org_id, turn.record.id) == turn.record


async def test_a_turn_without_a_word_or_a_count(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("question")
    host.start(turn)
    assert host.end(turn, "cancelled") is None
    turn.record.usage = None
    seq = turn.record.last_seq
    await memory.finish(host.key, host.epoch, seq, turn.record, None, list(host.messages))
    assert await memory.response(host.key.org_id, turn.record.id) == turn.record
    turn.record.usage = Usage(0, 0)
    state = await memory.activate(host.key)
    assert [m.text for m in state.messages] == ["question"]
    assert (state.seq, state.position) == (host.seq, 1)


async def test_a_model_cannot_poison_the_store(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.turn("question", "a\x00b", "\x00", "\ud800c", "d")
    stored = await memory.response(host.key.org_id, turn.record.id)
    assert stored.text == "abcd"
    assert stored.cuts == [2, 0, 1, 1]
    said, _ = await memory.records.items(host.key, limit=1)
    assert said[0].text == "abcd"
    events = await memory.events_since(host.key, Cursor(host.epoch, 0), 100)
    assert events is not None
    assert [event.data for event in events if event.kind == "delta"] == ["ab", "", "c", "d"]
    assert [event.seq for event in events] == list(range(1, turn.record.last_seq + 1))


async def test_what_is_changed_while_it_waits_is_not_stored(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    record = new_record(host.key.session_id, metadata={"kept": "yes"})
    items = [host.message("question")]
    writing = memory.accept(host.key, host.epoch, 0, record, items)
    await writing
    record.metadata["kept"] = "no"
    assert (await memory.response(host.key.org_id, record.id)).metadata == {"kept": "yes"}


async def test_what_a_turn_replaces_goes_with_its_acceptance(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    first = await host.turn("question", "bad answer")
    await memory.hot_copies_written()
    anew = await host.accept(replaces=first.record.item_id)
    stored = await memory.response(host.key.org_id, anew.record.id)
    assert stored.replaces == first.record.item_id
    said, _ = await memory.records.items(host.key, ascending=True)
    assert [m.text for m in said] == ["question"]
    state = await memory.activate(host.key)
    assert [m.text for m in state.messages] == ["question"], "no older hot copy comes back"
    [found] = state.open_turns
    assert found.record.replaces == first.record.item_id
    assert (await memory.response(host.key.org_id, first.record.id)).text == "bad answer"
    new = Activation(memory, state)
    [turn] = new.turns
    new.accept_anew(turn)
    new.start(turn)
    new.go_on(turn)
    new.say(turn, "good answer")
    await new.finish(turn)
    said, _ = await memory.records.items(host.key, ascending=True)
    assert [m.text for m in said] == ["question", "good answer"]
    events = await memory.events_since(host.key, Cursor(new.epoch, first.record.last_seq), 100)
    assert events is not None
    assert events[0].data["removed"] == first.record.item_id


async def test_items_come_and_go(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    one, two, three = await host.add("one", "two", "three")
    await host.delete(two.id)
    said, more = await memory.records.items(host.key, ascending=True)
    assert (said, more) == ([one, three], False)
    with pytest.raises(NotFound) as missing:
        await memory.delete_item(host.key, host.epoch, two.id, [])
    assert missing.value.param == "item_id"
    state = await memory.activate(host.key)
    assert state.messages == [one, three]
    assert state.position == 3, "a place is not given out again"


async def test_metadata_is_replaced_and_woken_with(memory: ContextMemory) -> None:
    key = new_key()
    await memory.records.create_session(key, user="ann", metadata={"a": "1", "b": "2"})
    state = await memory.activate(key)
    assert (state.metadata, state.user) == ({"a": "1", "b": "2"}, "ann")
    await memory.update_metadata(key, state.epoch, {"b": "3"})
    assert (await memory.activate(key)).metadata == {"b": "3"}


async def test_a_dropped_session_is_gone_with_all_it_held(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    neighbour = await Activation.new(memory)
    turn = await host.turn("question", "answer")
    kept = await neighbour.turn("question", "answer")
    await memory.hot_copies_written()
    await memory.drop(host.key, host.epoch)
    await memory.hot_copies_written()
    for asked in (
        memory.activate(host.key),
        memory.records.session(host.key),
        memory.records.items(host.key),
        memory.response(host.key.org_id, turn.record.id),
    ):
        with pytest.raises(NotFound):
            await asked
    assert (await memory.response(host.key.org_id, kept.record.id)).text == "answer"


async def test_the_latest_response_is_known(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    assert await memory.records.latest_response_id(host.key) is None
    first = await host.turn("one", "1")
    second = await host.accept("two")
    assert await memory.records.latest_response_id(host.key) == second.record.id
    host.start(second)
    await host.finish(second)
    state = await memory.activate(host.key)
    assert state.last_response_id == second.record.id != first.record.id


async def test_times_and_places_are_exact(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    moment = NOW + 0.123456
    item = Message("msg_exact", 1, "developer", "text", moment, None)
    await memory.add_items(host.key, host.epoch, 1, [item], [])
    assert await memory.records.item(host.key, "msg_exact") == item


async def test_health_tells_the_truth(memory: ContextMemory) -> None:
    assert await memory.health() == {"postgres": "ok", "redis": "ok"}
    await memory.aclose()
    assert await memory.health() == {"postgres": "unavailable", "redis": "closed"}
    await memory.aclose()
