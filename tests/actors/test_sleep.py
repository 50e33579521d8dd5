"""Sessions that fall asleep, wake, and leave a host that drains."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.runtime import HostRuntime
from contracts.commands import (
    Attach,
    AwaitWake,
    EventBatch,
    Moved,
    Parcel,
    Reply,
    SessionKey,
    Slept,
    Submit,
    Woke,
)
from contracts.errors import Deposed
from contracts.events import Cursor
from contracts.tasks import spawn
from tests.actors.conftest import ask
from tests.support.runtime import LIMITS, ScriptedAgent, UnitMemory, make_runtime


class Pipe:
    """A gateway's pipe, read by hand."""

    def __init__(self, runtime: HostRuntime, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self.said: list[Any] = []
        self._task = spawn(self._read(), name=name)

    async def _read(self) -> None:
        async for data in self.runtime.pipe(self.name):
            parcel: Parcel = pickle.loads(data)
            self.said.extend(parcel)

    async def send(self, *commands: Any) -> None:
        await self.runtime.submit(self.name, list(commands))

    async def until(self, kind: type[Any], count: int = 1) -> list[Any]:
        async with asyncio.timeout(30):
            while len(found := [item for item in self.said if isinstance(item, kind)]) < count:
                await asyncio.sleep(0.001)
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Inn:
    def __init__(self) -> None:
        self.memory = UnitMemory()
        self.agent = ScriptedAgent()
        self.clock = Clock()
        limits = type(LIMITS)(**{**_fields(LIMITS), "sweep_s": 0.002, "idle_s": 60, "sessions": 2})
        self.runtime = make_runtime(
            self.memory, {"echo": self.agent}, limits=limits, clock=self.clock
        )
        self.key = self.memory.create()


def _fields(limits: Any) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in limits.__dataclass_fields__}


@pytest.fixture
async def inn() -> AsyncIterator[Inn]:
    inn = Inn()
    yield inn
    await inn.runtime.close()


async def piped(runtime: HostRuntime, name: str) -> Pipe:
    pipe = Pipe(runtime, name)
    async with asyncio.timeout(30):
        while name not in runtime._outlets:
            await asyncio.sleep(0)
    return pipe


async def test_an_idle_session_sleeps_although_it_is_read(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    await pipe.send(Attach(1, inn.key))
    await pipe.until(Reply)
    assert inn.runtime.claims() == {inn.key: 1}
    inn.clock.now += 61
    assert await pipe.until(Slept) == [Slept(inn.key)]
    assert (inn.runtime.load(), inn.runtime.claims()) == (0, {})
    assert not any(isinstance(item, Moved) for item in pipe.said)


async def test_a_wake_is_told_to_every_gateway(inn: Inn) -> None:
    first, second = await piped(inn.runtime, "gw_1"), await piped(inn.runtime, "gw_2")
    await first.send(Attach(1, inn.key))
    assert await second.until(Woke) == [Woke(inn.key)]


async def test_a_gateway_that_comes_late_asks_for_those_it_waits_for(inn: Inn) -> None:
    asleep = inn.memory.create("conv_2")
    pipe = await piped(inn.runtime, "gw_1")
    await pipe.send(Attach(1, inn.key))
    await pipe.until(Reply)
    late = await piped(inn.runtime, "gw_2")
    await late.send(AwaitWake(1, asleep), AwaitWake(2, inn.key))
    assert await late.until(Woke) == [Woke(inn.key)]
    assert inn.runtime.load() == 1, "waiting for a session does not wake it"


async def test_a_sleeper_comes_back_by_cursor_without_a_question_to_the_store(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    inn.agent.answer("hi")
    await pipe.send(Attach(1, inn.key), Submit(2, inn.key, ask()))
    async with asyncio.timeout(30):
        while not any(
            event.kind == "ended"
            for batch in await pipe.until(EventBatch)
            for event in batch.events
        ):
            await asyncio.sleep(0.001)
    last = (await pipe.until(EventBatch))[-1]
    inn.clock.now += 61
    await pipe.until(Slept)
    cursor = Cursor(last.epoch, last.events[-1].seq)
    await pipe.send(Attach(3, inn.key, cursor))
    attached = (await pipe.until(Reply, 3))[-1].value
    assert (attached.recovered, attached.events, attached.epoch) == (True, (), 2)
    assert inn.memory.asked_events == 0


async def test_a_full_host_sends_the_longest_idle_to_sleep(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    others = [inn.memory.create(f"conv_{n}") for n in (2, 3)]
    await pipe.send(Attach(1, inn.key))
    await pipe.until(Reply)
    inn.clock.now += 1
    await pipe.send(Attach(2, others[0]))
    await pipe.until(Reply, 2)
    await pipe.send(Attach(3, others[1]))
    assert await pipe.until(Slept) == [Slept(inn.key)]
    assert (await pipe.until(Reply, 3))[-1].error is None


async def test_a_drain_lets_idle_ones_go_and_waits_for_the_running(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    busy = inn.memory.create("conv_2")
    await pipe.send(Attach(1, inn.key), Attach(2, busy), Submit(3, busy, ask()))
    await pipe.until(Reply, 3)
    draining = spawn(inn.runtime.drain(60), name="drain")
    assert await pipe.until(Slept) == [Slept(inn.key)]
    assert inn.runtime.load() == 1
    await pipe.send(Attach(4, inn.key))
    assert isinstance((await pipe.until(Reply, 4))[-1].error, Deposed)
    inn.agent.answer("done")
    assert [slept.key for slept in await pipe.until(Slept, 2)] == [inn.key, busy]
    await draining
    assert [m.text for m in inn.memory.shelves[busy].messages] == ["hello", "done"]


async def test_at_the_deadline_a_turn_is_left_open_for_the_next_activation(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    await pipe.send(Attach(1, inn.key), Submit(2, inn.key, ask()))
    inn.agent.say("half ")
    async with asyncio.timeout(30):
        while not any(
            event.kind == "delta"
            for batch in await pipe.until(EventBatch)
            for event in batch.events
        ):
            await asyncio.sleep(0.001)
    await inn.runtime.drain(0)
    assert await pipe.until(Moved) == [Moved(inn.key)]
    assert inn.runtime.load() == 0
    (record,) = inn.memory.responses.values()
    assert record.status == "queued", "nobody has ended it"
    heir = make_runtime(inn.memory, {"echo": inn.agent})
    heir.adopt([inn.key])
    inn.agent.answer("whole")
    async with asyncio.timeout(30):
        while inn.memory.responses[record.id].status != "completed":
            await asyncio.sleep(0.001)
    assert inn.memory.responses[record.id].text == "half whole"
    await heir.close()


async def test_a_deposed_session_tells_its_readers(inn: Inn) -> None:
    pipe = await piped(inn.runtime, "gw_1")
    await pipe.send(Attach(1, inn.key))
    await pipe.until(Reply)
    await inn.runtime.depose([inn.key, SessionKey("org_default", "conv_elsewhere")])
    assert await pipe.until(Moved) == [Moved(inn.key)]
    assert inn.runtime.load() == 0
