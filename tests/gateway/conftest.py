from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from context.migrate import migrate
from tests.gateway.house import House, Stores, open_house
from tests.support.stores import PostgresServer, ValkeyServer


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    with PostgresServer() as postgres, ValkeyServer() as valkey:
        database = asyncio.run(postgres.create_database())
        asyncio.run(migrate(postgres.url(database), timeout_s=30))
        yield Stores(postgres.url(database), valkey.url)


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with open_house(stores) as house:
        yield house
