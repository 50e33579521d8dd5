"""Where gateways reach a host: one TCP connection each, commands in, parcels out.

Ray places hosts, starts them anew and says where they are; what sessions hear and say does not go
through it. One item of a Ray generator costs about 1.5 ms of CPU at its two ends together, and a
busy host has a hundred of them a second to send; a frame on a socket costs a twentieth of that,
and a host that is killed is noticed at once, by its closed connection.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from contextlib import aclosing

from actors.runtime import HostRuntime
from contracts.errors import HostUnavailable
from contracts.tasks import spawn, stop
from contracts.wire import frame, greet, hang_up, new_token, read_frame

log = logging.getLogger("troupe.actors.server")

GREETING_S = 5.0


class HostServer:
    """Listens for gateways on behalf of a runtime.

    Args:
        runtime: Whose sessions they come for.
        host: Address to listen on; the node's own, so that other nodes reach it.
    """

    def __init__(self, runtime: HostRuntime, host: str) -> None:
        self.token = new_token()
        self._runtime = runtime
        self._host = host
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen on a port of the system's choice; returns the address."""
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return self._host, port

    async def close(self) -> None:
        """Cut every gateway off."""
        if self._server is not None:
            self._server.close()
        await stop(*self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = spawn(self._serve(reader, writer), name="host-gateway", on_error=_broken)
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sending: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(GREETING_S):
                gateway_id = await greet(reader, writer, self.token)
            log.info("gateway %s is connected", gateway_id)
            sending = spawn(self._send(writer, gateway_id), name="host-send", on_error=_broken)
            while True:
                commands = pickle.loads(await read_frame(reader))
                await self._runtime.submit(gateway_id, commands)
        except asyncio.IncompleteReadError:
            log.info("a gateway left")
        finally:
            await stop(sending)
            await hang_up(writer)

    async def _send(self, writer: asyncio.StreamWriter, gateway_id: str) -> None:
        """Parcels to one gateway. One that does not read fills its outlet, which then closes."""
        async with aclosing(self._runtime.pipe(gateway_id)) as parcels:  # type: ignore[type-var]
            async for parcel in parcels:
                writer.write(frame(parcel))
                await writer.drain()
        writer.close()


def _broken(error: BaseException) -> None:
    if isinstance(error, (OSError, TimeoutError, HostUnavailable)):
        log.warning("a gateway's connection broke: %r", error)
    else:
        log.error("a gateway's connection failed", exc_info=error)
