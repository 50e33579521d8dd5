"""A host that wakes sessions, in a process of its own: how long until a session is ready.

The one module of the bench that uses Troupe's own code, since what it measures happens inside a
host: the command comes in, the session is activated, the answer leaves. Stores, settings and
drivers are those of the running instance whose checkout and port it is given; Ray is not asked.

    measure   has sessions told some messages, wakes them from each place, prints JSON:
              {"wakes": [{"source": "Redis", "at_once": 1000, "ms": [...], "bare_ms": [...],
                          "trips": {"Postgres": 2, "Redis": 1}}, ...]}
    forget    empties the instance's Redis, so that all sessions wake from Postgres alone

A wake is counted from the gateway's `Attach`, with the cursor at which its reader fell asleep,
until the answer has left the host. `bare_ms` are as many round trips of the same drivers that do
nothing: one after the other to Postgres, at the same time one after the other to Redis. `trips`
are counted where the drivers send. For sessions that wake together both are of all of them.
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
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
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
from contracts.commands import Attach, Attached, InputItem, Reply, SessionKey
from contracts.events import Cursor
from contracts.ids import MESSAGE, SESSION, new_id
from contracts.messages import Message
from contracts.tasks import spawn, stop
from launcher.places import Places
from launcher.servers import urls

GATEWAY = "gw_bench"
ROUNDS = 3
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
        self._waiting: dict[int, tuple[SessionKey, float, asyncio.Future[float]]] = {}
        self._listening = spawn(self._listen(), name="bench-gateway", on_error=self._broken)

    async def _listen(self) -> None:
        async with aclosing(self._runtime.pipe(GATEWAY)) as parcels:  # type: ignore[type-var]
            async for parcel in parcels:
                arrived = time.perf_counter()
                for item in pickle.loads(parcel):
                    if isinstance(item, Reply):
                        self._answered(item, arrived)

    def _answered(self, reply: Reply, arrived: float) -> None:
        key, began, ready = self._waiting.pop(reply.call)
        if reply.error is not None:
            ready.set_exception(reply.error)
            return
        attached: Attached = reply.value
        if not attached.recovered:
            ready.set_exception(RuntimeError(f"the cursor of {key.session_id} was not honoured"))
            return
        self._cursors[key] = Cursor(attached.epoch, attached.seq)
        ready.set_result((arrived - began) * 1000)

    def _broken(self, error: BaseException) -> None:
        for _, _, ready in self._waiting.values():
            if not ready.done():
                ready.set_exception(error)

    async def attach(self, keys: Sequence[SessionKey]) -> list[float]:
        """Attach to all of them at once; after how many ms each answered."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        commands: list[Any] = []
        futures: list[asyncio.Future[float]] = []
        for key in keys:
            call = next(self._calls)
            future: asyncio.Future[float] = loop.create_future()
            self._waiting[call] = (key, began, future)
            commands.append(Attach(call, key, after=self._cursors[key]))
            futures.append(future)
        await self._runtime.submit(GATEWAY, commands)
        return await asyncio.gather(*futures)

    async def close(self) -> None:
        await self._runtime.close()
        await stop(self._listening)


