"""HostRuntime: the sessions of one process, without Ray.

Sessions are activated by the first command for them, found by key, and let go when nothing has
happened for a while: their readers stay at their gateways, asleep, and attach when the session is
active again. All of it runs on one event loop; there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from actors.desk import Desk
from actors.limits import HostLimits, SessionLimits
from actors.outlet import Outlet, Pacer
from actors.purse import Purse
from actors.session import Session
from actors.stateless import NoMemory
from contracts.commands import (
    AwaitWake,
    Command,
    Detach,
    EventBatch,
    Moved,
    Reply,
    SessionKey,
    Slept,
    Woke,
)
from contracts.errors import Deposed, HostUnavailable
from contracts.ids import STATELESS
from contracts.memory import Memory
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.actors.runtime")


class HostRuntime:
    """Holds sessions and their outlets; what a `SessionHost` wraps."""

    def __init__(
        self,
        host_id: str,
        memory: Memory,
        desk: Desk,
        purse: Purse,
        limits: HostLimits,
        session_limits: SessionLimits,
        clock: Callable[[], float],
    ) -> None:
        self.host_id = host_id
        self._memory = memory
        self._no_memory = NoMemory()
        self._desk = desk
        self._purse = purse
        self._limits = limits
        self._session_limits = session_limits
        self._clock = clock
        self._sessions: dict[SessionKey, Session] = {}
        self._outlets: dict[str, Outlet] = {}
        self._listeners: dict[Session, set[Outlet]] = {}
        self._pacer = Pacer(limits.pace, limits.phases, self._ship)
        self._sweeper: asyncio.Task[None] | None = None
        self._draining = False
        self._emptied = asyncio.Event()
        self.activations = 0

    # -- what gateways call ---------------------------------------------------------------------

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        """Queue a batch. Answers leave by the gateway's pipe."""
        for command in commands:
            session = self._sessions.get(command.key)
            if isinstance(command, AwaitWake):
                if session is not None and session.is_active:
                    self._say(gateway_id, Woke(command.key))
                continue
            session = session or self._admit(gateway_id, command)
            if session is not None:
                session.put(gateway_id, command)

    def adopt(self, keys: Iterable[SessionKey]) -> None:
        """Activate these sessions, so that turns which a lost host left open go on."""
        for key in keys:
            if key not in self._sessions and not self._is_full():
                self._open(key).wake()

    async def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        """Parcels for one gateway; a second pipe of the same gateway ends the first."""
        outlet = Outlet(gateway_id, self._limits.urgent_s, self._limits.outlet_items)
        before = self._outlets.get(gateway_id)
        if before is not None:
            self._unplug(before)
        self._outlets[gateway_id] = outlet
        try:
            async for parcel in outlet.departures(self._limits.keepalive_s, self._memory.hand_off):
                yield parcel
        finally:
            self._unplug(outlet)

    def load(self) -> int:
        """Sessions held."""
        return len(self._sessions)

    def claims(self) -> dict[SessionKey, int]:
        """The sessions held, with the epoch of each, for the Directory."""
        return {
            key: session.log.epoch
            for key, session in self._sessions.items()
            if session.is_active and not _is_stateless(key)
        }

    def running(self) -> int:
        """Sessions in which a turn runs."""
        return sum(session.has_turn for session in self._sessions.values())

    def waiting(self) -> int:
        """Turns that wait for another one of their session."""
        return sum(session.waiting for session in self._sessions.values())

    async def depose(self, keys: Iterable[SessionKey]) -> None:
        """Stop these sessions: newer activations of them live elsewhere."""
        for key in keys:
            session = self._sessions.get(key)
            if session is not None:
                await session.deposed()

    async def drain(self, deadline_s: float) -> None:
        """Let every session go: idle ones at once, the others when their turn has ended.

        At the deadline the rest stop without ending their turns, which whoever activates those
        sessions next goes on with. New sessions are refused from now on. Returns when none is left.
        """
        self._draining = True
        for session in list(self._sessions.values()):
            session.drain()
            self.rested(session)
        try:
            async with asyncio.timeout(deadline_s):
                while self._sessions:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            log.info("%d sessions are left to their next activation", len(self._sessions))
        rest = list(self._sessions.values())
        await asyncio.gather(*(s.close() if _is_stateless(s.key) else s.abandon() for s in rest))
        # What readers were told last is on record before this process may end.
        await self._memory.hand_off()

    async def close(self) -> None:
        """Stop every session and pipe, then the agents. Open turns are left open."""
        await self.drain(0)
        await stop(self._sweeper)
        for outlet in list(self._outlets.values()):
            outlet.close()
        await self._purse.aclose()
        await self._desk.aclose()

    # -- sessions -------------------------------------------------------------------------------

    def _admit(self, gateway_id: str, command: Command) -> Session | None:
        if isinstance(command, Detach):
            return None
        if self._draining:
            # Not here, but elsewhere at once: whoever asked locates the session anew.
            moved = Deposed("The host takes no more sessions.", retry_after=0)
            self.reply(gateway_id, Reply(command.call, None, moved))
            return None
        if self._is_full():
            full = HostUnavailable(
                "The host takes no more sessions.", code="host_full", retry_after=1
            )
            self.reply(gateway_id, Reply(command.call, None, full))
            return None
        return self._open(command.key)

    def _open(self, key: SessionKey) -> Session:
        if self._sweeper is None:
            self._sweeper = spawn(self._sweep(), name="host-sweep")
        session = self._sessions[key] = Session(
            key,
            self._no_memory if _is_stateless(key) else self._memory,
            self._desk,
            self._purse,
            self,
            self._session_limits,
            self._clock,
        )
        return session

    def _is_full(self) -> bool:
        """No place, and nobody in it who could go."""
        return self._draining or (
            len(self._sessions) >= self._limits.sessions and not self._make_room()
        )

    def _make_room(self) -> bool:
        """Let the session go that has been idle longest; False if all are at work.

        One that nobody reads goes before one whose readers would be sent to sleep.
        """
        idle = [session for session in self._sessions.values() if session.is_idle]
        if not idle:
            return False
        self._let_go(min(idle, key=lambda s: (bool(self._listeners.get(s)), s.idle_since)))
        return True

    def _let_go(self, session: Session) -> None:
        """Forget an idle session; what it knows is in the store, and its readers sleep."""
        for outlet in self._listeners.pop(session, ()):
            outlet.sessions.discard(session)
            outlet.add(Slept(session.key))
        self._forget(session)

    def _forget(self, session: Session) -> None:
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
            if not self._sessions:
                self._emptied.set()

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
                if idle_s >= self._limits.idle_s:
                    self._let_go(session)

    # -- the way out (SessionPost) --------------------------------------------------------------

    def reply(self, gateway_id: str, reply: Reply) -> None:
        self._say(gateway_id, reply)

    def _say(self, gateway_id: str, item: Reply | Woke) -> None:
        outlet = self._outlets.get(gateway_id)
        if outlet is not None:
            outlet.add(item)

    def woke(self, session: Session) -> None:
        self.activations += 1
        if not _is_stateless(session.key):
            for outlet in self._outlets.values():
                outlet.add(Woke(session.key))

    def rested(self, session: Session) -> None:
        if not self._draining or session.has_turn or session.is_busy:
            return
        if session.is_idle:
            self._let_go(session)
        else:  # what waits there is for its next activation
            spawn(session.abandon(), name="session-abandon")

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
        self._forget(session)

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
