"""A host is lost in mid-answer: another goes on, and every client is told where to cut its copy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from contracts.events import LEG_NUMBERS
from contracts.tasks import spawn
from tests.gateway.house import House, eventually
from tests.support.runtime import ScriptedAgent, make_runtime


@asynccontextmanager
async def taken_over(house: House) -> AsyncIterator[ScriptedAgent]:
    """Another host takes the sessions over; the first lives on, cut off, and does not know."""
    agent = ScriptedAgent()
    heir = make_runtime(house.memory, {"echo": agent, "other": agent})  # type: ignore[arg-type]
    house.hosts.put(heir)
    await house.break_pipes()
    yield agent
    await house.link.close()
    await heir.close()


async def test_a_stream_goes_on_at_another_host(house: House) -> None:
    house.agent.say("one ")
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    async with taken_over(house) as agent:
        agent.answer("two")
        seen += [event async for event in stream]
        text = ""
        for event in seen:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.resumed":
                text = text[: event.position]
        assert text == seen[-1].response.output_text == "one two"
        assert [event.type for event in seen].count("response.resumed") == 1
        rest = [
            event.model_dump()
            async for event in await house.client.responses.retrieve(
                seen[0].response.id, stream=True, starting_after=4
            )
        ]
    assert rest == [event.model_dump() for event in seen[5:]]
    assert rest[0]["sequence_number"] == 16 * LEG_NUMBERS


async def test_a_socket_goes_on_at_another_host_and_stays_open(house: House) -> None:
    conversation = await house.client.conversations.create()
    url = house.url.replace("http", "ws")
    async with connect(f"{url}/v1/conversations/{conversation.id}/ws") as socket:
        await socket.send(json.dumps({"type": "session.open"}))
        house.agent.say("one ")
        create = {"type": "response.create", "id": "c1", "input": "hi", "model": "echo"}
        await socket.send(json.dumps(create))
        frames: list[dict[str, Any]] = [json.loads(await socket.recv())]
        while frames[-1]["type"] != "response.output_text.delta":
            frames.append(json.loads(await socket.recv()))
        async with taken_over(house) as agent:
            agent.answer("two")
            while frames[-1]["type"] != "response.completed":
                frames.append(json.loads(await socket.recv()))
    text = ""
    for frame in frames:
        text += frame.get("delta", "")
        text = text[: frame.get("position")]
    assert text == frames[-1]["response"]["output"][0]["content"][0]["text"] == "one two"
    assert [frame["seq"] for frame in frames] == list(range(frames[0]["seq"], len(frames)))
    assert "session.opened" not in [frame["type"] for frame in frames[1:]]


async def test_whoever_waits_for_the_whole_gets_it(house: House) -> None:
    waiting = spawn(house.client.responses.create(model="echo", input="hi"), name="waiting")
    await eventually(lambda: house.readers() == 1 and house.calls() == 0)
    async with taken_over(house) as agent:
        agent.answer("at last")
        assert (await waiting).output_text == "at last"


async def test_a_look_at_a_response_wakes_what_a_lost_host_left_open(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    async with taken_over(house) as agent:
        await house.client.responses.retrieve(running.id)
        agent.answer("done")
        await eventually(lambda: house.status(running.id), "completed")
        assert (await house.client.responses.cancel(running.id)).output_text == "done"


async def test_a_look_while_no_host_is_up_shows_what_the_store_has(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    house.hosts.up = False
    await house.break_pipes()
    await eventually(lambda: house.hosts.suspected != [])
    assert (await house.client.responses.retrieve(running.id)).status == "queued"
    house.agent.answer("done")
