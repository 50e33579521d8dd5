"""Keeps a gateway in touch with every living host, so that whatever wakes anywhere is heard.

The Directory tells who is there; a line to each is opened at once and again while it is there. A
host that is missing from what it tells keeps its line: the Directory may have lost its memory, and
a line that works says more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from contracts.hosts import Fleet, HostAddress, Locator
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.gateway.fleet")

_PAUSE_S = 1.0


class FleetWatch:
    """See the module.

    Args:
        locator: Whom to ask.
        open_line: Makes sure that there is a line to a host.
        on_fleet: Told of every answer.
    """

    def __init__(
        self,
        locator: Locator,
        open_line: Callable[[HostAddress], object],
        on_fleet: Callable[[Fleet], None],
    ) -> None:
        self._locator = locator
        self._open_line = open_line
        self._on_fleet = on_fleet
        self._hosts: tuple[HostAddress, ...] = ()
        self._tasks = [
            spawn(self._watch(), name="fleet-watch"),
            spawn(self._reopen(), name="fleet-reopen"),
        ]

    async def close(self) -> None:
        await stop(*self._tasks)

    async def _watch(self) -> None:
        version = 0
        while True:
            try:
                fleet = await self._locator.watch(version)
            except Exception as error:  # noqa: BLE001 - whatever it is, lines live on without
                log.warning("the Directory does not tell who is there: %r", error)
                version = 0
                await asyncio.sleep(_PAUSE_S)
                continue
            is_news, version, self._hosts = fleet.version != version, fleet.version, fleet.hosts
            self._open()
            self._on_fleet(fleet)
            if not is_news:
                await asyncio.sleep(_PAUSE_S)

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_S)
            self._open()

    def _open(self) -> None:
        for address in self._hosts:
            self._open_line(address)
