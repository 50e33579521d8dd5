"""Opens connections to one provider: name lookup, the first address that answers, TLS.

A name is looked up once for all who want a connection at the same moment, and again after a few
seconds, since a provider moves; after a failure at once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import aiohappyeyeballs
import httpx2
from yarl import URL

from agents.answer import NoConnection
from contracts.tasks import spawn

_LOOKED_UP_S = 10.0
_NEXT_ADDRESS_S = 0.25
"""After so long the next address is tried beside the first (RFC 8305)."""

Address = tuple[int, int, int, str, tuple[Any, ...]]
"""What `getaddrinfo` says: family, kind, protocol, name, where to."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dialer:
    """Connections to one address.

    Args:
        url: Its scheme, host and port count.
        timeout_s: For lookup, connection and TLS together.
    """

    def __init__(self, url: URL, timeout_s: float) -> None:
        self._host = (url.raw_host or "").rstrip(".")
        self._port = url.port or 0
        self._timeout_s = timeout_s
        self._tls = trusted() if url.scheme == "https" else None
        self._found: list[Address] = []
        self._found_until = 0.0
        self._looking: asyncio.Task[list[Address]] | None = None

    async def dial(self, protocol: Callable[[], P]) -> P:
        """A connection that is up.

        Raises:
            NoConnection: there is none to be had, or not in time; its text is the error's class.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                sock = await aiohappyeyeballs.start_connection(
                    await self._addresses(), happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=loop
                )
                try:
                    _, connected = await loop.create_connection(
                        protocol,
                        sock=sock,
                        ssl=self._tls,
                        server_hostname=self._host if self._tls else None,
                    )
                except BaseException:
                    sock.close()
                    raise
                return connected
        except OSError as error:  # a time-out is one too
            self._found_until = 0.0
            # Only the class is named: the text may hold the address.
            raise NoConnection(type(error).__name__) from None

    async def _addresses(self) -> list[Address]:
        if self._found_until > asyncio.get_running_loop().time():
            return self._found
        if self._looking is None:
            self._looking = spawn(
                self._look_up(), name=f"look up {self._host}", on_error=_told_to_who_waits
            )
        # Whoever gives up does not take the lookup from the others.
        return await asyncio.shield(self._looking)

    async def _look_up(self) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._found = [*found]
            self._found_until = loop.time() + _LOOKED_UP_S
            return self._found
        finally:
            self._looking = None


def _told_to_who_waits(error: BaseException) -> None:
    """A failed lookup is raised in every `dial` that waits for it."""


def trusted() -> ssl.SSLContext:
    """The certificates that the SDKs would trust, with `SSL_CERT_FILE` honoured as they do."""
    return httpx2.create_ssl_context()
