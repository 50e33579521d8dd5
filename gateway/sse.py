"""Server-sent events over plain ASGI: as many events per write as are there together.

Between the host's event and the socket lie one formatting and one write. A client that leaves
ends the reading, never the turn; one that takes nothing for too long is cut and may resume.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.presence import ClientGone, while_present

T = TypeVar("T")
log = logging.getLogger("troupe.gateway.sse")

KEEP_ALIVE = b": keep-alive\n"
"""A comment, without the empty line that would end an event: once it has seen an `id:`, the openai
client takes such a line for an event without data, and stumbles."""
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store"),
    # Proxies that gather answers before they pass them on are asked not to.
    (b"x-accel-buffering", b"no"),
)


async def or_quiet(next_one: Awaitable[T], quiet_s: float) -> T | None:
    """What `next_one` gives, or None when nothing came for `quiet_s`."""
    try:
        async with asyncio.timeout(quiet_s):
            return await next_one
    except TimeoutError:
        return None


class EventStream(Response):
    """A response whose body is `chunks`, each written as it comes.

    Args:
        chunks: What to send, keep-alives included. Must not raise what a client should be told
            in-band.
        send_timeout_s: A write that takes this long ends the stream.
        release: Called once, whatever happened: `chunks` may never have been started.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        send_timeout_s: float,
        release: Callable[[], None],
    ) -> None:
        super().__init__()
        self.raw_headers = list(_HEADERS)
        self._chunks = chunks
        self._send_timeout_s = send_timeout_s
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_present(receive, self._pump(send), name="sse")
        except ClientGone:
            pass
        except TimeoutError:
            log.info("a client took nothing for %s s and was cut", self._send_timeout_s)
        finally:
            self._release()

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(self._send_timeout_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
