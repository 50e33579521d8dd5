"""The short way of a socket's messages, where the server has one: an ASGI extension of ours.

By ASGI each message is awaited through every layer between the application and the server, which
costs more than writing it. A server that can puts a `Sink` into a socket's scope
(`gateway.uvicorn_socket` does); without one the messages go by `send`, and so do those that a sink
does not take.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any, Protocol

SINK = "troupe.sink"
"""The extension's name in a scope."""


class Sink(Protocol):
    """Takes text messages for one client, at once or not at all."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it may be used."""
        ...

    def put(self, texts: Sequence[bytes]) -> bool:
        """Write messages in one go; their bytes are UTF-8.

        False: none of them was written, and `send` waits or says that the client is gone.
        """
        ...


def take_sink(scope: MutableMapping[str, Any]) -> Sink | None:
    """The sink of a socket, if its server has one and runs on this very loop.

    It is taken out of the scope, which the server holds as well: else each would hold the other.
    """
    sink: Sink | None = (scope.get("extensions") or {}).pop(SINK, None)
    return sink if sink is not None and sink.loop is asyncio.get_running_loop() else None
