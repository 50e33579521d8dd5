"""A gateway with its stores, and the command as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from context.migrate import migrate
from tests.gateway.house import House, Stores, open_house
from tests.support.stores import PostgresServer, ValkeyServer

ROOT = Path(__file__).resolve().parents[2]
KEY = "operators-only"


class Said(NamedTuple):
    """What it ended with."""

    code: int
    out: str
    err: str


Troupe = Callable[..., Awaitable[Said]]


@pytest.fixture(scope="module")
def stores(postgres: PostgresServer, valkey: ValkeyServer) -> Stores:
    url = postgres.url(asyncio.run(postgres.create_database()))
    asyncio.run(migrate(url, timeout_s=30))
    return Stores(url, valkey.url)


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with open_house(stores, api_keys=("callers",), admin_key=KEY) as house:
        await house.database.execute("DELETE FROM policies")
        yield house


async def call(*arguments: str, cwd: Path, program: tuple[str, ...], **environ: str) -> Said:
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TROUPE_ADMIN_KEY": KEY, **environ}
    process = await asyncio.create_subprocess_exec(
        *program,
        *arguments,
        cwd=cwd,
        env={name: value for name, value in given.items() if value},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
def troupe(house: House, tmp_path: Path) -> Troupe:
    """Calls the command in a folder of its own."""

    async def run(*arguments: str, program: tuple[str, ...] = (), **environ: str) -> Said:
        given = {"TROUPE_URL": house.url, **environ}
        program = program or (sys.executable, "-m", "cli")
        return await call(*arguments, cwd=tmp_path, program=program, **given)

    return run
