"""One connection pool per provider, key and address in a process, shared by all its agents.

Two agents of one account share their pool, so that a connection that one of them warmed up
serves the other. Never sessions: a pooled connection is out of the pool while a stream runs on it.

The pool itself refuses nothing and queues nothing: what limits it is that every agent counts its
own streams against `max_sessions` before it asks for a connection, so the sum of those numbers is
its size. A limit in the pool would make a stream wait in silence where it should be refused.

A pool is tied to the event loop that first uses it, as connections are.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple

import aiohttp
import httpx2

from agents.sdk import Template


class PoolKey(NamedTuple):
    """What makes two agents' clients one. Holds a secret: never shown."""

    provider: str
    api: str
    api_key: str
    base_url: str | None
    connect_timeout_s: float

    def __repr__(self) -> str:
        return f"PoolKey({self.provider!r}, {self.api!r}, base_url={self.base_url!r})"


class Client:
    """A template and the connections its requests go out on.

    Args:
        template: What the provider's SDK would send.
        connect_timeout_s: Seconds to a connection, name lookup and TLS included.
        keepalive_s: Seconds an idle connection is kept.
    """

    def __init__(
        self, template: Template, *, connect_timeout_s: float, keepalive_s: float = 15.0
    ) -> None:
        self.template = template
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_s)
        self._keepalive_s = keepalive_s
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def session(self) -> aiohttp.ClientSession | None:
        """The session of the running loop, made on first use; None once closed.

        Raises:
            RuntimeError: it belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._session is None and not self._closed:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=self._keepalive_s,
                    ssl=trusted() if self.template.url.startswith("https:") else True,
                ),
                timeout=self._timeout,
                # Cookies would tie one user's turn to another's; proxies and .netrc of the
                # environment would send keys where nobody configured them to go.
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                raise_for_status=False,
            )
        if self._loop is not loop and self._session is not None:
            raise RuntimeError("an agent's connections belong to the event loop that opened them")
        return self._session

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class Pool:
    """The clients of a process, each held by the agents that use it and closed by the last."""

    def __init__(self) -> None:
        self._clients: dict[PoolKey, tuple[Client, int]] = {}

    def take(self, key: PoolKey, template: Callable[[], Template]) -> Client:
        """The client of this key; `template` is called if it is the first."""
        client, holders = self._clients.get(key) or (None, 0)
        if client is None:
            client = Client(template(), connect_timeout_s=key.connect_timeout_s)
        self._clients[key] = (client, holders + 1)
        return client

    async def give_back(self, key: PoolKey) -> None:
        """Undo one `take`; the last one closes the connections."""
        client, holders = self._clients[key]
        if holders > 1:
            self._clients[key] = (client, holders - 1)
            return
        del self._clients[key]
        await client.aclose()

    def __len__(self) -> int:
        return len(self._clients)


POOL = Pool()
"""The process's own. Building an agent touches no network and no loop."""


def trusted() -> ssl.SSLContext:
    """The certificates that the SDKs would trust, with `SSL_CERT_FILE` honoured as they do."""
    return httpx2.create_ssl_context()
