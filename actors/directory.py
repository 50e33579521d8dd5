"""The Directory as a Ray actor: who is alive, where sessions live, how many hosts there are.

It may lose its memory at any time: hosts report every second and register anew with all they hold
when they find themselves unknown. It creates hosts and never ends one that answers.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.host import NAMESPACE, session_host
from actors.placement import Placement
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable
from contracts.hosts import HostAddress
from contracts.tasks import spawn

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger("troupe.actors.directory")

NAME = "directory"
PING_TIMEOUT_S = 1.0
WATCH_S = 1.0
START_TIMEOUT_S = 60.0
REMEMBERED = 500_000


class DirectoryShell:
    """The body of the actor."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._placement = Placement(REMEMBERED, Random())
        self._addresses: dict[str, HostAddress] = {}
        self._handles: dict[str, Any] = {}
        self._actors: list[Any] = []
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> list[str]:
        """Bring up the hosts; returns their ids once all of them answer. Idempotent."""
        if self._watcher is None:
            me = ray.get_runtime_context().current_actor
            self._actors = [
                session_host(self._settings, f"host-{n}").remote(self._settings, me)
                for n in range(self._settings.hosts.count)
            ]
            self._watcher = spawn(self._watch(), name="directory-watch")
        return list(await asyncio.gather(*(actor.start.remote() for actor in self._actors)))

    async def register(self, address: HostAddress, handle: Any, keys: list[SessionKey]) -> None:
        """A host is there. Called by hosts."""
        log.info("host %s registers with %d sessions", address.host_id, len(keys))
        self._addresses[address.host_id] = address
        self._handles[address.host_id] = handle
        self._placement.register(address.host_id, keys)

    async def report(self, host_id: str, load: int, released: list[SessionKey]) -> bool:
        """A host's news; False: it is not known and should register."""
        return self._placement.report(host_id, load, released)

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        """The host of each session. Raises `HostUnavailable`."""
        return [self._addresses[self._placement.locate(key)] for key in keys]

    async def suspect(self, host_id: str) -> None:
        """A gateway cannot reach a host: ask it, and place its sessions anew if it is silent."""
        handle = self._handles.get(host_id)
        if handle is None:
            return
        try:
            answered = await asyncio.wait_for(_reply(handle.ping.remote()), PING_TIMEOUT_S)
        except (TimeoutError, RayError):
            answered = None
        if answered != host_id:
            log.warning("host %s is gone", host_id)
            self._placement.remove(host_id)
            self._handles.pop(host_id, None)
            self._addresses.pop(host_id, None)

    async def hosts(self) -> dict[str, int]:
        """Living hosts and the sessions they hold."""
        return self._placement.hosts

    async def drain(self) -> None:
        """Let every host keep what runs."""
        await asyncio.gather(
            *(_reply(handle.drain.remote()) for handle in self._handles.values()),
            return_exceptions=True,
        )

    async def _watch(self) -> None:
        """A host that Ray restarted comes back without memory; start it, which registers it."""
        while True:
            await asyncio.sleep(WATCH_S)
            await asyncio.gather(*(self._revive(actor) for actor in self._actors))

    async def _revive(self, actor: Any) -> None:
        try:
            await asyncio.wait_for(_reply(actor.start.remote()), START_TIMEOUT_S)
        except (TimeoutError, RayError) as error:
            log.warning("a host does not start: %r", error)


async def _reply(ref: Any) -> Any:
    """An ObjectRef as a coroutine, which is what asyncio's helpers take."""
    return await ref


class RayDirectory:
    """The Directory as others reach it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def start(self) -> None:
        """Return once the hosts are up."""
        await self._handle.start.remote()

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        """Where each session lives. Raises `HostUnavailable`."""
        try:
            return await self._handle.locate.remote(keys)
        except RayTaskError as error:
            if isinstance(error.cause, HostUnavailable):
                raise error.cause from None
            raise
        except RayActorError:
            raise HostUnavailable("The Directory is restarting.", retry_after=1) from None

    async def suspect(self, host_id: str) -> None:
        await self._handle.suspect.remote(host_id)

    async def hosts(self) -> dict[str, int]:
        return await self._handle.hosts.remote()


def open_directory(settings: Settings) -> Any:
    """The actor handle of the cluster's one Directory, created by whoever asks first."""
    return (
        ray.remote(DirectoryShell)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0.1,
            max_restarts=-1,
            max_concurrency=1000,
        )
        .remote(settings)
    )


def connect(settings: Settings) -> RayDirectory:
    """What a gateway is given to find sessions by."""
    return RayDirectory(open_directory(settings))
