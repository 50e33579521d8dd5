"""A message that comes while a turn runs: it waits, ends that turn, or is refused."""

from __future__ import annotations

import asyncio

import pytest

from contracts.commands import TurnRequest
from contracts.errors import Conflict, InvalidRequest
from contracts.events import Event
from contracts.ids import RESPONSE, new_id
from gateway.link import Reader
from tests.actors.conftest import Stage, ask
from tests.support.runtime import OneHost, make_link, make_runtime


async def until_ended(reader: Reader, ends: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(5):
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
    async with asyncio.timeout(5):
        while not any(event.kind == "delta" for event in heard):
            heard.extend(event for _, event in await reader.next())
    second = await stage.link.submit(stage.key, ask("q2"))
    third = await stage.link.submit(stage.key, ask("q3"))
    newest = await stage.link.submit(stage.key, ask("stop! q4", on_busy="interrupt"))
    stage.agent.answer("a4")
    async with asyncio.timeout(5):
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


async def test_without_input_what_stands_there_is_answered(stage: Stage) -> None:
    stage.agent.say("half")
    _, reader = await stage.link.start(stage.key, ask("question"))
    await stage.link.cancel(stage.key)
    reader.close()
    nothing = TurnRequest(new_id(RESPONSE), "echo", ())
    shelf = stage.memory.shelves[stage.key]
    if shelf.messages[-1].role == "assistant":
        with pytest.raises(InvalidRequest) as caught:
            await stage.link.submit(stage.key, nothing)
        assert (caught.value.param, caught.value.cause_code) == ("input", "nothing_to_answer")
        await stage.link.delete_item(stage.key, shelf.messages[-1].id)
    while not stage.agent.said.empty():
        stage.agent.said.get_nowait()
    stage.agent.answer("the answer")
    again = TurnRequest(new_id(RESPONSE), "echo", ())
    reader = await stage.link.attach(stage.key)
    await stage.link.submit(stage.key, again)
    async with asyncio.timeout(5):
        while "ended" not in [event.kind for _, event in await reader.next()]:
            pass
    assert [m.text for m in shelf.messages] == ["question", "the answer"]
