"""Where sessions live, and where a new one goes: the least loaded of two hosts drawn at random.

Two random choices keep hosts nearly even and, unlike always taking the least loaded, do not send
every newcomer to the same host between two reports of load.

Everything here is a hint: a wrong answer costs an activation, never a conversation, because the
epoch in the store decides who may write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from random import Random

from contracts.commands import SessionKey
from contracts.errors import HostUnavailable


class Placement:
    """The Directory's memory. Bounded: the longest unasked-for session is forgotten first.

    Args:
        limit: Sessions remembered.
        random: Draws the two hosts; seeded in tests.
    """

    def __init__(self, limit: int, random: Random) -> None:
        self._limit = limit
        self._random = random
        self._loads: dict[str, int] = {}
        self._homes: OrderedDict[SessionKey, str] = OrderedDict()

    @property
    def hosts(self) -> dict[str, int]:
        """Living hosts with the sessions each is thought to hold."""
        return dict(self._loads)

    def register(self, host_id: str, keys: Iterable[SessionKey]) -> None:
        """A host is there and holds these sessions; it may have been there before."""
        held = list(keys)
        self._loads[host_id] = len(held)
        for key in held:
            self._remember(key, host_id)

    def report(self, host_id: str, load: int, released: Iterable[SessionKey]) -> bool:
        """Take a host's news. False: it is not known and should register."""
        if host_id not in self._loads:
            return False
        self._loads[host_id] = load
        for key in released:
            if self._homes.get(key) == host_id:
                del self._homes[key]
        return True

    def remove(self, host_id: str) -> None:
        """The host is gone; its sessions will be placed anew when they are asked for."""
        if self._loads.pop(host_id, None) is None:
            return
        for key in [key for key, home in self._homes.items() if home == host_id]:
            del self._homes[key]

    def locate(self, key: SessionKey) -> str:
        """The session's host, placing it if it has none. Raises `HostUnavailable`."""
        home = self._homes.get(key)
        if home is None:
            home = self._choose()
            self._loads[home] += 1
        self._remember(key, home)
        return home

    def _choose(self) -> str:
        if not self._loads:
            raise HostUnavailable("No session host is up.", retry_after=1)
        hosts = list(self._loads)
        drawn = self._random.sample(hosts, min(2, len(hosts)))
        return min(drawn, key=self._loads.__getitem__)

    def _remember(self, key: SessionKey, host_id: str) -> None:
        self._homes[key] = host_id
        self._homes.move_to_end(key)
        while len(self._homes) > self._limit:
            self._homes.popitem(last=False)
