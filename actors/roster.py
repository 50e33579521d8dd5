"""The hosts that there are and that there should be, by the names of their actors. Plain data.

A name is `host-<generation>-<number>`: it says by itself which deployment made the host, so a
Directory that lost its memory needs to read names alone. A name is used once; the process behind it
may be another after Ray restarted it, which its host id tells.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from contracts.hosts import HostAddress

_PREFIX = "host-"


@dataclass(slots=True)
class Member:
    """One host. `address` None: it is not up, or not yet. `node` is where Ray put it.

    `leaving`: its node is about to go, so another one is to be there before it drains.
    """

    name: str
    generation: int
    address: HostAddress | None = None
    node: str = ""
    draining: bool = False
    leaving: bool = False

    @property
    def host_id(self) -> str | None:
        return None if self.address is None else self.address.host_id


class Roster:
    """Who is there, from the point of view of one generation.

    Args:
        generation: The deployment whose hosts are to be there.
        wanted: How many of them.
        patience_s: After so long, hosts of other generations go although not all of this one's are
            up: it may be their place that is missing.
    """

    def __init__(self, generation: int, wanted: int, patience_s: float) -> None:
        self._generation = generation
        self._wanted = wanted
        self._patience_s = patience_s
        self._last = 0
        self.members: dict[str, Member] = {}

    def add(self, name: str) -> Member:
        """There is an actor of this name."""
        generation, number = parse(name)
        if generation == self._generation:
            self._last = max(self._last, number)
        member = self.members[name] = Member(name, generation)
        return member

    def new_name(self) -> str:
        """For one more host of this generation."""
        return f"{_PREFIX}{self._generation}-{self._last + 1}"

    def by_id(self, host_id: str) -> Member | None:
        """The member whose present process has this id."""
        return next((m for m in self.members.values() if m.host_id == host_id), None)

    @property
    def addresses(self) -> tuple[HostAddress, ...]:
        """Where the hosts that are up listen; draining ones included."""
        return tuple(m.address for m in self.members.values() if m.address is not None)

    @property
    def complete(self) -> bool:
        """Whether as many hosts of this generation are up, to stay, as there should be."""
        return self._up() >= self._wanted

    @property
    def missing(self) -> int:
        """How many hosts of this generation there are too few, counting those that start."""
        return max(0, self._wanted - sum(self._is_ours(m) for m in self.members.values()))

    def outdated(self, waited_s: float) -> list[Member]:
        """Hosts of other generations that are to drain now, this one having waited so long.

        All of them once this generation's are up. Where it cannot start, one at a time, which gives
        up its place.
        """
        others = [m for m in self.members.values() if m.generation != self._generation]
        staying = [member for member in others if not member.draining]
        if self.complete or (waited_s >= self._patience_s and self._up()):
            return staying
        if waited_s >= self._patience_s and not any(member.draining for member in others):
            return staying[:1]
        return []

    def on_nodes(self, nodes: Collection[str]) -> list[Member]:
        """Hosts on these nodes that do not drain yet."""
        return [m for m in self.members.values() if m.node in nodes and not m.draining]

    def _up(self) -> int:
        return sum(self._is_ours(m) and m.address is not None for m in self.members.values())

    def _is_ours(self, member: Member) -> bool:
        stays = not member.draining and not member.leaving
        return stays and member.generation == self._generation


def is_host(name: str) -> bool:
    """Whether an actor's name is a host's."""
    return name.startswith(_PREFIX)


def parse(name: str) -> tuple[int, int]:
    """The generation and number in a host's name; 0 for what is not there."""
    words = [int(word) for word in name.removeprefix(_PREFIX).split("-") if word.isdigit()]
    return (words[0], words[1]) if len(words) == 2 else (0, 0)
