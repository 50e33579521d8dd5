"""Real stores, a database for the whole suite of errands, and memories that keep word of ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from context.memory import ContextMemory, ContextOptions
from context.migrate import migrate
from tests.errands.receiver import HOOKS, Receiver
from tests.support.stores import PostgresServer, ValkeyServer


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[PostgresServer, str, str]]:
    """Postgres, the URL of a migrated database in it, and Valkey's."""
    with PostgresServer() as postgres, ValkeyServer() as valkey:
        url = postgres.url(asyncio.run(postgres.create_database()))
        asyncio.run(migrate(url))
        yield postgres, url, valkey.url


@pytest.fixture
async def database(servers: tuple[PostgresServer, str, str]) -> AsyncIterator[asyncpg.Connection]:
    """A look behind the scenes, with nothing left of the test before."""
    connection = await asyncpg.connect(servers[1])
    await connection.execute("TRUNCATE sessions, messages, responses, schedules, outbox, leases")
    yield connection
    await connection.close()


@pytest.fixture
async def memory(
    servers: tuple[PostgresServer, str, str], database: asyncpg.Connection
) -> AsyncIterator[ContextMemory]:
    options = ContextOptions(gather_s=0.0, hooks=HOOKS)
    memory = ContextMemory(servers[1], servers[2], options)
    await memory.open(migrations=False)
    yield memory
    await memory.aclose()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver
