"""Requests to webhook endpoints, over aiohttp.

An endpoint is somebody else's server: nothing that it answers is read but its status and one
header, no redirect is followed, no cookie is kept, and no proxy of this machine is asked. Unless
private addresses are allowed, a name that leads to one is not connected to.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from errands.addresses import is_public, may_be_public


class Answer(NamedTuple):
    """What came back. `retry_after`: the seconds that a server asked for, as it spelled them."""

    status: int
    retry_after: str | None


class Unreached(Exception):
    """No answer came; in a few words why."""


class Sender(Protocol):
    """How a webhook leaves."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises `Unreached`."""
        ...


class PublicResolver(AbstractResolver):
    """Names to addresses, those of the internet alone."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where none is left, as for a name that there is not."""
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if is_public(one["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._inner.close()


class HttpSender:
    """A `Sender`. Make it where the event loop runs; close it.

    Args:
        timeout_s: For one request in all.
        connections: At once, all endpoints together.
        private: Whether private addresses, this machine's included, may be connected to.
        resolver: Names to addresses; by default as the machine does it.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        connections: int,
        private: bool,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._private = private
        resolver = resolver or aiohttp.ThreadedResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, resolver=resolver if private else PublicResolver(resolver)
            ),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": "troupe"},
            trust_env=False,
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises `Unreached`."""
        # An address in the URL itself passes no resolver.
        if not self._private and not may_be_public(url):
            raise Unreached("its address is not public")
        try:
            async with self._session.post(
                url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return Answer(answer.status, answer.headers.get("retry-after"))
        except TimeoutError:
            raise Unreached("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreached(type(error).__name__) from error

    async def close(self) -> None:
        await self._session.close()
