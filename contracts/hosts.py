"""The ports between gateways and session hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from contracts.commands import Command, SessionKey


class HostAddress(NamedTuple):
    """Where an incarnation of a host listens, and the secret that opens it. Never logged."""

    host_id: str
    host: str
    port: int
    token: str


class Fleet(NamedTuple):
    """The living hosts, draining ones included; a gateway keeps a line to each.

    `generation` counts deployments of the application: a gateway of an older one is to drain.
    """

    version: int
    hosts: tuple[HostAddress, ...]
    generation: int


class HostClient(Protocol):
    """One session host, as a gateway reaches it."""

    @property
    def host_id(self) -> str:
        """Names this incarnation of the host; a restarted one has another."""
        ...

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        """Hand over a batch, after `pipe` gave its first parcel; answers come by the pipe."""
        ...

    def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        """Pickled `Parcel`s for this gateway until the host or the reader closes it."""
        ...


class Locator(Protocol):
    """Where sessions live; in a cluster, the Directory."""

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        """The host of each session, placing those that have none. Raises `HostUnavailable`."""
        ...

    async def suspect(self, host_id: str) -> None:
        """Tell that a gateway cannot reach the host."""
        ...

    async def watch(self, version: int) -> Fleet:
        """The hosts there are, once that is newer than `version`; within half a minute anyhow.

        `version` 0: at once.
        """
        ...

    async def hosts(self) -> dict[str, int]:
        """Living hosts and the sessions each holds."""
        ...
