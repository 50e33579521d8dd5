"""The Directory as a Ray actor: who is alive, where sessions live, how many hosts there are.

It may lose its memory at any time. Hosts are detached actors with names of their own, so whoever is
the Directory next finds them by name and asks each what it holds; until they have answered, or are
known to be gone, nothing is placed. It ends a host only once that host has let all its sessions go,
or has been silent for long.

A deployment on a cluster where Troupe runs already is a new **generation**: a new Directory takes
the name of the old one, brings up hosts of its own, and lets the old ones drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from random import Random
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.host import NAMESPACE, Presence, session_host
from actors.placement import Placement
from actors.roster import Member, Roster, is_host
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable
from contracts.hosts import Fleet, HostAddress
from contracts.tasks import spawn
from contracts.wire import hang_up

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger("troupe.actors.directory")

PING_TIMEOUT_S = 1.0
TICK_S = 1.0
GATHER_S = 2.0
"""How long a Directory without memory waits for the hosts whose names it finds."""
WATCH_S = 25.0
START_TIMEOUT_S = 60.0
SILENCE_S = 30.0
"""A host that has been up and says nothing for so long is killed, for Ray to start it anew."""
PATIENCE_S = 10.0
CLOSE_S = 10.0
"""What a drained host may take to close its stores."""
NODE_MARGIN_S = 2.0
"""Hosts are empty this long before their node goes."""
LOOK_AFTER_S = 3.0
"""After a host is gone, its readers have so long to wake its sessions by coming back."""
LOOK_BACK_S = 3600.0
FIRST_LOOK_BACK_S = 86400.0
"""Turns that are older are not looked for; they go on when somebody asks for their session."""
LOOK_TIMEOUT_S = 5.0
REMEMBERED = 500_000


class DirectoryShell:
    """The body of the actor."""

    def __init__(self, settings: Settings, generation: int) -> None:
        self._settings = settings
        self._generation = generation
        self._placement = Placement(REMEMBERED, settings.hosts.sessions_per_host, Random())
        self._roster = Roster(generation, settings.hosts.count, PATIENCE_S)
        self._addresses: dict[str, HostAddress] = {}
        self._handles: dict[str, Any] = {}
        self._tending: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, RayError] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._gathered = asyncio.Event()
        self._found: list[str] = []
        self._look_at: float | None = 0.0
        self._look_back_s = FIRST_LOOK_BACK_S
        self._begun_at = 0.0
        # By the clock, so that a Directory that comes after this one begins with a higher one.
        self._fleet = Fleet(time.time_ns() // 1_000_000, (), generation)
        self._news = asyncio.Event()

    # -- what others call -----------------------------------------------------------------------

    async def generation(self) -> int:
        """Which deployment this one belongs to."""
        return self._generation

    async def start(self) -> list[str]:
        """The ids of this generation's hosts, once all are up. Raises why one does not start."""
        self._begin()
        while not self._roster.complete:
            for failure in self._failures.values():
                raise failure
            await self._news.wait()
        return list(self._addresses)

    async def report(
        self,
        host_id: str,
        load: int,
        activated: dict[SessionKey, int],
        released: list[SessionKey],
    ) -> list[SessionKey] | None:
        """A host's news; returns the sessions it is to let go. None: it is not known yet."""
        self._begin()
        return self._placement.report(host_id, load, activated, released)

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        """The host of each session. Raises `HostUnavailable`."""
        self._begin()
        await self._gathered.wait()
        return [self._addresses[self._placement.locate(key)] for key in keys]

    async def suspect(self, host_id: str) -> None:
        """A gateway cannot reach a host: ask it, and place its sessions anew if it is silent."""
        member = self._roster.by_id(host_id)
        if member is None or member.address is None:
            return
        answers = await _answers(member.address, self._handles[member.name])
        if not answers and member.host_id == host_id:
            log.warning("host %s is gone", host_id)
            self._miss(member)

    async def watch(self, version: int) -> Fleet:
        """The hosts there are, as soon as they differ from those of `version`."""
        self._begin()
        await self._gathered.wait()
        try:
            async with asyncio.timeout(WATCH_S):
                while version == self._fleet.version:
                    await self._news.wait()
        except TimeoutError:
            pass  # nothing has changed, and the answer says so
        return self._fleet

    async def hosts(self) -> dict[str, int]:
        """Living hosts and the sessions they hold."""
        self._begin()
        await self._gathered.wait()
        return self._placement.hosts

    async def release(self, host_id: str) -> None:
        """Have one host drain and end; another one takes its place."""
        member = self._roster.by_id(host_id)
        if member is not None and not member.draining:
            self._let_go(member, self._settings.hosts.drain_s)

    async def drain(self, deadline_s: float) -> None:
        """Let every host go to rest, for the end of everything. None is replaced any more."""
        self._begin()
        await self._gathered.wait()
        if self._keeping is not None:
            self._keeping.cancel()
        for task in self._tending.values():
            task.cancel()
        members = [member for member in self._roster.members.values() if member.address]
        for member in members:
            self._mark_draining(member)
        ends = (_reply(self._handles[member.name].drain.remote(deadline_s)) for member in members)
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException):
                log.warning("a host did not drain: %r", end)

    # -- the hosts there should be ----------------------------------------------------------------

    def _begin(self) -> None:
        """Whoever calls first wakes a Directory that Ray has started anew."""
        if self._keeping is None:
            self._keeping = spawn(self._keep(), name="directory-keep", on_error=_give_up)

    async def _keep(self) -> None:
        await self._gather()
        self._gathered.set()
        self._begun_at = asyncio.get_running_loop().time()
        while True:
            try:
                for _ in range(self._roster.missing):
                    name = self._roster.new_name()
                    await self._create(name)
                await self._leave_nodes()
            except Exception as error:  # noqa: BLE001 - whatever Ray raises, it is asked again
                log.warning("the cluster does not answer: %r", error)
            waited_s = asyncio.get_running_loop().time() - self._begun_at
            for member in self._roster.outdated(waited_s):
                self._let_go(member, self._settings.hosts.drain_s)
            await self._look_after_turns()
            await asyncio.sleep(TICK_S)

    async def _gather(self) -> None:
        """Meet the hosts that there are already, as many as answer in time."""
        names = self._found = await asyncio.to_thread(_host_names)
        for name in names:
            handle = await asyncio.to_thread(_handle_of, name)
            if handle is not None:
                self._tend(name, handle)
        if names:
            log.info("hosts of before: %s", ", ".join(names))
        try:
            async with asyncio.timeout(GATHER_S):
                while any(member.address is None for member in self._roster.members.values()):
                    await self._news.wait()
        except TimeoutError:
            log.warning("not all hosts of before have answered")

    async def _create(self, name: str) -> None:
        actor = session_host(self._settings, name)
        self._tend(name, await asyncio.to_thread(actor.remote, self._settings))

    async def _leave_nodes(self) -> None:
        """Hosts on nodes that are to go drain once others are up elsewhere, or in time anyhow."""
        nodes = await asyncio.to_thread(_draining_nodes)
        for member in self._roster.on_nodes(nodes):
            drain_s = left_s = self._settings.hosts.drain_s
            if nodes[member.node]:
                left_s = nodes[member.node] / 1000 - time.time() - NODE_MARGIN_S
            if member.leaving and (self._roster.complete or left_s <= drain_s):
                self._let_go(member, max(0.0, left_s))
            member.leaving = True

    async def _look_after_turns(self) -> None:
        """Have turns go on that nobody runs: whose host is gone, and for which no reader came."""
        now = asyncio.get_running_loop().time()
        up = [m for m in self._roster.members.values() if m.address and not m.draining]
        if self._look_at is None or now < self._look_at or not up:
            return
        if any(m.name in self._found and m.address is None for m in self._roster.members.values()):
            # It may run them, and has not said so yet; but it is not waited for without end.
            self._found = self._found if now < self._begun_at + PATIENCE_S else []
            return
        back_s, self._look_at = self._look_back_s, None
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                latest = time.time() - LOOK_AFTER_S
                asked = self._handles[up[0].name].left_open.remote(latest - back_s, latest)
                there: dict[str, list[SessionKey]] = {}
                for key in await asked:
                    there.setdefault(self._placement.locate(key), []).append(key)
                for host_id, keys in there.items():
                    member = self._roster.by_id(host_id)
                    if member is not None:
                        await self._handles[member.name].adopt.remote(keys)
        except (TimeoutError, RayError, HostUnavailable) as error:
            log.warning("turns that nobody runs are looked for again: %r", error)
            self._look_at = now + LOOK_AFTER_S
        else:
            self._look_back_s = LOOK_BACK_S

    # -- one host ---------------------------------------------------------------------------------

    def _tend(self, name: str, handle: Any) -> None:
        member = self._roster.add(name)
        self._handles[name] = handle
        self._tending[name] = spawn(
            self._ask(member, handle), name=f"directory-{name}", on_error=_give_up
        )

    async def _ask(self, member: Member, handle: Any) -> None:
        """Ask a host again and again who it is; one that Ray restarted is another."""
        has_been_up = False
        while True:
            limit_s = SILENCE_S if has_been_up else START_TIMEOUT_S
            try:
                presence = await asyncio.wait_for(_reply(handle.start.remote()), limit_s)
                await self._meet(member, handle, presence)
                has_been_up = True
            except RayActorError:
                has_been_up = False
                self._miss(member)
                if await asyncio.to_thread(_is_gone, member.name):
                    self._bury(member)
                    return
            except TimeoutError:
                self._miss(member)
                log.warning("%s has said nothing for %.0f s", member.name, limit_s)
                if has_been_up:
                    has_been_up = False
                    await asyncio.to_thread(_kill, handle, no_restart=False)
            except RayError as error:
                log.warning("%s does not start: %r", member.name, error)
                self._failures[member.name] = error
                self._tell()
            await asyncio.sleep(TICK_S)

    async def _meet(self, member: Member, handle: Any, presence: Presence) -> None:
        """Take in a host that was not there a moment ago, with all it holds."""
        address = presence.address
        if member.address == address:
            return
        self._miss(member)
        claims = await asyncio.wait_for(_reply(handle.enlist.remote()), START_TIMEOUT_S)
        log.info("%s is up as %s, with %d sessions", member.name, address.host_id, len(claims))
        self._placement.enlist(
            address.host_id, claims, generation=member.generation, draining=presence.draining
        )
        self._addresses[address.host_id] = address
        self._failures.pop(member.name, None)
        member.address, member.node = address, presence.node
        if presence.draining:
            self._let_go(member, self._settings.hosts.drain_s)
        self._tell()

    def _miss(self, member: Member) -> None:
        """The process that was this host is gone, or as good as gone."""
        if member.host_id is not None:
            self._placement.remove(member.host_id)
            self._addresses.pop(member.host_id, None)
            member.address = None
            self._look_at = asyncio.get_running_loop().time() + LOOK_AFTER_S
            self._tell()

    def _bury(self, member: Member) -> None:
        """The actor is gone for good."""
        self._miss(member)
        self._roster.members.pop(member.name, None)
        for held in (self._handles, self._tending, self._failures):
            held.pop(member.name, None)
        self._tell()

    def _mark_draining(self, member: Member) -> None:
        member.draining = True
        if member.host_id is not None:
            self._placement.drain(member.host_id)

    def _let_go(self, member: Member, deadline_s: float) -> None:
        """Have a host drain and then end."""
        self._mark_draining(member)
        self._tending[member.name].cancel()
        self._tending[member.name] = spawn(
            self._drain(member, self._handles[member.name], deadline_s),
            name=f"directory-drain-{member.name}",
            on_error=_give_up,
        )

    async def _drain(self, member: Member, handle: Any, deadline_s: float) -> None:
        log.info("%s drains within %.0f s", member.name, deadline_s)
        if member.address is not None:
            try:
                async with asyncio.timeout(deadline_s + CLOSE_S):
                    await _reply(handle.drain.remote(deadline_s))
            except (TimeoutError, RayError) as error:
                log.warning("%s did not drain: %r", member.name, error)
        await asyncio.to_thread(_kill, handle, no_restart=True)
        self._bury(member)
        log.info("%s has ended", member.name)

    def _tell(self) -> None:
        """Wake whoever waits for a change."""
        hosts = self._roster.addresses
        if hosts != self._fleet.hosts:
            self._fleet = Fleet(self._fleet.version + 1, hosts, self._generation)
        news, self._news = self._news, asyncio.Event()
        news.set()