class Waker:
    """Wakes the same sessions again and again, each time in a host that does not have them."""

    def __init__(
        self,
        settings: Settings,
        memory: ContextMemory,
        redis: Redis,
        cursors: dict[SessionKey, Cursor],
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._postgres = postgres_of(settings)
        self._redis = redis
        self._cursors = cursors
        self._trips = Trips()
        self.wakes: list[dict[str, Any]] = []

    async def open(self) -> None:
        await self._postgres.open()

    async def aclose(self) -> None:
        await self._postgres.aclose()

    async def warm(self, keys: Sequence[SessionKey]) -> None:
        """Have connections opened and statements prepared, here and in the memory."""
        async with self._host() as host:
            await host.attach(keys)
            await asyncio.gather(*(self._bare(2, 2) for _ in keys))

    async def alone(self, source: str, keys: Sequence[SessionKey]) -> None:
        """One at a time from `source`; from Redis, then once more from memory."""
        async with self._host() as host:
            sources = [source, "memory"] if source == "Redis" else [source]
            for where in sources:
                woken: list[float] = []
                bare: list[float] = []
                trips: Counter[str] = Counter()
                for key in keys:
                    before = self._trips.count.copy()
                    woken += await host.attach([key])
                    trips = self._trips.count - before
                    bare.append(await self._bare(trips["Postgres"], trips["Redis"]))
                    await asyncio.sleep(_APART_S)
                self._note(where, 1, woken, bare, trips)

    async def together(self, source: str, keys: Sequence[SessionKey]) -> None:
        """All at once from `source`, some rounds of it; from Redis, then from memory too."""
        sources = [source, "memory"] if source == "Redis" else [source]
        woken: dict[str, list[float]] = {where: [] for where in sources}
        bare: dict[str, list[float]] = {where: [] for where in sources}
        trips: dict[str, Counter[str]] = {}
        for _ in range(ROUNDS):
            async with self._host() as host:
                for where in sources:
                    before = self._trips.count.copy()
                    woken[where] += await host.attach(keys)
                    sent = trips[where] = self._trips.count - before
                    bare[where].append(await self._bare(sent["Postgres"], sent["Redis"]))
        for where in sources:
            self._note(where, len(keys), woken[where], bare[where], trips[where])

    @asynccontextmanager
    async def _host(self) -> AsyncGenerator[Host]:
        host = Host(self._settings, self._memory, self._cursors)
        try:
            yield host
        finally:
            await host.close()

    async def _bare(self, postgres: int, redis: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(
            _each(postgres, lambda: self._postgres.fetch("SELECT 1")),
            _each(redis, lambda: self._redis.mget(["bench"])),
        )
        return (time.perf_counter() - began) * 1000

    def _note(
        self, source: str, at_once: int, ms: list[float], bare: list[float], trips: Counter[str]
    ) -> None:
        self.wakes.append(
            {
                "source": source,
                "at_once": at_once,
                "ms": ms,
                "bare_ms": bare,
                "trips": {name: trips[name] for name in ("Postgres", "Redis")},
            }
        )


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
    await memory.hot_copies_written()
    return dict(zip(keys, cursors, strict=True))


async def measure(
    settings: Settings, redis: Redis, together: int, alone: int, messages: int
) -> list[dict[str, Any]]:
    """All of it: from Redis and from memory, then from Postgres alone."""
    memory = memory_of(settings)
    await memory.open(migrations=False)
    cursors = await told(settings, memory, max(together, alone), messages)
    keys = list(cursors)
    waker = Waker(settings, memory, redis, cursors)
    try:
        await waker.open()
        await waker.warm(keys[:_WARM])
        await waker.alone("Redis", keys[:alone])
        await waker.together("Redis", keys[:together])
        await redis.flushall()
        await waker.alone("Postgres", keys[:alone])
        await waker.together("Postgres", keys[:together])
    finally:
        await waker.aclose()
        await memory.aclose()
    return waker.wakes


def main() -> None:
    """Measure or forget, for the instance that is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.waker")
    parser.add_argument("what", choices=("measure", "forget"))
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--together", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=100)
    parser.add_argument("--messages", type=int, default=20)
    options = parser.parse_args()
    found = urls(Places(options.checkout, options.port, options.checkout / ".troupe"))

    async def go() -> list[dict[str, Any]]:
        redis: Redis = Redis.from_url(found["REDIS_URL"], protocol=2)  # pyright: ignore
        try:
            if options.what == "forget":
                await redis.flushall()
                return []
            settings = load({**os.environ, **found})
            return await measure(settings, redis, options.together, options.alone, options.messages)
        finally:
            await redis.aclose()

    # As Ray does in the actor that a host is.
    sys.stdout.buffer.write(orjson.dumps({"wakes": uvloop.run(go())}) + b"\n")


if __name__ == "__main__":
    main()
