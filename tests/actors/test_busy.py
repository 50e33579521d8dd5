"""A message that comes while a turn runs: it waits, ends that turn, or is refused."""

from __future__ import annotations

import asyncio

import pytest

from contracts.commands import InputItem, TurnRequest
from contracts.errors import Conflict, InvalidRequest, StoreUnavailable
from contracts.events import Event
from contracts.ids import RESPONSE, new_id
from gateway.link import Reader
from tests.actors.conftest import Stage, ask
from tests.support.runtime import OneHost, make_link, make_runtime


async def until_ended(reader: Reader, ends: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(30):
        while sum(event.kind == "ended" for event in events) < ends:
            events.extend(event for _, event in await reader.next())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return events


async def test_reject_refuses_and_keeps_nothing(stage: Stage) -> None:
    await stage.link.submit(stage.key, ask("q1"))
    with pytest.raises(Conflict) as caught:
        await stage.link.submit(stage.key, ask("q2", on_busy="reject"))
    assert caught.value.cause_code == "conversation_locked"
    assert [m.text for m in stage.memory.shelves[stage.key].messages] == ["q1"]


async def test_interrupt_ends_what_runs_and_all_that_waits(stage: Stage) -> None:
    reader = await stage.link.attach(stage.key)
    first = await stage.link.submit(stage.key, ask("q1"))
    stage.agent.say("half ")
    heard: list[Event] = []
    async with asyncio.timeout(30):
        while not any(event.kind == "delta" for event in heard):
            heard.extend(event for _, event in await reader.next())
    second = await stage.link.submit(stage.key, ask("q2"))
    third = await stage.link.submit(stage.key, ask("q3"))
    newest = await stage.link.submit(stage.key, ask("stop! q4", on_busy="interrupt"))
    stage.agent.answer("a4")
    async with asyncio.timeout(30):
        while sum(event.kind == "ended" for event in heard) < 4:
            heard.extend(event for _, event in await reader.next())
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
    ends = {event.response_id: event.data for event in heard if event.kind == "ended"}
    assert {name: end.status for name, end in ends.items()} == {
        first.response_id: "cancelled",
        second.response_id: "cancelled",
        third.response_id: "cancelled",
        newest.response_id: "completed",
    }
    texts = [m.text for m in stage.memory.shelves[stage.key].messages]
    assert texts == ["q1", "half ", "q2", "q3", "stop! q4", "a4"]
    # Its model knows all that was said, and what it was about to say when it was interrupted.
    shown = [m.text for m in stage.agent.requests[-1].messages]
    assert shown == ["q1", "half ", "q2", "q3", "stop! q4"]
    for response in (second, third):
        record = ends[response.response_id]
        own = [e for e in heard if e.response_id == record.id and e.kind != "accepted"]
        assert [event.kind for event in own] == ["started", "ended"]
        assert own[1].seq == own[0].seq + 1, "in one go, or the store could not tell them apart"


async def test_the_agents_own_habit_and_the_requests_word(stage: Stage) -> None:
    runtime = make_runtime(stage.memory, {"echo": stage.agent}, on_busy="reject")
    link = make_link(OneHost(runtime), "gw_2")
    reader = await link.attach(stage.key)
    await link.submit(stage.key, ask("q1"))
    with pytest.raises(Conflict):
        await link.submit(stage.key, ask("q2"))
    await link.submit(stage.key, ask("q3", on_busy="queue"))
    stage.agent.answer("a1")
    stage.agent.answer("a3")
    await until_ended(reader, 2)
    assert [m.text for m in stage.memory.shelves[stage.key].messages] == ["q1", "a1", "q3", "a3"]
    await link.close()
    await runtime.close()


def without_input(**fields: str) -> TurnRequest:
    return TurnRequest(new_id(RESPONSE), "echo", (), **fields)  # type: ignore[arg-type]


async def answered(stage: Stage, turn: TurnRequest, answer: str) -> list[Event]:
    stage.agent.answer(answer)
    _, reader = await stage.link.start(stage.key, turn)
    events: list[Event] = []
    async with asyncio.timeout(30):
        while not any(event.kind == "ended" for event in events):
            events.extend(event for _, event in await reader.next())
    reader.close()
    return events


def transcript(stage: Stage) -> list[str]:
    return [message.text for message in stage.memory.shelves[stage.key].messages]


async def test_without_input_what_stands_there_is_answered(stage: Stage) -> None:
    await stage.link.add_items(stage.key, (InputItem("user", "question"),))
    await answered(stage, without_input(), "the answer")
    assert transcript(stage) == ["question", "the answer"]
    assert [m.text for m in stage.agent.requests[0].messages] == ["question"]
    with pytest.raises(Conflict) as caught:
        await stage.link.submit(stage.key, without_input())
    assert (caught.value.param, caught.value.cause_code) == ("input", "nothing_to_answer")


async def test_an_empty_conversation_has_nothing_to_answer(stage: Stage) -> None:
    with pytest.raises(Conflict) as caught:
        await stage.link.submit(stage.key, without_input())
    assert caught.value.cause_code == "nothing_to_answer"
    assert stage.agent.requests == []


async def test_regenerate_replaces_the_last_answer(stage: Stage) -> None:
    await answered(stage, ask("q1"), "a1")
    first = ask("q2")
    await answered(stage, first, "bad")
    old = stage.memory.shelves[stage.key].messages[-1]
    events = await answered(stage, without_input(regenerate=first.response_id), "better")
    assert transcript(stage) == ["q1", "a1", "q2", "better"]
    assert [m.text for m in stage.agent.requests[-1].messages] == ["q1", "a1", "q2"]
    assert events[0].data["removed"] == old.id
    assert stage.memory.responses[first.response_id].text == "bad", "what was is on record"


async def test_only_the_last_response_can_be_answered_anew(stage: Stage) -> None:
    first, second = ask("q1"), ask("q2")
    await answered(stage, first, "a1")
    await answered(stage, second, "a2")
    for turn, error, param in (
        (without_input(regenerate=first.response_id), Conflict, "regenerate"),
        (ask("more", regenerate=second.response_id), InvalidRequest, "input"),
    ):
        with pytest.raises(error) as caught:
            await stage.link.submit(stage.key, turn)
        assert caught.value.param == param
    await stage.link.submit(stage.key, ask("q3"))
    with pytest.raises(Conflict) as caught:
        await stage.link.submit(stage.key, without_input(regenerate=second.response_id))
    assert transcript(stage) == ["q1", "a1", "q2", "a2", "q3"]


async def test_a_store_that_refuses_keeps_the_old_answer(stage: Stage) -> None:
    first = ask("q1")
    await answered(stage, first, "a1")
    stage.memory.broken = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await stage.link.submit(stage.key, without_input(regenerate=first.response_id))
    assert transcript(stage) == ["q1", "a1"]
    await answered(stage, without_input(regenerate=first.response_id), "again")
    assert transcript(stage) == ["q1", "again"]
