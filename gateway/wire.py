"""A host at the other end of a TCP connection; the peer of `actors.server`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from contracts.commands import Command
from contracts.errors import HostUnavailable
from contracts.hosts import HostAddress
from contracts.wire import hang_up, introduce, pack, read_frame

CONNECT_S = 5.0
READ_BUFFER_BYTES = 2**20


class WireHost:
    """A `HostClient`. One connection, opened by `pipe` and used by `submit` while it lasts."""

    def __init__(self, address: HostAddress) -> None:
        self._address = address
        self._writer: asyncio.StreamWriter | None = None

    @property
    def host_id(self) -> str:
        return self._address.host_id

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            raise HostUnavailable("The host's connection is closed.", retry_after=1)
        writer.write(pack(commands))
        await writer.drain()

    async def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        address = self._address
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, limit=READ_BUFFER_BYTES
            )
        try:
            async with asyncio.timeout(CONNECT_S):
                await introduce(reader, writer, address.token, gateway_id)
            self._writer = writer
            while True:
                yield await read_frame(reader)
        finally:
            self._writer = None
            await hang_up(writer)