def _give_up(error: BaseException) -> None:
    """A Directory that does not watch over its hosts is worse than one without memory."""
    log.critical("the Directory ends, for Ray to start it anew", exc_info=error)
    os._exit(1)


async def _reply(ref: Any) -> Any:
    """An ObjectRef as a coroutine, which is what asyncio's helpers take."""
    return await ref


async def _answers(address: HostAddress, handle: Any) -> bool:
    """Whether a host lives. A process that was killed is known at once by its closed port."""
    try:
        async with asyncio.timeout(PING_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.host, address.port)
            await hang_up(writer)
            return await _reply(handle.ping.remote()) == address.host_id
    except (TimeoutError, OSError, RayError):
        return False


def _host_names() -> list[str]:
    """The hosts that there are, dead ones that Ray is going to restart included."""
    named: list[Any] = ray.util.list_named_actors(all_namespaces=True)
    ours = (actor["name"] for actor in named if actor["namespace"] == NAMESPACE)
    return [name for name in ours if is_host(name)]


def _handle_of(name: str) -> Any:
    """The actor of this name; None if it is gone for good."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def _is_gone(name: str) -> bool:
    """Whether no actor of this name will come back. A cluster that does not answer says nothing."""
    try:
        return _handle_of(name) is None
    except RayError as error:
        log.warning("the cluster does not answer: %r", error)
        return False


def _kill(handle: Any, *, no_restart: bool) -> None:
    try:
        ray.kill(handle, no_restart=no_restart)
    except RayError as error:
        log.warning("a host could not be ended: %r", error)


def _draining_nodes() -> dict[str, int]:
    """Nodes that are to go, by hex id, with Unix milliseconds of when; 0: that is not known.

    The name is private to Ray, and there is no other; the version is pinned to the minor.
    """
    return ray._private.state.state.get_draining_nodes()  # pyright: ignore
