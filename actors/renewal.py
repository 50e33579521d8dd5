"""Renewal: what a desk works with is replaced as policies change, and what it left is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from actors.desk import Desk
from actors.seats import left, renewed
from contracts.agents import Agent
from contracts.policies import Policy
from contracts.tasks import spawn, stop
from routing.health import HealthBook

if TYPE_CHECKING:
    from config.settings import Settings


class Renewal:
    """Puts policies in force at a desk.

    A turn keeps its seat to its end, so an adapter that was left is closed once no turn can have
    it any more.

    Args:
        settings: As loaded.
        health: What this process knows of endpoints.
        desk: Works with what is in force.
        sleep: Waits.
    """

    def __init__(
        self,
        settings: Settings,
        health: HealthBook,
        desk: Desk,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._health = health
        self._desk = desk
        self._sleep = sleep
        self._left: dict[asyncio.Task[None], Sequence[Agent]] = {}

    async def apply(self, policies: Sequence[Policy]) -> None:
        """From now on these hold. Raises `InvalidRequest`, and then has changed nothing."""
        before = self._desk.in_force
        after = await renewed(self._settings, self._health, policies, before)
        self._desk.replace(after)
        agents = left(before, after)
        if agents:
            task = spawn(self._close_later(agents), name="adapters-left")
            self._left[task] = agents
            task.add_done_callback(lambda done: self._left.pop(done, None))

    async def aclose(self) -> None:
        """Close at once whatever was left."""
        waiting = dict(self._left)
        await stop(*waiting)
        for agents in waiting.values():
            await _close(agents)

    async def _close_later(self, agents: Sequence[Agent]) -> None:
        hosts = self._settings.hosts
        # A turn that waits in a mailbox has its seat already.
        await self._sleep(hosts.max_turn_s * (hosts.mailbox_size + 1))
        await _close(agents)


async def _close(agents: Sequence[Agent]) -> None:
    for agent in agents:
        await agent.aclose()
