"""What a gateway reads and creates by itself."""

from __future__ import annotations

import asyncio

import pytest

from context.memory import ContextMemory
from context.records import Records
from contracts.commands import InputItem, SessionKey
from contracts.errors import Conflict, InvalidRequest, NotFound
from contracts.events import Cursor
from contracts.memory import Summary
from contracts.messages import Usage
from tests.context.activation import ORG, Activation, new_key


@pytest.fixture
def records(memory: ContextMemory) -> Records:
    return memory.records


async def test_a_session_begins_with_what_it_is_given(records: Records) -> None:
    key = new_key()
    created = await records.create_session(
        key,
        user="ann@example.org",
        metadata={"topic": "birds"},
        items=[InputItem("system", "Be kind."), InputItem("user", "hello 東京")],
    )
    assert created.id == key.session_id
    assert created == await records.session(key)
    assert (created.user, created.metadata, created.last_response_id) == (
        "ann@example.org",
        {"topic": "birds"},
        None,
    )
    said, more = await records.items(key, ascending=True)
    assert [(m.position, m.role, m.text) for m in said] == [
        (1, "system", "Be kind."),
        (2, "user", "hello 東京"),
    ]
    assert not more
    assert {m.created_at for m in said} == {created.created_at}


async def test_a_session_id_is_taken_once(records: Records) -> None:
    key = new_key()
    await records.create_session(key, items=[InputItem("user", "mine")])
    with pytest.raises(Conflict):
        await records.create_session(key, items=[InputItem("user", "yours")])
    said, _ = await records.items(key)
    assert [m.text for m in said] == ["mine"]


async def test_only_a_session_in_which_nothing_was_said_is_discarded(records: Records) -> None:
    unused, said = new_key(), new_key()
    await records.create_session(unused)
    await records.create_session(said, items=[InputItem("user", "hi")])
    for key in (unused, said):
        await records.discard_unused(key)
    with pytest.raises(NotFound):
        await records.session(unused)
    assert (await records.session(said)).id == said.session_id


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": {"a": "\x00"}},
        {"items": [InputItem("user", "nul \x00")]},
        {"user": "nul \x00"},
        {"metadata": {"a": "\ud800"}},
        {"items": [InputItem("user", "\udfff")]},
    ],
)
async def test_what_cannot_be_stored_leaves_no_trace(
    records: Records, given: dict[str, object]
) -> None:
    key = new_key()
    with pytest.raises(InvalidRequest) as refused:
        await records.create_session(key, **given)  # type: ignore[arg-type]
    assert refused.value.cause_code == "invalid_data"
    with pytest.raises(NotFound):
        await records.session(key)


async def test_items_come_in_pages_both_ways(memory: ContextMemory, records: Records) -> None:
    host = await Activation.new(memory)
    items = await host.add(*"abcdefg")
    for ascending in (True, False):
        wanted = items if ascending else items[::-1]
        seen, after, pages, more = [], None, 0, True
        while more:
            page, more = await records.items(host.key, after=after, limit=3, ascending=ascending)
            seen += page
            after = page[-1].id
            pages += 1
        assert (seen, pages) == (wanted, 3)
    assert await records.items(host.key, after=items[-1].id, ascending=True) == ([], False)
    with pytest.raises(NotFound) as missing:
        await records.items(host.key, after="msg_nowhere")
    assert missing.value.param == "after"
    assert await records.item(host.key, items[2].id) == items[2]


async def test_an_empty_session_has_no_items(memory: ContextMemory, records: Records) -> None:
    host = await Activation.new(memory)
    assert await records.items(host.key) == ([], False)


async def test_sessions_are_listed_by_birth_and_by_person(records: Records) -> None:
    keys = [new_key() for _ in range(5)]
    for n, key in enumerate(keys):
        await records.create_session(key, user="bob" if n % 2 else "eve", metadata={"n": str(n)})
    mine = keys[1], keys[3]
    for ascending in (True, False):
        wanted = mine if ascending else mine[::-1]
        page, more = await records.sessions(ORG, user="bob", ascending=ascending, limit=1)
        assert ([row.key for row in page], more) == ([wanted[0]], True)
        page, more = await records.sessions(ORG, user="bob", ascending=ascending, after=page[0].id)
        assert ([row.key for row in page], more) == ([wanted[1]], False)
    newest, more = await records.sessions(ORG, limit=3)
    assert [row.key for row in newest] == keys[:1:-1]
    assert more
    later, _ = await records.sessions(ORG, after=keys[0].session_id, ascending=True, limit=10)
    assert [row.key for row in later] == keys[1:]
    assert await records.sessions(ORG, user="nobody") == ([], False)


async def test_a_person_is_one_however_often_they_come(records: Records) -> None:
    ids = await asyncio.gather(*(records.ensure_user(ORG, "carol") for _ in range(8)))
    assert len(set(ids)) == 1
    assert ids[0].startswith("user_")
    assert await records.ensure_user(ORG, "carol") == ids[0]
    assert await records.ensure_user(ORG, "dave") != ids[0]


async def test_what_a_turn_was_asked(memory: ContextMemory, records: Records) -> None:
    host = await Activation.new(memory)
    await host.turn("before", "1")
    turn = await host.accept("a", "b", "c")
    host.start(turn)
    host.say(turn, "answer")
    await host.finish(turn)
    response = turn.record.id
    assert await records.input_items(ORG, response) == (turn.input[::-1], False)
    page, more = await records.input_items(ORG, response, limit=2, ascending=True)
    assert (page, more) == (turn.input[:2], True)
    page, more = await records.input_items(ORG, response, after=page[-1].id, ascending=True)
    assert (page, more) == (turn.input[2:], False)
    page, _ = await records.input_items(ORG, response, after=turn.input[1].id)
    assert page == turn.input[:1]
    nothing = await host.accept()
    assert await records.input_items(ORG, nothing.record.id) == ([], False)


# -- continuing from a response ------------------------------------------------------------------


async def test_the_latest_response_goes_on_in_its_own_session(
    memory: ContextMemory, records: Records
) -> None:
    host = await Activation.new(memory)
    turn = await host.turn("one", "1")
    assert await records.continuation(ORG, turn.record.id) == host.key
    running = await host.accept("two")
    assert await records.continuation(ORG, running.record.id) == host.key


async def test_an_older_one_goes_on_in_a_copy(memory: ContextMemory, records: Records) -> None:
    key = new_key()
    await records.create_session(key, user="ann", metadata={"topic": "birds"})
    host = await Activation.of(memory, key)
    await host.add("to start with")
    [gone] = await host.add("to be deleted")
    first = await host.turn("one", "1")
    second = await host.turn("two", "2")
    await host.delete(gone.id)
    copy = await records.continuation(ORG, first.record.id)
    assert copy != key
    forked = await Activation.of(memory, copy)
    assert [(m.position, m.text) for m in forked.messages] == [
        (1, "to start with"),
        (2, "one"),
        (3, "1"),
    ]
    assert [m.id for m in forked.messages[1:]] == [first.input[0].id, first.record.item_id]
    row = await records.session(copy)
    assert (row.user, row.metadata) == ("ann", {"topic": "birds"})
    assert row.last_response_id == first.record.id
    await forked.turn("another two", "2b")
    assert await memory.events_since(copy, Cursor(forked.epoch, 0), 100) is not None
    original, _ = await records.items(key, ascending=True)
    assert [m.text for m in original] == ["to start with", "one", "1", "two", "2"]
    assert (await records.session(key)).last_response_id == second.record.id
    assert await records.continuation(ORG, first.record.id) not in (key, copy)


async def test_a_copy_holds_nothing_that_was_asked_meanwhile(
    memory: ContextMemory, records: Records
) -> None:
    host = await Activation.new(memory)
    first = await host.accept("first")
    host.start(first)
    second = await host.accept("second, while the first runs")
    host.say(first, "1")
    await host.finish(first)
    host.start(second)
    await host.finish(second, "failed")
    await host.turn("third", "3")
    of_first = await Activation.of(memory, await records.fork(ORG, first.record.id))
    assert [m.text for m in of_first.messages] == ["first", "1"]
    of_second = await Activation.of(memory, await records.fork(ORG, second.record.id))
    assert [m.text for m in of_second.messages] == ["first", "1", "second, while the first runs"]


async def test_a_turn_that_runs_cannot_be_forked(memory: ContextMemory, records: Records) -> None:
    host = await Activation.new(memory)
    running = await host.accept("one")
    await host.accept("two")
    with pytest.raises(Conflict) as refused:
        await records.continuation(ORG, running.record.id)
    assert refused.value.cause_code == "response_in_progress"


