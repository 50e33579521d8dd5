"""For each module a database of its own, and memories on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from context.memory import ContextMemory, ContextOptions
from context.migrate import migrate
from tests.context.activation import Activation
from tests.support.stores import PostgresServer, ValkeyServer
from tests.support.waiting import until

Open = Callable[..., Awaitable[ContextMemory]]


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    """The URL of a migrated database that only this module uses."""
    url = postgres.url(asyncio.run(postgres.create_database()))
    asyncio.run(migrate(url))
    return url


@pytest.fixture
async def open_memory(database: str, valkey: ValkeyServer) -> AsyncIterator[Open]:
    """Opens memories, as many as a test wants hosts, and closes them."""
    opened: list[ContextMemory] = []

    async def open_one(
        *, database_url: str = database, redis_url: str = valkey.url, **options: float
    ) -> ContextMemory:
        # Whoever tests what becomes of a Redis that does not answer says for how long.
        given = {"gather_s": 0.0, "redis_timeout_s": 10.0, **options}
        memory = ContextMemory(database_url, redis_url, ContextOptions(**given))  # type: ignore[arg-type]
        await memory.open(migrations=False)
        opened.append(memory)
        if redis_url == valkey.url:
            # What is said before its connection is there waits for it, but only so long.
            journal = memory._journal
            journal.prepare()
            await until(lambda: journal._connection is not None, "the journal is connected")
        return memory

    yield open_one
    for memory in opened:
        await memory.aclose()


@pytest.fixture
async def memory(open_memory: Open) -> ContextMemory:
    return await open_memory()


@pytest.fixture
async def host(memory: ContextMemory) -> Activation:
    """An activation of a new, empty session."""
    return await Activation.new(memory)
