"""The wire between gateways and hosts: who may connect, and what a broken connection means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.server import HostServer
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable
from contracts.hosts import HostAddress
from contracts.wire import NONCE_BYTES, hang_up, pack
from gateway.link import Link
from gateway.wire import WireHost
from tests.actors.conftest import Stage, ask
from tests.actors.test_session import text_of, until_ended


class Address:
    """A `Locator` that sends everybody to one place."""

    def __init__(self, address: HostAddress) -> None:
        self.address = address
        self.suspected: list[str] = []

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        return [self.address for _ in keys]

    async def suspect(self, host_id: str) -> None:
        self.suspected.append(host_id)

    async def hosts(self) -> dict[str, int]:
        return {self.address.host_id: 0}


def link_to(
    address: HostAddress,
    gateway_id: str = "gw_wire",
    silence_s: float = 60,
    call_timeout_s: float = 30,
) -> tuple[Link, Address]:
    locator = Address(address)
    link = Link(
        gateway_id,
        locator,
        WireHost,
        silence_s=silence_s,
        reader_events=1000,
        placements=10,
        call_timeout_s=call_timeout_s,
        reattach_s=0.2,
    )
    return link, locator


@pytest.fixture
async def served(stage: Stage) -> AsyncIterator[tuple[HostServer, HostAddress]]:
    server = HostServer(stage.runtime, "127.0.0.1")
    address = HostAddress(stage.runtime.host_id, *await server.start(), server.token)
    yield server, address
    await server.close()


async def test_a_turn_over_the_wire(stage: Stage, served: tuple[HostServer, HostAddress]) -> None:
    link, _ = link_to(served[1])
    stage.agent.answer("over ", "the ", "wire")
    _, reader = await link.start(stage.key, ask())
    assert text_of(await until_ended(reader)) == "over the wire"
    await link.close()


async def test_a_gateway_without_the_token_is_not_heard(
    stage: Stage, served: tuple[HostServer, HostAddress]
) -> None:
    link, locator = link_to(served[1]._replace(token="guessed"), call_timeout_s=0.5)
    with pytest.raises(HostUnavailable):
        await link.attach(stage.key)
    assert stage.runtime.load() == 0
    async with asyncio.timeout(30):
        while not locator.suspected:
            await asyncio.sleep(0.001)
    await link.close()


async def test_nothing_is_unpickled_from_strangers(
    served: tuple[HostServer, HostAddress],
) -> None:
    address = served[1]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    await reader.readexactly(NONCE_BYTES)
    writer.write(b"\0" * (2 * NONCE_BYTES) + b"\0\1x" + pack([Bomb()]))
    assert await reader.read() == b"", "the host hangs up"
    assert not Bomb.exploded
    await hang_up(writer)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return explode, ()


def explode() -> None:
    Bomb.exploded = True


async def test_a_reader_ends_when_its_host_dies_and_no_other_is_found(
    stage: Stage, served: tuple[HostServer, HostAddress]
) -> None:
    server, address = served
    link, locator = link_to(address)
    reader = await link.attach(stage.key)
    await server.close()
    with pytest.raises(HostUnavailable):
        await reader.next()
    async with asyncio.timeout(30):
        while address.host_id not in locator.suspected:
            await asyncio.sleep(0.001)
    await link.close()


async def test_a_host_that_falls_silent_is_given_up(stage: Stage) -> None:
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await hang_up(writer)
        left.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link, locator = link_to(
        HostAddress("host_mute", "127.0.0.1", port, "t"), silence_s=0.1, call_timeout_s=0.3
    )
    with pytest.raises(HostUnavailable):
        await link.attach(stage.key)
    async with asyncio.timeout(30):
        while "host_mute" not in locator.suspected:
            await asyncio.sleep(0.001)
    await link.close()
    server.close()
    await left.wait()
