"""Follows the policies: what is in force changes in this process soon after it was put.

Plain asyncio. Where the store is away, or what it holds cannot be had here, what is in force
stays so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from contracts.errors import StoreUnavailable, TroupeError
from contracts.policies import Policy, PolicyStore

log = logging.getLogger("troupe.context.watch")

AGAIN_S = 30.0
"""After which policies that could not be had are tried once more: a file may be there now."""


class PolicyWatch:
    """Asks for newer policies, and has them put in force.

    Args:
        store: Where they are.
        apply: Puts these in force, all of them together, the newest of each scope. Raises a
            `TroupeError` where that cannot be done; then it has changed nothing.
        poll_s: Between two looks.
        sleep: Waits.
    """

    def __init__(
        self,
        store: PolicyStore,
        apply: Callable[[Sequence[Policy]], Awaitable[None]],
        *,
        poll_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._apply = apply
        self._poll_s = poll_s
        self._sleep = sleep
        self._known: dict[str, Policy] = {}
        self._seen = 0
        self._waited_s = 0.0
        self._away = False
        self._one_at_a_time = asyncio.Lock()
        self.revision = 0
        """Of what is in force here; 0: settings alone."""
        self.problem: str | None = None
        """Why what is newest is not in force here."""

    @property
    def known(self) -> Sequence[Policy]:
        """The newest version of each scope, as far as it was seen."""
        return tuple(self._known.values())

    async def look(self) -> None:
        """Look now; the first time before anything is served. Raises `StoreUnavailable`.

        Policies that cannot be had here are a problem, not an error: what was in force stays, at
        first settings alone.
        """
        async with self._one_at_a_time:
            await self._look()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._sleep(self._poll_s)
            try:
                await self.look()
            except StoreUnavailable as error:
                if not self._away:
                    log.warning("policies stay as they are: %s", error.message)
                self._away = True
            else:
                self._away = False

    async def _look(self) -> None:
        newer = await self._store.newer(self._seen)
        for policy in newer:
            self._known[policy.scope] = policy
            self._seen = max(self._seen, policy.revision)
        self._waited_s += self._poll_s
        if newer or (self.problem is not None and self._waited_s >= AGAIN_S):
            self._waited_s = 0.0
            await self._put_in_force()

    async def _put_in_force(self) -> None:
        try:
            await self._apply(self.known)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is in force stays
            said = error.message if isinstance(error, TroupeError) else repr(error)
            problem = f"revision {self._seen}: {said}"
            if problem != self.problem:
                log.error("policies cannot be put in force here: %s", problem)
            self.problem = problem
            return
        self.problem = None
        self.revision = self._seen
        log.info("policies of revision %d are in force", self.revision)
