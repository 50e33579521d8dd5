"""A host dies in mid-answer: the client is led on by another, or told the truth; never left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.runtime import HostRuntime
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable, NotFound, TroupeError
from contracts.events import Event
from contracts.tasks import spawn
from gateway.follow import Follower
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


class FakeReader:
    """Gives what it is told, then fails."""

    def __init__(self, batches: list[list[Event]], error: TroupeError) -> None:
        self.key = SessionKey("org", "conv")
        self.batches = batches
        self.error = error
        self.closed = 0

    async def next(self) -> list[tuple[int, Event]]:
        if not self.batches:
            raise self.error
        return [(1, event) for event in self.batches.pop(0)]

    def close(self) -> None:
        self.closed += 1


class FakeLink:
    """Lets a reader attach once the tries before are used up."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    async def attach(self, key: SessionKey, *, response_id: str, number: int) -> Any:
        self.asked.append(number)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TroupeError):
            raise answer
        return answer


GONE = HostUnavailable("Gone.", retry_after=3)


def delta(number: int) -> Event:
    return Event(number + 1, "delta", "resp_1", number, "x")


def follow(link: Any, reader: Any, reattach_s: float | None = 5) -> Follower:
    return Follower(link, reader, "resp_1", number=-1, reattach_s=reattach_s)


async def test_a_follower_goes_on_after_the_last_number_it_was_given() -> None:
    other = Event(9, "delta", "resp_other", 7, "y")
    first = FakeReader([[delta(2), other], [other], [delta(5)]], GONE)
    second = FakeReader([[delta(6)]], GONE)
    link = FakeLink(GONE, second)
    follower = follow(link, first)
    assert [await follower.next() for _ in range(3)] == [[delta(2)], [delta(5)], [delta(6)]]
    assert link.asked == [5, 5], "the first delta is three API events wide: 2, 3 and 4"
    assert first.closed == 1
    follower.close()
    follower.close()
    assert second.closed == 1


async def test_a_follower_gives_up_in_time_and_says_when_to_come_back() -> None:
    follower = follow(FakeLink(GONE), FakeReader([], GONE), 0.15)
    with pytest.raises(HostUnavailable) as caught:
        await follower.next()
    assert (caught.value.cause_code, caught.value.retry_after) == ("stream_interrupted", 3)


async def test_a_follower_does_not_look_for_what_is_not_kept() -> None:
    link = FakeLink(FakeReader([[delta(2)]], GONE))
    with pytest.raises(HostUnavailable):
        await follow(link, FakeReader([], GONE), None).next()
    assert link.asked == []


async def test_a_follower_of_something_deleted_is_told_so() -> None:
    with pytest.raises(NotFound):
        await follow(FakeLink(NotFound("Gone.")), FakeReader([], GONE)).next()
