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
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from yarl import URL

from agents.answer import Answer, NoConnection
from agents.connection import Connection
from agents.dialing import Dialer
from agents.rests import Rests
from agents.sdk import Template
from contracts.errors import InvalidRequest

_HEADS = 256
"""Addresses whose request head is kept: one for each model of the account."""


class Ask(NamedTuple):
    """One HTTP POST, under the headers of its client's template."""

    url: str
    body: bytes


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

    Raises:
        InvalidRequest: a header, of which the key is one, holds a line break.
    """

    def __init__(
        self, template: Template, *, connect_timeout_s: float, keepalive_s: float = 15.0
    ) -> None:
        for name, value in template.headers.items():
            if set("\r\n\0") & {*name, *value}:
                # As it came from a file whose last line ends; sent, it would begin a new header.
                why = f"The header {name!r} holds a line break."
                raise InvalidRequest(why, param="api_key")
        self.template = template
        self.closed = False
        self._connect_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        self._heads: dict[str, bytes] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rests: Rests | None = None
        self._dialer: Dialer | None = None
        self._all: set[Connection] = set()
        self._idle: deque[tuple[Connection, float]] = deque()
        """Those that wait, the one used last at the end, with the time since when."""
        self._sweep: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None

    async def post(self, ask: Ask) -> Answer:
        """Send a request. What comes for it is waited for with the answer.

        Neither cookies, which would tie one user's turn to another's, nor proxies and .netrc of
        the environment, which would send keys where nobody configured them to go.

        Raises:
            NoConnection: there is none to be had, or not in time, or the client is closed.
            RuntimeError: its connections belong to another event loop.
        """
        request = b"%b%d\r\n\r\n%b" % (self._head(ask.url), len(ask.body), ask.body)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError(
                    "an agent's connections belong to the event loop that opened them"
                )
            self._loop = loop
            self._rests = Rests(loop)
        connection = self._waiting(loop.time())
        if connection is None:
            connection = await self._opened()
        return connection.send(request)

    async def aclose(self) -> None:
        """Close every connection, and wait until the loop has let go of them. Idempotent."""
        self.closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            return  # they went with their loop
        for connection in list(self._all):
            connection.close()
        if self._all:
            self._gone = self._gone or loop.create_future()
            await asyncio.shield(self._gone)

    def _waiting(self, now: float) -> Connection | None:
        """An idle connection, the warmest first."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.usable and now - since < self._keepalive_s:
                return connection
            connection.close()
        return None

    async def _opened(self) -> Connection:
        if self.closed:
            raise NoConnection("closed")
        if self._dialer is None:
            self._dialer = Dialer(URL(self.template.url), self._connect_timeout_s)
        rests = self._rests
        assert rests is not None
        connection = await self._dialer.dial(lambda: Connection(rests, self._free, self._lost))
        if self.closed or not connection.usable:
            connection.close()
            raise NoConnection("closed")
        self._all.add(connection)
        return connection

    def _free(self, connection: Connection) -> None:
        assert self._loop is not None
        self._idle.append((connection, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keepalive_s, self._sweep_out)

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._gone is not None and not self._all and not self._gone.done():
            self._gone.set_result(None)

    def _sweep_out(self) -> None:
        """Close who has waited for too long, and come back when the next one will have."""
        assert self._loop is not None
        now = self._loop.time()
        while self._idle and now - self._idle[0][1] >= self._keepalive_s:
            self._idle.popleft()[0].close()
        self._sweep = (
            self._loop.call_at(self._idle[0][1] + self._keepalive_s, self._sweep_out)
            if self._idle
            else None
        )

    def _head(self, url: str) -> bytes:
        """The head of a request to `url`, up to the number of its bytes."""
        head = self._heads.get(url)
        if head is None:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            address = URL(url, encoded=True)
            lines = [f"POST {address.raw_path_qs} HTTP/1.1"]
            lines.append(f"Host: {address.host_port_subcomponent}")
            lines += [f"{name}: {value}" for name, value in self.template.headers.items()]
            head = "\r\n".join([*lines, "Content-Length: "]).encode()
            self._heads[url] = head
        return head


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
