"""A session end to end, without Ray, stores and models: what each reader hears, and when."""

from __future__ import annotations

import asyncio

import pytest

from contracts.agents import End
from contracts.commands import InputItem
from contracts.errors import (
    Busy,
    Conflict,
    HostUnavailable,
    NotFound,
    ProviderRateLimited,
    ProviderRejected,
    StoreUnavailable,
    TroupeError,
    UnknownModel,
)
from contracts.events import Cursor, Event
from gateway.link import Reader
from tests.actors.conftest import Stage, ask
from tests.support.runtime import OneHost, make_link, make_runtime


async def until_ended(reader: Reader, ends: int = 1) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(30):
        while sum(event.kind == "ended" for event in events) < ends:
            events.extend(event for _, event in await reader.next())
    return events


def text_of(events: list[Event]) -> str:
    return "".join(event.data for event in events if event.kind == "delta")


async def test_a_turn_is_accepted_started_streamed_and_ended(stage: Stage) -> None:
    stage.agent.answer("Hel", "lo")
    accepted, reader = await stage.link.start(stage.key, ask("hi", client_id="c1"))
    events = await until_ended(reader)
    assert [event.kind for event in events if event.kind != "delta"] == [
        "accepted",
        "started",
        "ended",
    ]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == "Hello"
    ended = events[-1].data
    assert (ended.id, ended.status, ended.text) == (accepted.response_id, "completed", "Hello")
    assert ended.usage.output_tokens == 2
    assert [m.text for m in stage.memory.shelves[stage.key].messages] == ["hi", "Hello"]


async def test_the_model_is_shown_what_was_said_before(stage: Stage) -> None:
    for text in ("one", "two"):
        stage.agent.answer(f"re:{text}")
        _, reader = await stage.link.start(stage.key, ask(text))
        await until_ended(reader)
        reader.close()
    assert [(m.role, m.text) for m in stage.agent.requests[1].messages] == [
        ("user", "one"),
        ("assistant", "re:one"),
        ("user", "two"),
    ]
    assert stage.agent.requests[1].instructions == "Be brief."


async def test_nothing_is_heard_before_the_input_is_durable(stage: Stage) -> None:
    stage.memory.gate.clear()
    stage.agent.answer("early")
    reader = await stage.link.attach(stage.key)
    submitting = asyncio.ensure_future(stage.link.submit(stage.key, ask()))
    while not stage.agent.closed:
        await asyncio.sleep(0)
    listening = asyncio.ensure_future(reader.next())
    done, _ = await asyncio.wait([submitting, listening], timeout=0.1)
    assert not done, "the model has answered in full, yet the store has not: nobody may know"
    stage.memory.gate.set()
    await submitting
    events = [event for _, event in await listening]
    assert [event.kind for event in events[:2]] == ["accepted", "started"]
    assert events[1].data.status == "in_progress"
    while events[-1].kind != "ended":
        events += [event for _, event in await reader.next()]
    assert (events[-1].data.status, events[-1].data.text) == ("completed", "early")


async def test_a_refused_write_leaves_no_trace_and_stops_the_model(stage: Stage) -> None:
    stage.memory.broken = [StoreUnavailable("away")]
    reader = await stage.link.attach(stage.key)
    with pytest.raises(StoreUnavailable):
        await stage.link.submit(stage.key, ask())
    assert stage.agent.open == 0
    stage.agent.answer("fine")
    await stage.link.submit(stage.key, ask("again"))
    events = await until_ended(reader)
    assert events[0].seq == 1
    assert [m.text for m in stage.memory.shelves[stage.key].messages] == ["again", "fine"]


async def test_a_client_id_is_taken_once(stage: Stage) -> None:
    stage.agent.answer("a")
    accepted, reader = await stage.link.start(stage.key, ask(client_id="same"))
    await until_ended(reader)
    with pytest.raises(Conflict) as caught:
        await stage.link.submit(stage.key, ask(client_id="same"))
    assert caught.value.details["response_id"] == accepted.response_id
    assert len(stage.memory.shelves[stage.key].messages) == 2