@pytest.mark.parametrize("bad", ["", "x" * 500, "nul\x00", "\ud800", "ünïcode", "a b\n"])
async def test_what_can_be_no_id_is_not_found(records: Records, bad: str) -> None:
    for asked in (
        records.session(SessionKey(ORG, bad)),
        records.items(SessionKey(ORG, bad)),
        records.item(new_key(), bad),
        records.response(ORG, bad),
        records.continuation(bad, bad),
    ):
        with pytest.raises(NotFound):
            await asked


# -- a copy that ends at an item --------------------------------------------------------------


async def test_a_copy_may_end_at_any_item(memory: ContextMemory, records: Records) -> None:
    key = new_key()
    await records.create_session(key, user="ann", metadata={"topic": "birds"})
    host = await Activation.of(memory, key)
    [gone, _] = await host.add("to be deleted", "to start with")
    first = await host.turn("one", "1")
    second = await host.turn("two", "2")
    await host.delete(gone.id)
    original, _ = await records.items(key, ascending=True)
    assert [m.text for m in original] == ["to start with", "one", "1", "two", "2"]
    followed = [None, None, first.record.id, first.record.id, second.record.id]
    for n, (item, last) in enumerate(zip(original, followed, strict=True), 1):
        row = await records.fork_at(key, item.id)
        assert row.key != key
        assert (row.user, row.metadata, row.last_response_id) == ("ann", {"topic": "birds"}, last)
        copied, _ = await records.items(row.key, ascending=True)
        assert [(m.position, m.id, m.text) for m in copied] == [
            (at, m.id, m.text) for at, m in enumerate(original[:n], 1)
        ]
    assert (await records.items(key, ascending=True))[0] == original


async def test_a_copy_goes_its_own_way(memory: ContextMemory, records: Records) -> None:
    host = await Activation.new(memory)
    turn = await host.turn("one", "1")
    row = await records.fork_at(host.key, turn.input[0].id, {"branch": "b"})
    assert row.metadata == {"branch": "b"}
    copy = await Activation.of(memory, row.key)
    assert [m.text for m in copy.messages] == ["one"]
    await copy.turn("two", "2")
    await host.turn("three", "3")
    said, _ = await records.items(row.key, ascending=True)
    assert [m.text for m in said] == ["one", "two", "2"]
    await memory.drop(host.key, host.epoch)
    assert (await records.items(row.key, ascending=True))[0] == said


async def test_while_a_turn_runs_a_copy_may_end_at_what_it_was_asked(
    memory: ContextMemory, records: Records
) -> None:
    host = await Activation.new(memory)
    running = await host.accept("one")
    row = await records.fork_at(host.key, running.input[0].id)
    assert [m.text for m in (await Activation.of(memory, row.key)).messages] == ["one"]


async def test_there_is_no_copy_of_nothing(memory: ContextMemory, records: Records) -> None:
    host, other = await Activation.new(memory), await Activation.new(memory)
    [item] = await other.add("elsewhere")
    for key, item_id, param in [
        (host.key, "msg_nowhere", "item_id"),
        (host.key, item.id, "item_id"),
        (new_key(), item.id, "conversation"),
    ]:
        with pytest.raises(NotFound) as missing:
            await records.fork_at(key, item_id)
        assert missing.value.param == param


async def test_a_copy_knows_what_was_summed_up_of_what_it_holds(
    memory: ContextMemory, records: Records
) -> None:
    host = await Activation.new(memory)
    [gone] = await host.add("to be deleted")
    turns = [await host.turn(str(n), f"answer {n}") for n in range(4)]
    await host.delete(gone.id)
    for turn, text in zip(turns, ("first", "first two", "first three"), strict=False):
        summary = Summary(f"The {text}.", turn.answer_position)
        await memory.keep_summary(host.key, host.epoch, summary, "gpt", Usage(9, 9))
    # The item's copy stands one place further ahead, and with it what was summed up.
    for turn, expected in [
        (turns[0], Summary("The first.", 2)),
        (turns[1], Summary("The first two.", 4)),
        (turns[3], Summary("The first three.", 6)),
    ]:
        row = await records.fork_at(host.key, turn.record.item_id)
        assert (await memory.activate(row.key)).summary == expected
    key = await records.fork(ORG, turns[1].record.id)
    state = await memory.activate(key)
    assert state.summary == Summary("The first two.", 4)
    row = await records.fork_at(host.key, turns[0].input[0].id)
    assert (await memory.activate(row.key)).summary is None
