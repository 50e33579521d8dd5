"""Where sessions live, as far as a gateway knows: asked for in batches, remembered, a mere hint."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from contracts.commands import SessionKey
from contracts.errors import HostUnavailable, TroupeError
from contracts.hosts import HostAddress, Locator
from contracts.tasks import spawn, stop
from gateway.line import Line

log = logging.getLogger("troupe.gateway.placements")


class Placements:
    """See the module.

    Args:
        locator: Finds and places sessions.
        line_to: The line to a host, made if there is none.
        limit: How many placements to remember.
    """

    def __init__(
        self, locator: Locator, line_to: Callable[[HostAddress], Line], limit: int
    ) -> None:
        self._locator = locator
        self._line_to = line_to
        self._limit = limit
        self._placed: OrderedDict[SessionKey, Line] = OrderedDict()
        self._locating: dict[SessionKey, asyncio.Future[Line]] = {}
        self._to_locate: list[SessionKey] = []
        self._task: asyncio.Task[None] | None = None
        self._suspects: dict[str, asyncio.Task[None]] = {}

    async def line_of(self, key: SessionKey) -> Line:
        """The line to the session's host. Raises `HostUnavailable`."""
        line = self._placed.get(key)
        if line is not None:
            self._placed.move_to_end(key)
            return line
        future = self._locating.get(key)
        if future is None:
            future = self._locating[key] = asyncio.get_running_loop().create_future()
            self._to_locate.append(key)
            if self._task is None or self._task.done():
                self._task = spawn(self._locate(), name="link-locate")
        return await asyncio.shield(future)

    def learn(self, key: SessionKey, line: Line) -> None:
        """The session is on this line's host, as that host says."""
        self._placed[key] = line
        self._bound()

    def forget(self, key: SessionKey, line: Line) -> None:
        """The session is not on this line's host, or no longer."""
        if self._placed.get(key) is line:
            del self._placed[key]

    def forget_line(self, line: Line) -> None:
        """The line is lost: ask after its host, and place nothing there until that is answered."""
        for key in [key for key, placed in self._placed.items() if placed is line]:
            del self._placed[key]
        host_id = line.host.host_id
        if host_id not in self._suspects:
            self._suspects[host_id] = spawn(
                self._suspect(host_id), name="link-suspect", on_error=_noted
            )

    async def close(self) -> None:
        await stop(self._task, *self._suspects.values())

    async def _suspect(self, host_id: str) -> None:
        try:
            await self._locator.suspect(host_id)
        finally:
            del self._suspects[host_id]

    async def _locate(self) -> None:
        while self._to_locate:
            keys, self._to_locate = self._to_locate, []
            try:
                addresses = await self._locator.locate(keys)
            except Exception as error:
                if not isinstance(error, TroupeError):
                    log.error("cannot locate sessions", exc_info=error)
                    error = HostUnavailable("Sessions cannot be placed now.", retry_after=1)
                self._refuse(keys, error)
                continue
            for key, address in zip(keys, addresses, strict=True):
                if address.host_id in self._suspects:
                    gone = HostUnavailable("The session's host is gone.", retry_after=1)
                    self._refuse([key], gone)
                    continue
                line = self._placed[key] = self._line_to(address)
                self._locating.pop(key).set_result(line)
            self._bound()

    def _refuse(self, keys: Sequence[SessionKey], error: Exception) -> None:
        for key in keys:
            future = self._locating.pop(key)
            future.set_exception(error)
            future.exception()  # a caller that went away leaves nobody to retrieve it

    def _bound(self) -> None:
        while len(self._placed) > self._limit:
            self._placed.popitem(last=False)


def _noted(error: BaseException) -> None:
    log.warning("the Directory cannot be asked after a host: %r", error)
