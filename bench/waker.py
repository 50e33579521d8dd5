"""A host that wakes sessions, in a process of its own: how long until a session is ready.

The one module of the bench that uses Troupe's own code, since what it measures happens inside a
host: the command comes in, the session is activated, the answer leaves. Stores, settings and
drivers are those of the running instance whose checkout and port it is given; Ray is not asked.

It takes commands as `load` does, and answers each:

    {"do": "tell", "sessions": 500, "messages": 20}       new ones, each with so many messages
    {"do": "alone", "source": "Redis", "count": 100}      wake them one at a time
    {"do": "together", "source": "Redis", "begin": T}     wake all at once, at CLOCK_MONOTONIC T
    {"do": "forget"}                                      empty Redis: they wake from Postgres alone

        -> {"ms": [...], "bare_ms": [...], "Postgres": 2, "Redis": 1}, where something woke

A wake is counted from the gateway's `Attach`, with the cursor at which its reader fell asleep,
until the answer has left the host. From the source "memory" it is of sessions that the wake before
has left there. `bare_ms` are as many round trips of the same drivers that do nothing, one after
the other to Postgres, at the same time one after the other to Redis; how many is counted where the
drivers send. For sessions that wake together both are of all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import uvloop
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from actors.host import runtime_of
from config.load import load
from config.settings import Settings
from config.stores import memory_of
from context.memory import ContextMemory
from context.postgres import Postgres
from contracts.collector import settle
from contracts.commands import Attach, Attached, InputItem, Reply, SessionKey
from contracts.events import Cursor
from contracts.ids import MESSAGE, SESSION, new_id
from contracts.messages import Message
from contracts.tasks import spawn, stop
from launcher.places import Places
from launcher.servers import urls

GATEWAY = "gw_bench"
_CHARS = 400
_APART_S = 0.015
"""Between two that wake alone: an outlet leaves at most every 10 ms, and neither shall wait."""
_CREATES_AT_ONCE = 16
_WARM = 32


class Trips:
    """Counts what the drivers send: each use of a connection to Postgres, each send to Redis."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        connection, send = Postgres.connection, AbstractConnection.send_packed_command

        def counted_connection(*args: Any, **words: Any) -> Any:
            self.count["Postgres"] += 1
            return connection(*args, **words)

        async def counted_send(*args: Any, **words: Any) -> Any:
            self.count["Redis"] += 1
            return await send(*args, **words)

        Postgres.connection = counted_connection
        AbstractConnection.send_packed_command = counted_send


class Host:
    """A host's plain runtime, and what its one gateway hears. It holds no session at first.

    Args:
        cursors: Where each session's reader stands; kept up to date.
    """

    def __init__(
        self, settings: Settings, memory: ContextMemory, cursors: dict[SessionKey, Cursor]
    ) -> None:
        self._runtime = runtime_of(new_id("host"), settings, memory)
        self._cursors = cursors
        self._calls = itertools.count(1)
        self._asked: dict[int, SessionKey] = {}
        self._began = 0.0
        self._ms: list[float] = []
        self._all: asyncio.Future[None] | None = None
        self._listening = spawn(self._listen(), name="bench-gateway", on_error=self._broken)

    async def attach(self, keys: Sequence[SessionKey]) -> list[float]:
        """Attach to all of them at once; after how many ms each answered."""
        calls = dict(zip(self._calls, keys, strict=False))
        commands: list[Any] = [
            Attach(call, key, after=self._cursors[key]) for call, key in calls.items()
        ]
        self._asked, self._ms = calls, []
        self._all = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        await self._runtime.submit(GATEWAY, commands)
        await self._all
        return self._ms

    async def _listen(self) -> None:
        async with aclosing(self._runtime.pipe(GATEWAY)) as parcels:  # type: ignore[type-var]
            async for parcel in parcels:
                self._hear(parcel, (time.perf_counter() - self._began) * 1000)

    def _hear(self, parcel: bytes, ms: float) -> None:
        for item in pickle.loads(parcel):
            if not isinstance(item, Reply):
                continue
            key = self._asked.pop(item.call)
            if item.error is not None:
                raise item.error
            attached: Attached = item.value
            if not attached.recovered:
                raise RuntimeError(f"the cursor of {key.session_id} was not honoured")
            self._cursors[key] = Cursor(attached.epoch, attached.seq)
            self._ms.append(ms)
        if not self._asked and self._all is not None and not self._all.done():
            self._all.set_result(None)

    def _broken(self, error: BaseException) -> None:
        if self._all is not None and not self._all.done():
            self._all.set_exception(error)

    async def close(self) -> None:
        await self._runtime.close()
        await stop(self._listening)


