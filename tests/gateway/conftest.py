from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from context.migrate import migrate
from tests.gateway.house import House, Stores, open_house
from tests.support.stores import PostgresServer, ValkeyServer


@pytest.fixture(scope="session")
def stores(postgres: PostgresServer, valkey: ValkeyServer) -> Stores:
    url = postgres.url(asyncio.run(postgres.create_database()))
    asyncio.run(migrate(url, timeout_s=30))
    return Stores(url, valkey.url)


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with open_house(stores) as house:
        yield house
