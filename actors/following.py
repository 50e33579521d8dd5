"""Following: what is in force, for a process that needs agents and has no sessions.

What it asks of endpoints counts in the limits that hosts share, and what hosts tell of endpoints
holds for it as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from actors.desk import Desk, Seat
from actors.renewal import Renewal
from actors.seating import health_of
from actors.seats import in_force
from config.stores import exchange_of, memory_of
from context.exchange import Exchange
from context.watch import PolicyWatch
from contracts.ids import new_id
from contracts.tasks import spawn, stop

if TYPE_CHECKING:
    from config.settings import Settings
    from context.memory import ContextMemory


class Following:
    """The agents of settings and policies, as they are now. Nothing happens before `open`."""

    def __init__(self, settings: Settings) -> None:
        # Nobody reads along: what a model says is read as it comes.
        pace = settings.hosts.pace.model_copy(update={"bulk_ms": 0.0, "urgent_ms": 0.0})
        hosts = settings.hosts.model_copy(update={"pace": pace})
        self._settings = settings.model_copy(update={"hosts": hosts})
        self.health = health_of(self._settings)
        """What this process knows of endpoints."""
        self._memory: ContextMemory | None = None
        self._desk: Desk | None = None
        self._renewal: Renewal | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None

    @property
    def seats(self) -> Mapping[str, Seat]:
        """The agents by name; none before it is open."""
        return self._desk.in_force.seats if self._desk else {}

    async def open(self) -> None:
        """Load the agents' SDKs, and look for policies from now on. Raises `StoreUnavailable`."""
        desk = Desk(await asyncio.to_thread(in_force, self._settings, self.health))
        memory = memory_of(self._settings)
        try:
            await memory.open()
            renewal = Renewal(self._settings, self.health, desk)
            poll_s = self._settings.routing.poll_s
            watch = PolicyWatch(memory.policies, renewal.apply, poll_s=poll_s)
            await watch.look()
        except BaseException:
            await memory.aclose()
            await desk.aclose()
            raise
        self._memory, self._desk, self._renewal = memory, desk, renewal
        self._watcher = spawn(watch.run(), name="router-policies")
        self._exchange = exchange_of(self._settings, new_id("router"), self.health, None)
        self.health.on_shut = self._exchange.nudge
        self._exchange.open()

    async def aclose(self) -> None:
        await stop(self._watcher)
        for each in (self._exchange, self._renewal, self._desk, self._memory):
            if each is not None:
                await each.aclose()
