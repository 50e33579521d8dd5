"""How others reach the Directory: by its name, since it may be replaced at any time.

Whoever opens it says of which deployment they are. One of an older generation is replaced; one of a
newer generation serves them as well, and tells them in `Fleet.generation` that their time is over.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.directory import WATCH_S, DirectoryShell
from actors.host import DIRECTORY, NAMESPACE
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable, TroupeError
from contracts.hosts import Fleet, HostAddress

if TYPE_CHECKING:
    from config.settings import Settings

ANSWER_S = 10.0
RETRY_S = 0.1
REPLACEMENTS = 50
ABSENCE_S = 5.0
"""A Directory that is gone may just be on the point of being replaced by a newer generation's."""


class RayDirectory:
    """The Directory as a gateway reaches it. Whatever keeps it from answering is told as
    `HostUnavailable`.

    Args:
        settings: For a Directory that is not there yet.
        generation: Of the deployment that the gateway belongs to.
    """

    def __init__(self, settings: Settings, generation: int) -> None:
        self._settings = settings
        self._generation = generation
        self._handle: Any = None
        self._opening = asyncio.Lock()
        self._lost_at: float | None = None

    async def start(self) -> None:
        """Return once the hosts are up."""
        await self._ask("start", limit_s=None)

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        """Where each session lives. Raises `HostUnavailable`."""
        return await self._ask("locate", keys)

    async def suspect(self, host_id: str) -> None:
        await self._ask("suspect", host_id)

    async def watch(self, version: int) -> Fleet:
        """The hosts once they differ from those of `version`. Raises `HostUnavailable`."""
        return await self._ask("watch", version, limit_s=WATCH_S + ANSWER_S)

    async def hosts(self) -> dict[str, int]:
        return await self._ask("hosts")

    async def _ask(self, method: str, *arguments: Any, limit_s: float | None = ANSWER_S) -> Any:
        try:
            async with asyncio.timeout(limit_s):
                handle = await self._open()
                return await getattr(handle, method).remote(*arguments)
        except RayTaskError as error:
            if isinstance(error.cause, TroupeError):
                raise error.cause from None
            raise
        except ActorDiedError:
            if self._handle is not None:
                self._handle, self._lost_at = None, time.monotonic()
            raise HostUnavailable("The Directory is gone.", retry_after=1) from None
        except (RayError, TimeoutError):
            raise HostUnavailable("The Directory does not answer.", retry_after=1) from None

    async def _open(self) -> Any:
        async with self._opening:
            if self._handle is None:
                lost_at = self._lost_at
                create = lost_at is None or time.monotonic() - lost_at > ABSENCE_S
                self._handle = await asyncio.to_thread(
                    open_directory, self._settings, self._generation, create=create
                )
            return self._handle


def connect(settings: Settings, generation: int) -> RayDirectory:
    """What a gateway is given to find sessions by."""
    return RayDirectory(settings, generation)


def open_directory(settings: Settings, generation: int, *, create: bool = True) -> Any:
    """The handle of the cluster's one Directory, of this generation or a newer one. Blocks.

    Args:
        settings: For the one that is created where there is none.
        generation: An older Directory than this is replaced.
        create: False: it must be there.

    Raises:
        HostUnavailable: The one that is there does not answer, or there is none.
    """
    replaces = False
    for _ in range(REPLACEMENTS):
        try:
            handle = ray.get_actor(DIRECTORY, namespace=NAMESPACE)
        except ValueError:
            if not create:
                raise HostUnavailable("There is no Directory.", retry_after=1) from None
            handle = _create(settings, generation)
            if not replaces:
                return handle
        try:
            if _generation_of(handle) >= generation:
                return handle
        except GetTimeoutError:
            break
        except RayActorError:
            time.sleep(RETRY_S)  # it is on its way out, or up again
            continue
        replaces = create = True
        ray.kill(handle)
    raise HostUnavailable("The Directory does not answer.", retry_after=1)


def next_generation() -> int:
    """A number for a deployment that is about to begin: higher than that of every earlier one.

    It is the time in seconds, which outlives every cluster, and goes on from a running Directory's
    where that is ahead of this machine's clock.
    """
    now = int(time.time())
    if not ray.is_initialized():
        return now
    try:
        running = ray.get_actor(DIRECTORY, namespace=NAMESPACE)
        return max(now, _generation_of(running) + 1)
    except (ValueError, RayActorError):
        return now


def _generation_of(handle: Any) -> int:
    answer: Any = ray.get(handle.generation.remote(), timeout=ANSWER_S)
    return answer


def _create(settings: Settings, generation: int) -> Any:
    return (
        ray.remote(DirectoryShell)
        .options(
            name=DIRECTORY,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0.1,
            max_restarts=-1,
            max_concurrency=1000,
        )
        .remote(settings, generation)
    )
