"""A server that answers with given bytes, for what a well-behaved simulator would never say."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

Step = bytes | Literal["close", "reset", "hang"]
Script = Sequence[Step]


def head(
    *lines: str, status: str = "200 OK", media: str = "text/event-stream", chunked: bool = True
) -> bytes:
    """A response head; the body that follows is chunked, or ends with the connection."""
    framing = "Transfer-Encoding: chunked" if chunked else "Connection: close"
    all_lines = [f"HTTP/1.1 {status}", f"Content-Type: {media}", framing, *lines, "", ""]
    return "\r\n".join(all_lines).encode()


def chunk(data: bytes | str) -> bytes:
    """One piece of a chunked body."""
    raw = data.encode() if isinstance(data, str) else data
    return b"%x\r\n%b\r\n" % (len(raw), raw)


LAST = b"0\r\n\r\n"


def whole(body: bytes | str, *lines: str, status: str, media: str = "application/json") -> Script:
    """A complete answer in one piece."""
    return [head(*lines, status=status, media=media), chunk(body), LAST]


def stream(*events: str, end: str = "\n\n") -> Script:
    """A well-framed event stream; each event is what follows `data: `."""
    return [head(), *(chunk(f"data: {event}{end}") for event in events), LAST]


class CannedServer:
    """Plays the n-th script to the n-th request; the last one to all that follow.

    A step of bytes is written and given a moment to arrive on its own. `hang` waits for the
    client to leave.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        """(request line, lower-case headers, body)."""
        self.connections = 0
        self.left = asyncio.Event()
        """A client left during `hang`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> CannedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append((first, headers, body))
        for step in script:
            if step == "close":
                return False
            if step == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            if step == "hang":
                await reader.read(1)
                self.left.set()
                return False
            assert isinstance(step, bytes)
            writer.write(step)
            await writer.drain()
            await asyncio.sleep(0.002)
        return b"Connection: close" not in b"".join(s for s in script if isinstance(s, bytes))