async def test_turns_queue_and_keep_their_order_in_the_transcript(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    first = await stage.link.submit(stage.key, ask("q1"))
    second = await stage.link.submit(stage.key, ask("q2"))
    stage.agent.answer("a1")
    stage.agent.answer("a2")
    events = await until_ended(reader, 2)
    ends = [event.response_id for event in events if event.kind == "ended"]
    assert ends == [first.response_id, second.response_id]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    shelf = stage.memory.shelves[stage.key]
    assert [m.text for m in shelf.messages] == ["q1", "a1", "q2", "a2"]
    # The second turn's model saw the first one's answer, and nothing after its own question.
    assert [m.text for m in stage.agent.requests[1].messages] == ["q1", "a1", "q2"]


async def test_a_full_mailbox_refuses_and_keeps_nothing(stage: Stage) -> None:
    for n in range(3):
        await stage.link.submit(stage.key, ask(f"q{n}"))
    with pytest.raises(Busy) as caught:
        await stage.link.submit(stage.key, ask("too many"))
    assert caught.value.cause_code == "mailbox_full"
    texts = [m.text for m in stage.memory.shelves[stage.key].messages]
    assert texts == ["q0", "q1", "q2"]


async def test_cancel_keeps_what_was_said(stage: Stage) -> None:
    stage.agent.say("partial")
    _, reader = await stage.link.start(stage.key, ask())
    events: list[Event] = []
    while not text_of(events):
        events.extend(event for _, event in await reader.next())
    record = await stage.link.cancel(stage.key)
    events += await until_ended(reader)
    assert record.status == "cancelled"
    assert text_of(events) == record.text == "partial"
    assert stage.agent.open == 0
    assert [m.text for m in stage.memory.shelves[stage.key].messages] == ["hello", "partial"]


async def test_a_waiting_turn_can_be_cancelled(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    await stage.link.submit(stage.key, ask("q1"))
    waiting = await stage.link.submit(stage.key, ask("q2"))
    record = await stage.link.cancel(stage.key, waiting.response_id)
    assert record.status == "cancelled"
    stage.agent.answer("a1")
    events = await until_ended(reader, 2)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(stage.agent.requests) == 1


async def test_cancel_before_the_first_step(stage: Stage) -> None:
    accepted, reader = await stage.link.start(stage.key, ask())
    record = await stage.link.cancel(stage.key, accepted.response_id)
    assert record.status == "cancelled"
    assert (await until_ended(reader))[-1].data.status == "cancelled"


async def test_cancel_of_nothing(stage: Stage) -> None:
    with pytest.raises(NotFound):
        await stage.link.cancel(stage.key, "resp_nobody")


async def test_a_provider_error_before_the_first_token_is_tried_again(stage: Stage) -> None:
    stage.agent.say(ProviderRateLimited("slow down", retry_after=0.001))
    stage.agent.answer("ok")
    _, reader = await stage.link.start(stage.key, ask())
    assert (await until_ended(reader))[-1].data.status == "completed"
    assert len(stage.agent.requests) == 2


@pytest.mark.parametrize(
    ("said", "error", "requests"),
    [
        ([], ProviderRejected("no"), 1),
        (["one "], ProviderRejected("no"), 1),
    ],
)
async def test_a_provider_error_that_must_not_be_retried(
    stage: Stage, said: list[str], error: TroupeError, requests: int
) -> None:
    stage.agent.say(*said, error)  # type: ignore[arg-type]
    _, reader = await stage.link.start(stage.key, ask())
    events = await until_ended(reader)
    record = events[-1].data
    assert record.status == "failed"
    assert record.error["code"] == error.cause_code
    assert text_of(events) == record.text == "".join(said)
    assert len(stage.agent.requests) == requests


async def test_length_and_filter_end_as_incomplete(stage: Stage) -> None:
    for reason, shown in (("length", "max_output_tokens"), ("content_filter", "content_filter")):
        stage.agent.say("x", End(reason, None))  # type: ignore[arg-type]
        _, reader = await stage.link.start(stage.key, ask())
        record = (await until_ended(reader))[-1].data
        assert (record.status, record.incomplete_reason) == ("incomplete", shown)
        reader.close()


async def test_an_unknown_agent_is_refused_before_anything_is_kept(stage: Stage) -> None:
    turn = ask()
    with pytest.raises(UnknownModel):
        await stage.link.submit(stage.key, type(turn)(turn.response_id, "nobody", turn.input))
    assert stage.memory.shelves[stage.key].messages == []


async def test_an_unknown_conversation(stage: Stage) -> None:
    key = stage.key._replace(session_id="conv_none")
    with pytest.raises(NotFound):
        await stage.link.attach(key)
    assert stage.runtime.load() == 0


async def test_every_cursor_gets_exactly_what_it_missed(stage: Stage) -> None:
    stage.agent.answer(*"abcdefgh")
    _, reader = await stage.link.start(stage.key, ask())
    events = await until_ended(reader)
    for seen in range(len(events) + 1):
        late = await stage.link.attach(stage.key, after=Cursor(1, seen))
        assert late.attached.recovered
        replayed = [event for _, event in await late.next()] if seen < len(events) else []
        assert replayed == events[seen:]
        late.close()


async def test_a_device_that_joins_in_mid_answer_misses_nothing(stage: Stage) -> None:
    stage.agent.say("one ")
    accepted, first = await stage.link.start(stage.key, ask())
    heard: list[Event] = []
    while not text_of(heard):
        heard.extend(event for _, event in await first.next())
    second = await stage.link.attach(stage.key, response_id=accepted.response_id)
    stage.agent.answer("two ", "three")
    heard += await until_ended(first)
    joined = await until_ended(second)
    assert text_of(joined) == text_of(heard) == "one two three"


async def test_a_cursor_that_cannot_be_honoured_gets_a_snapshot(stage: Stage) -> None:
    stage.agent.say("running ")
    _, reader = await stage.link.start(stage.key, ask("question"))
    heard: list[Event] = []
    while not text_of(heard):
        heard.extend(event for _, event in await reader.next())
    late = await stage.link.attach(stage.key, after=Cursor(1, 99))
    assert not late.attached.recovered
    assert [m.text for m in late.attached.snapshot or ()] == ["question"]
    stage.agent.answer("on")
    events = await until_ended(late)
    assert events[0].kind == "started"
    assert text_of(events) == "running on"


async def test_an_ended_response_is_read_from_the_store(stage: Stage) -> None:
    stage.agent.answer("a", "b")
    accepted, reader = await stage.link.start(stage.key, ask())
    events = await until_ended(reader)
    reader.close()
    fresh = make_runtime(stage.memory, {"echo": stage.agent})
    link = make_link(OneHost(fresh), "gw_2")
    late = await link.attach(stage.key, response_id=accepted.response_id)
    replayed = [event for _, event in await late.next()]
    assert replayed[1:] == events[2:]
    assert replayed[0].seq == events[1].seq
    await link.close()
    await fresh.close()


async def test_the_older_of_two_activations_stops(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    other = make_runtime(stage.memory, {"echo": stage.agent})
    link = make_link(OneHost(other), "gw_2")
    taken = await link.attach(stage.key)
    stage.agent.answer("from the new one")
    # The first host does not know yet; its write is refused, it stops, and the caller's second
    # try activates the session again, which in turn deposes the other. The reader follows.
    accepted = await stage.link.submit(stage.key, ask())
    assert accepted is not None
    assert accepted.epoch == 3
    assert text_of(await until_ended(reader)) == "from the new one"
    assert len(stage.memory.shelves[stage.key].messages) >= 1
    taken.close()
    await link.close()
    await other.close()


async def test_an_end_that_the_store_refuses_for_a_while_is_kept_in_the_end(stage: Stage) -> None:
    stage.agent.say("x")
    _, reader = await stage.link.start(stage.key, ask())
    stage.memory.broken = [StoreUnavailable("away"), StoreUnavailable("away")]
    stage.agent.answer("y")
    record = (await until_ended(reader))[-1].data
    assert record.status == "completed"
    assert stage.memory.shelves[stage.key].messages[-1].text == "xy"


async def test_an_end_that_cannot_be_kept_is_told(stage: Stage) -> None:
    stage.agent.say("x")
    _, reader = await stage.link.start(stage.key, ask())
    stage.memory.broken = [StoreUnavailable("away")] * 3
    stage.agent.answer("y")
    record = (await until_ended(reader))[-1].data
    assert record.status == "failed"
    assert record.error["code"] == "store_unavailable"


async def test_items_are_added_and_deleted_between_turns(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    items = await stage.link.add_items(stage.key, (InputItem("system", "Speak Latin."),))
    assert [event.kind for _, event in await reader.next()] == ["item"]
    await stage.link.delete_item(stage.key, items[0].id)
    with pytest.raises(NotFound):
        await stage.link.delete_item(stage.key, items[0].id)
    await stage.link.submit(stage.key, ask())
    with pytest.raises(Conflict) as caught:
        await stage.link.add_items(stage.key, (InputItem("user", "now"),))
    assert caught.value.cause_code == "conversation_locked"


async def test_a_dropped_session_is_gone_for_its_readers(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    await stage.link.drop(stage.key)
    with pytest.raises(TroupeError):
        await reader.next()
    with pytest.raises(NotFound):
        await stage.link.attach(stage.key)
    assert stage.runtime.load() == 0


async def test_a_stateless_session_leaves_nothing_behind(stage: Stage) -> None:
    key = stage.key._replace(session_id="chat_1")
    stage.agent.answer("hello")
    _, reader = await stage.link.start(key, ask(stateless=True))
    assert text_of(await until_ended(reader)) == "hello"
    reader.close()
    async with asyncio.timeout(30):
        while stage.runtime.load():
            await asyncio.sleep(0.001)
    assert stage.memory.responses == {}


async def test_a_slow_reader_is_cut_and_comes_back_by_cursor(stage: Stage) -> None:
    link = make_link(stage.host, "gw_slow", reader_events=5)
    slow = await link.attach(stage.key)
    _, quick = await stage.link.start(stage.key, ask())
    heard: list[Event] = []
    for n in range(10):
        stage.agent.say(f"{n} ")
        while not text_of(heard).endswith(f"{n} "):
            heard.extend(event for _, event in await quick.next())
    stage.agent.answer()
    heard += await until_ended(quick)
    seen: list[Event] = []
    with pytest.raises(Busy) as caught:
        while True:
            seen.extend(event for _, event in await slow.next())
    assert caught.value.cause_code == "slow_reader"
    slow.close()
    again = await link.attach(stage.key, after=Cursor(1, seen[-1].seq if seen else 0))
    assert [*seen, *(await until_ended(again))] == heard
    await link.close()


async def test_a_host_that_goes_silent_is_given_up(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    for outlet in list(stage.runtime._outlets.values()):
        outlet.close()
    async with asyncio.timeout(30):
        while not stage.host.suspected:
            await asyncio.sleep(0.001)
    # A new line is opened, by which the reader goes on.
    stage.agent.answer("still here")
    await stage.link.submit(stage.key, ask())
    assert text_of(await until_ended(reader)) == "still here"
    assert stage.memory.shelves[stage.key].epoch == 1


async def test_a_stateless_turn_ends_with_its_host(stage: Stage) -> None:
    stage.agent.say("half ")
    key = stage.key._replace(session_id="chat_1")
    _, reader = await stage.link.start(key, ask(stateless=True), lasting=False)
    heard: list[Event] = []
    while not text_of(heard):
        heard.extend(event for _, event in await reader.next())
    await stage.runtime.close()
    assert (stage.agent.open, stage.runtime.load()) == (0, 0)
    try:
        events = await until_ended(reader)
    except HostUnavailable:
        return  # the line was closed before its last words were on it
    assert (events[-1].data.status, events[-1].data.error["code"]) == ("failed", "host_shutdown")


async def test_what_no_store_can_hold_is_taken_out_before_anybody_counts_it(stage: Stage) -> None:
    stage.agent.answer("a\x00b", "\x00", "c")
    _, reader = await stage.link.start(stage.key, ask())
    events = await until_ended(reader)
    record = events[-1].data
    assert text_of(events) == record.text == "abc"
    assert sum(record.cuts) == 3
    assert 0 not in record.cuts


async def test_a_deletion_that_the_store_refuses_leaves_the_turn_to_go_on(stage: Stage) -> None:
    stage.agent.say("half ")
    accepted, reader = await stage.link.start(stage.key, ask())
    heard: list[Event] = []
    while not text_of(heard):
        heard.extend(event for _, event in await reader.next())
    stage.memory.broken = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await stage.link.drop(stage.key)
    stage.agent.answer("whole")
    heard += await until_ended(reader)
    assert (heard[-1].data.id, heard[-1].data.text) == (accepted.response_id, "half whole")
    stage.agent.answer("again")
    await stage.link.submit(stage.key, ask("next"))
    assert (await until_ended(reader))[-1].data.text == "again"
