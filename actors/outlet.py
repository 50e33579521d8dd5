"""Events on their way out: one outlet per gateway, one pacer per host.

Each item that goes through a pipe, and each write to a socket behind it, is what costs; so the
pacer merges. A session whose reader waits for something (first token, accepted, end, error) ships
at once, and its outlets leave as soon as they last left `urgent_s` ago. A session in the middle of
an answer ships at a tick, some time after it last did, and the more of them speak the longer that
is (`contracts.pace`). Ticks are short, so that a thousand sessions do not all reach the gateway in
one burst that a first token would wait behind.
A host in which nothing is said sets no timer.
"""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from contracts.commands import EventBatch, Moved, Parcel, Reply, Slept, Woke
from contracts.pace import Pace

if TYPE_CHECKING:
    from actors.session import Session


class Outlet:
    """What waits to leave for one gateway, and the sessions that gateway listens to.

    Args:
        urgent_s: Least time between two departures.
        limit: Items that may wait; a gateway that takes nothing until then is cut off and must
            open a new pipe.
    """

    def __init__(self, gateway_id: str, urgent_s: float, limit: int) -> None:
        self.gateway_id = gateway_id
        self.sessions: set[Session] = set()
        self.closed = False
        self._urgent_s = urgent_s
        self._limit = limit
        self._items: Parcel = []
        self._ready = asyncio.Event()
        self._left_at = 0.0

    def add(self, item: Reply | EventBatch | Moved | Slept | Woke) -> None:
        if self.closed:
            return
        if len(self._items) >= self._limit:
            self.close()
            return
        self._items.append(item)
        self._ready.set()

    def close(self) -> None:
        """End the pipe; its gateway gives the host up and its readers come back."""
        self.closed = True
        self._items.clear()
        self._ready.set()

    async def departures(
        self, keepalive_s: float, hand_off: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[bytes]:
        """Pickled parcels; an empty one first, and whenever `keepalive_s` passed in silence.

        `hand_off` comes before each: what readers are told is recorded outside this process, so
        that nothing they have seen dies with it.
        """
        loop = asyncio.get_running_loop()
        yield pickle.dumps([])
        while not self.closed:
            if not self._items:
                self._ready.clear()
                timer = loop.call_later(keepalive_s, self._ready.set)
                try:
                    await self._ready.wait()
                finally:
                    timer.cancel()
            early = self._left_at + self._urgent_s - loop.time()
            if early > 0:
                await asyncio.sleep(early)
            items, self._items = self._items, []
            self._left_at = loop.time()
            if items:
                await hand_off()
            yield pickle.dumps(items, protocol=pickle.HIGHEST_PROTOCOL)


class Pacer:
    """Decides when a session's events are cut and put into its outlets.

    Args:
        pace: How long text is gathered.
        phases: Ticks of the shortest of these times.
        ship: Takes a session's events out.
    """

    def __init__(self, pace: Pace, phases: int, ship: Callable[[Session], None]) -> None:
        self._pace = pace
        self._tick_s = pace.least_s / phases
        self._ship = ship
        ticks = math.ceil(pace.most_s / self._tick_s)
        self._slots: list[set[Session]] = [set() for _ in range(ticks)]
        self._phase = 0
        self._due: set[Session] = set()
        self._timer: asyncio.TimerHandle | None = None

    def urgent(self, session: Session) -> None:
        """Ship now."""
        session.shipped_at = asyncio.get_running_loop().time()
        self._ship(session)

    def bulk(self, session: Session) -> None:
        """Ship at the first tick by which its time has passed since the session last shipped."""
        if session in self._due:
            return
        loop = asyncio.get_running_loop()
        pace_s = self._pace.of(len(self._due) + 1)
        rest_s = pace_s - (loop.time() - session.shipped_at)
        ticks = min(max(1, math.ceil(rest_s / self._tick_s)), len(self._slots))
        self._due.add(session)
        self._slots[(self._phase + ticks) % len(self._slots)].add(session)
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        self._phase = (self._phase + 1) % len(self._slots)
        slot = self._slots[self._phase]
        if slot:
            self._slots[self._phase] = set()
            self._due -= slot
            now = loop.time()
            for session in slot:
                session.shipped_at = now
                self._ship(session)
        if self._due and self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick)
