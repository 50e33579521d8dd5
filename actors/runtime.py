"""HostRuntime: the sessions of one process, without Ray.

Sessions are activated by the first command for them, found by key, and let go when nothing has
happened for a while and nobody listens. All of it runs on one event loop; there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from actors.desk import Desk
from actors.outlet import Outlet, Pacer
from actors.session import Session, SessionLimits
from actors.stateless import NoMemory
from contracts.commands import Command, Detach, EventBatch, Moved, Reply, SessionKey
from contracts.errors import HostUnavailable
from contracts.ids import STATELESS
from contracts.memory import Memory
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.actors.runtime")


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Bounds and pace of a host. Times in seconds.

    Args:
        sessions: Sessions held at once.
        idle_s: After this long without a turn or a reader, a session is let go.
        linger_s: After this long without a turn, its events are left to the store.
        sweep_s: How often that is looked at.
        urgent_s, bulk_s, phases: See `outlet`.
        keepalive_s: A pipe says something at least this often.
        outlet_items: Items that may wait for one gateway.
    """

    sessions: int
    idle_s: float
    linger_s: float
    sweep_s: float
    urgent_s: float
    bulk_s: float
    phases: int
    keepalive_s: float
    outlet_items: int


class HostRuntime:
    """Holds sessions and their outlets; what a `SessionHost` wraps."""

    def __init__(
        self,
        host_id: str,
        memory: Memory,
        desk: Desk,
        limits: HostLimits,
        session_limits: SessionLimits,
        clock: Callable[[], float],
    ) -> None:
        self.host_id = host_id
        self._memory = memory
        self._no_memory = NoMemory()
        self._desk = desk
        self._limits = limits
        self._session_limits = session_limits
        self._clock = clock
        self._sessions: dict[SessionKey, Session] = {}
        self._outlets: dict[str, Outlet] = {}
        self._listeners: dict[Session, set[Outlet]] = {}
        self._pacer = Pacer(limits.bulk_s, limits.phases, self._ship)
        self._sweeper: asyncio.Task[None] | None = None
        self._draining = False
        self._released: list[SessionKey] = []

    # -- what gateways call ---------------------------------------------------------------------

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        """Queue a batch. Answers leave by the gateway's pipe."""
        if self._sweeper is None:
            self._sweeper = spawn(self._sweep(), name="host-sweep")
        for command in commands:
            session = self._sessions.get(command.key) or self._admit(gateway_id, command)
            if session is not None:
                session.put(gateway_id, command)

    async def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        """Parcels for one gateway; a second pipe of the same gateway ends the first."""
        outlet = Outlet(gateway_id, self._limits.urgent_s, self._limits.outlet_items)
        before = self._outlets.get(gateway_id)
        if before is not None:
            self._unplug(before)
        self._outlets[gateway_id] = outlet
        try:
            async for parcel in outlet.departures(self._limits.keepalive_s):
                yield parcel
        finally:
            self._unplug(outlet)

    def load(self) -> int:
        """Sessions held."""
        return len(self._sessions)

    def released(self) -> list[SessionKey]:
        """The sessions let go since this was last asked."""
        released, self._released = self._released, []
        return released

    def keys(self) -> list[SessionKey]:
        """The sessions held, for a Directory that lost its memory."""
        return [key for key in self._sessions if not _is_stateless(key)]

    async def close(self) -> None:
        """Stop every session and pipe, then the agents."""
        self._draining = True
        await stop(self._sweeper)
        sessions = list(self._sessions.values())
        await asyncio.gather(*(session.close() for session in sessions))
        for outlet in list(self._outlets.values()):
            outlet.close()
        await self._desk.aclose()

    # -- sessions -------------------------------------------------------------------------------

    def _admit(self, gateway_id: str, command: Command) -> Session | None:
        if isinstance(command, Detach):
            return None
        if self._draining or (
            len(self._sessions) >= self._limits.sessions and not self._make_room()
        ):
            full = HostUnavailable(
                "The host takes no more sessions.", code="host_full", retry_after=1
            )
            self.reply(gateway_id, Reply(command.call, None, full))
            return None
        session = Session(
            command.key,
            self._no_memory if _is_stateless(command.key) else self._memory,
            self._desk,
            self,
            self._session_limits,
            self._clock,
        )
        self._sessions[command.key] = session
        return session

    def _make_room(self) -> bool:
        """Let the session go that has been idle longest; False if all are at work or read."""
        idle = [s for s in self._sessions.values() if s.is_idle and not self._listeners.get(s)]
        if not idle:
            return False
        self._let_go(min(idle, key=lambda session: session.idle_since))
        return True

    def _let_go(self, session: Session) -> None:
        if self._sessions.pop(session.key, None) is not None:
            self._released.append(session.key)
        self._listeners.pop(session, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            now = self._clock()
            for session in list(self._sessions.values()):
                if not session.is_idle:
                    continue
                idle_s = now - session.idle_since
                if idle_s >= self._limits.linger_s:
                    session.rest()
                if idle_s >= self._limits.idle_s and not self._listeners.get(session):
                    self._let_go(session)

    # -- the way out (SessionPost) --------------------------------------------------------------

    def reply(self, gateway_id: str, reply: Reply) -> None:
        outlet = self._outlets.get(gateway_id)
        if outlet is not None:
            outlet.add(reply)

    def attach(self, gateway_id: str, session: Session) -> None:
        outlet = self._outlets.get(gateway_id)
        if outlet is not None:
            outlet.sessions.add(session)
            self._listeners.setdefault(session, set()).add(outlet)

    def detach(self, gateway_id: str, session: Session) -> None:
        outlet = self._outlets.get(gateway_id)
        if outlet is not None:
            self._unlisten(outlet, session)
            outlet.sessions.discard(session)
        if _is_stateless(session.key) and not self._listeners.get(session):
            spawn(session.close(), name="session-close")

    def urgent(self, session: Session) -> None:
        self._pacer.urgent(session)

    def bulk(self, session: Session) -> None:
        self._pacer.bulk(session)

    def ended(self, session: Session, *, moved: bool) -> None:
        for outlet in self._listeners.pop(session, ()):
            outlet.sessions.discard(session)
            if moved:
                outlet.add(Moved(session.key))
        if self._sessions.get(session.key) is session:
            self._let_go(session)

    def _ship(self, session: Session) -> None:
        epoch, events = session.take()
        if events:
            batch = EventBatch(session.key, epoch, events)
            for outlet in self._listeners.get(session, ()):
                outlet.add(batch)

    def _unplug(self, outlet: Outlet) -> None:
        outlet.close()
        for session in outlet.sessions:
            self._unlisten(outlet, session)
        outlet.sessions.clear()
        if self._outlets.get(outlet.gateway_id) is outlet:
            del self._outlets[outlet.gateway_id]

    def _unlisten(self, outlet: Outlet, session: Session) -> None:
        listeners = self._listeners.get(session)
        if listeners is not None:
            listeners.discard(outlet)
            if not listeners:
                del self._listeners[session]


def _is_stateless(key: SessionKey) -> bool:
    return key.session_id.startswith(f"{STATELESS}_")
