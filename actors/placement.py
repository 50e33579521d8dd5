"""Where sessions live, and where a new one goes: the least loaded of two hosts drawn at random.

Two random choices keep hosts nearly even and, unlike always taking the least loaded, do not send
every newcomer to the same host between two reports of load. Newcomers go to hosts of the newest
generation that is up, and never to one that drains.

Everything here is a hint: a wrong answer costs an activation, never a conversation, because the
epoch in the store decides who may write. Where two hosts claim a session, the higher epoch wins and
the other host is told to let it go. An epoch that nobody has told yet is 0: the session was placed
since, so whoever claims it from memory is not believed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from contracts.commands import SessionKey
from contracts.errors import HostUnavailable


class Home(NamedTuple):
    """A session's host, and the epoch of its activation there; 0: not heard of yet."""

    host_id: str
    epoch: int


@dataclass(slots=True)
class Berth:
    """A host as placement sees it. `superseded`: sessions it holds that live elsewhere now."""

    generation: int
    draining: bool
    load: int
    superseded: list[SessionKey] = field(default_factory=list[SessionKey])


class Placement:
    """The Directory's memory. Bounded: the longest unasked-for session is forgotten first.

    Args:
        limit: Sessions remembered.
        capacity: Sessions of a host; a full one is drawn only where all are full, since it may
            still have an idle session to let go.
        random: Draws the two hosts; seeded in tests.
    """

    def __init__(self, limit: int, capacity: int, random: Random) -> None:
        self._limit = limit
        self._capacity = capacity
        self._random = random
        self._berths: dict[str, Berth] = {}
        self._homes: OrderedDict[SessionKey, Home] = OrderedDict()

    @property
    def hosts(self) -> dict[str, int]:
        """Living hosts with the sessions each is thought to hold."""
        return {host_id: berth.load for host_id, berth in self._berths.items()}

    def enlist(
        self,
        host_id: str,
        claims: Mapping[SessionKey, int],
        *,
        generation: int,
        draining: bool = False,
    ) -> None:
        """A host is there and holds these sessions, each with its epoch.

        It may have been there before, and its sessions may have been placed elsewhere since.
        """
        self._berths[host_id] = Berth(generation, draining, len(claims))
        for key, epoch in claims.items():
            home = self._homes.get(key)
            if home is None or home.host_id == host_id or home.epoch:
                self._claim(key, host_id, epoch)

    def report(
        self,
        host_id: str,
        load: int,
        activated: Mapping[SessionKey, int],
        released: Iterable[SessionKey],
    ) -> list[SessionKey] | None:
        """Take a host's news; returns which sessions it is to let go.

        None: the host is not known, and nothing was taken.
        """
        berth = self._berths.get(host_id)
        if berth is None:
            return None
        berth.load = load
        for key, epoch in activated.items():
            self._claim(key, host_id, epoch)
        for key in released:
            home = self._homes.get(key)
            if home is not None and home.host_id == host_id:
                del self._homes[key]
        superseded, berth.superseded = berth.superseded, []
        return superseded

    def drain(self, host_id: str) -> None:
        """Nothing is placed there any more; sessions that are active there stay until they go."""
        berth = self._berths.get(host_id)
        if berth is not None:
            berth.draining = True

    def remove(self, host_id: str) -> None:
        """The host is gone; its sessions will be placed anew when they are asked for."""
        if self._berths.pop(host_id, None) is None:
            return
        for key in [key for key, home in self._homes.items() if home.host_id == host_id]:
            del self._homes[key]

    def locate(self, key: SessionKey) -> str:
        """The session's host, placing it if it has none. Raises `HostUnavailable`."""
        home = self._homes.get(key)
        if home is None or (home.epoch == 0 and self._berths[home.host_id].draining):
            home = Home(self._choose(), 0)
            self._berths[home.host_id].load += 1
        self._remember(key, home)
        return home.host_id

    def _claim(self, key: SessionKey, host_id: str, epoch: int) -> None:
        home = self._homes.get(key)
        if home is not None and home.host_id != host_id:
            if epoch < home.epoch:
                self._berths[host_id].superseded.append(key)
                return
            if home.epoch:
                self._berths[home.host_id].superseded.append(key)
        self._remember(key, Home(host_id, epoch))

    def _choose(self) -> str:
        open_to = {id: berth for id, berth in self._berths.items() if not berth.draining}
        if not open_to:
            raise HostUnavailable("No session host is up.", retry_after=1)
        newest = max(berth.generation for berth in open_to.values())
        all_hosts = [id for id, berth in open_to.items() if berth.generation == newest]
        hosts = [id for id in all_hosts if open_to[id].load < self._capacity] or all_hosts
        drawn = self._random.sample(hosts, min(2, len(hosts)))
        return min(drawn, key=lambda host_id: open_to[host_id].load)

    def _remember(self, key: SessionKey, home: Home) -> None:
        self._homes[key] = home
        self._homes.move_to_end(key)
        while len(self._homes) > self._limit:
            self._homes.popitem(last=False)