class Waker:
    """Wakes the same sessions again and again, each time in a host that does not have them."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._memory = memory_of(settings)
        self._postgres = postgres_of(settings)
        self._redis = redis
        self._trips = Trips()
        self._cursors: dict[SessionKey, Cursor] = {}
        self._host: Host | None = None

    async def open(self) -> None:
        await self._memory.open(migrations=False)
        await self._postgres.open()

    async def aclose(self) -> None:
        if self._host is not None:
            await self._host.close()
        await self._postgres.aclose()
        await self._memory.aclose()

    async def tell(self, sessions: int, messages: int) -> dict[str, Any]:
        """Make the sessions, and have connections opened and statements prepared."""
        self._cursors = await told(self._settings, self._memory, sessions, messages)
        await self._memory.hot_copies_written()
        host = await self._fresh()
        await host.attach(list(self._cursors)[:_WARM])
        await asyncio.gather(*(self._bare(2, 2) for _ in range(_WARM)))
        settle()
        return {}

    async def alone(self, source: str, count: int) -> dict[str, Any]:
        """One at a time."""
        host = await self._ready(source)
        woken: list[float] = []
        bare: list[float] = []
        trips: Counter[str] = Counter()
        for key in list(self._cursors)[:count]:
            before = self._trips.count.copy()
            woken += await host.attach([key])
            trips = self._trips.count - before
            bare.append(await self._bare(trips["Postgres"], trips["Redis"]))
            await asyncio.sleep(_APART_S)
        return {"ms": woken, "bare_ms": bare, **dict(trips)}

    async def together(self, source: str, begin: float) -> dict[str, Any]:
        """All at once."""
        host = await self._ready(source)
        await asyncio.sleep(begin - time.monotonic())
        before = self._trips.count.copy()
        woken = await host.attach(list(self._cursors))
        trips = self._trips.count - before
        bare = await self._bare(trips["Postgres"], trips["Redis"])
        return {"ms": woken, "bare_ms": [bare], **dict(trips)}

    async def forget(self) -> dict[str, Any]:
        await self._redis.flushall()
        return {}

    async def _ready(self, source: str) -> Host:
        """The host that has them all in memory, or one that has none."""
        if source == "memory" and self._host is not None:
            return self._host
        return await self._fresh()

    async def _fresh(self) -> Host:
        if self._host is not None:
            await self._host.close()
        self._host = Host(self._settings, self._memory, self._cursors)
        return self._host

    async def _bare(self, postgres: int, redis: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(
            _each(postgres, lambda: self._postgres.fetch("SELECT 1")),
            _each(redis, lambda: self._redis.mget(["bench"])),
        )
        return (time.perf_counter() - began) * 1000


async def _each(times: int, trip: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(times):
        await trip()


def postgres_of(settings: Settings) -> Postgres:
    """Connections as a host has them, and none of its own."""
    context = settings.context
    assert context.database_url is not None
    url = context.database_url.get_secret_value()
    return Postgres(url, pool_min=context.pool_min, pool_max=context.pool_max, name="bench")


async def told(
    settings: Settings, memory: ContextMemory, sessions: int, messages: int
) -> dict[SessionKey, Cursor]:
    """New sessions with as many messages, each with a hot copy; where their readers stand."""
    gate = asyncio.Semaphore(_CREATES_AT_ONCE)
    keys = [SessionKey(settings.auth.organization, new_id(SESSION)) for _ in range(sessions)]
    said = "".join(f"w{number} " for number in range(_CHARS // 2))[:_CHARS]
    items = [InputItem("user" if n % 2 else "assistant", said) for n in range(1, messages)]

    async def one(key: SessionKey) -> Cursor:
        async with gate:
            await memory.records.create_session(key, items=items)
            state = await memory.activate(key)
            seq, position = state.seq + 1, state.position + 1
            last = Message(new_id(MESSAGE), position, "user", said, time.time(), None)
            await memory.add_items(key, state.epoch, seq, [last], [*state.messages, last])
            return Cursor(state.epoch, seq)

    cursors = await asyncio.gather(*(one(key) for key in keys))
    return dict(zip(keys, cursors, strict=True))


async def serve(waker: Waker) -> None:
    """Answer commands until stdin ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    obey = {
        "tell": waker.tell,
        "alone": waker.alone,
        "together": waker.together,
        "forget": waker.forget,
    }
    while line := await lines.readline():
        command: dict[str, Any] = orjson.loads(line)
        answer = await obey[command.pop("do")](**command)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Run one such host, at the stores of the instance that is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.waker")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    found = urls(Places(options.checkout, options.port, options.checkout / ".troupe"))

    async def go() -> None:
        redis: Redis = Redis.from_url(found["REDIS_URL"], protocol=2)  # pyright: ignore
        waker = Waker(load({**os.environ, **found}), redis)
        try:
            await waker.open()
            await serve(waker)
        finally:
            await waker.aclose()
            await redis.aclose()

    uvloop.run(go())  # as Ray does in the actor that a host is


if __name__ == "__main__":
    main()
