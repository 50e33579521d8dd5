"""A host dies in mid-answer: the client is led on by another, or told the truth; never left."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.runtime import HostRuntime
from contracts.tasks import spawn
from tests.gateway.house import House, eventually
from tests.support.runtime import make_runtime


async def take_over(house: House) -> HostRuntime:
    """Another host takes the sessions over; the first lives on, cut off, and does not know."""
    heir = make_runtime(house.memory, {"echo": house.agent, "other": house.other})  # type: ignore[arg-type]
    house.hosts.put(heir)
    await house.break_pipes()
    return heir


async def test_a_stream_is_told_the_end_that_the_store_knows(house: House) -> None:
    house.agent.say("one ")
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    seen: list[Any] = []
    heir = None
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            heir = await take_over(house)
    assert heir is not None
    # What the lost host had said was nowhere but on the screen: the client is told to cut it.
    assert seen[-1].type == "response.failed"
    assert seen[-1].response.output == []
    stored = await house.client.responses.retrieve(seen[0].response.id)
    assert stored.model_dump() == seen[-1].response.model_dump()
    rest = [
        event
        async for event in await house.client.responses.retrieve(
            stored.id, stream=True, starting_after=4
        )
    ]
    assert [event.type for event in rest] == ["response.failed"]
    house.agent.answer("never mind")
    await heir.close()


async def test_whoever_waits_for_the_whole_is_told_as_well(house: House) -> None:
    waiting = spawn(house.client.responses.create(model="echo", input="hi"), name="waiting")
    await eventually(lambda: house.readers() == 1 and house.calls() == 0)
    heir = await take_over(house)
    async with asyncio.timeout(10):
        response = await waiting
    assert response.status == "failed"
    assert response.error is not None
    house.agent.answer("never mind")
    await heir.close()


async def test_a_look_at_a_response_settles_what_a_lost_host_left_open(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    heir = await take_over(house)
    assert (await house.client.responses.retrieve(running.id)).status == "failed"
    assert (await house.client.responses.cancel(running.id)).status == "failed"
    house.agent.answer("never mind")
    await heir.close()


async def test_a_look_while_no_host_is_up_shows_what_the_store_has(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    house.hosts.up = False
    await house.break_pipes()
    await eventually(lambda: house.hosts.suspected != [])
    assert (await house.client.responses.retrieve(running.id)).status == "queued"
    house.agent.answer("done")
