"""Sends a gateway's clients elsewhere before it goes: a few at a time, so that none is overrun.

Sockets and streams can be opened again at the place where they were, so they are closed and told
to come back. Requests that wait for a whole answer could not: they are left to finish.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from contracts.errors import Unavailable
from contracts.hosts import Fleet
from contracts.tasks import spawn

log = logging.getLogger("troupe.gateway.drain")


class Leaver(Protocol):
    """Something open that can be asked to go."""

    def leave(self, error: Unavailable) -> None:
        """End soon, by this error."""
        ...


class Drain:
    """See the module.

    Args:
        over_s: How long it takes to send everybody away.
    """

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._open: set[Leaver] = set()
        self._draining = False

    @property
    def begun(self) -> bool:
        return self._draining

    def admit(self) -> None:
        """Raise what tells a client to come back, if this gateway is about to go."""
        if self._draining:
            raise _elsewhere()

    def enter(self, leaver: Leaver) -> None:
        """`leaver` is open now."""
        self._open.add(leaver)
        if self._draining:
            leaver.leave(_elsewhere())

    def exit(self, leaver: Leaver) -> None:
        """It is no longer."""
        self._open.discard(leaver)

    async def run(self) -> None:
        """Let nobody in who would stay, and send away those who are here. Idempotent."""
        if self._draining:
            return
        self._draining = True
        waiting = list(self._open)
        log.info("draining: %d sockets and streams within %g s", len(waiting), self._over_s)
        for leaver in waiting:
            await asyncio.sleep(self._over_s / len(waiting))
            if leaver in self._open:
                leaver.leave(_elsewhere())


class Generation:
    """Drains this gateway once hosts of a newer deployment of the application are there.

    Args:
        own: The generation that this gateway belongs to; None: the first that is told.
    """

    def __init__(self, own: int | None, drain: Drain) -> None:
        self._own = own
        self._drain = drain

    def on_fleet(self, fleet: Fleet) -> None:
        if self._own is None:
            self._own = fleet.generation
        if fleet.generation > self._own and not self._drain.begun:
            spawn(self._drain.run(), name="gateway-drain")


def _elsewhere() -> Unavailable:
    return Unavailable(
        "This gateway is about to stop; come back, another one serves you.",
        code="gateway_draining",
        retry_after=1,
    )
