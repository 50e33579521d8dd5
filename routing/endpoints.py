"""An agent's endpoints: which of them takes the next request, and what became of it.

Pure: the caller says what time it is. One `EndpointSet` serves all turns of an agent in a process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Any, Protocol

from contracts.errors import TroupeError
from contracts.messages import Usage
from routing.health import Asked, Capacity, Health, least
from routing.limits import A_WHILE_S

ALIKE = 1.25
"""Costs that differ by less are alike: then weights decide, not the last measurement."""
ANYTHING = Capacity()
SILENT = 3
"""Streams that are silent at once make an endpoint one to avoid, if they are half of its own."""


class Ticket(Protocol):
    """A place at an endpoint, from the request until it is given back by exactly one of the last
    four.
    """

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        ...

    def spoke(self, now: float) -> None:
        """The first token is here."""
        ...

    def done(self, now: float, usage: Usage | None) -> None:
        """The stream came to its end."""
        ...

    def failed(self, now: float, error: TroupeError) -> None:
        """The request failed, before the first token or after it."""
        ...

    def left(self, now: float) -> None:
        """We went away: cancelled, outrun by another request."""
        ...

    def unused(self, now: float) -> None:
        """The request was never made."""
        ...


class EndpointSet(Protocol):
    """One agent's endpoints."""

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Ticket | None:
        """A place at the endpoint that will most likely speak first; None if none can take it.

        Args:
            now: Seconds, of a clock that only goes forward.
            tokens: What the request may use of a limit: input and the most that may be answered.
            avoid: Names not to be taken.
        """
        ...

    def wait_s(self, now: float, *, tokens: int, leaving: Ticket | None = None) -> float:
        """Seconds until one may be able to; 0: now.

        `leaving`: a place that is about to be given back, and counts as free.
        """
        ...

    def capacities(self) -> Iterable[tuple[Health, Capacity]]:
        """What its agent says that each can take from all hosts together."""
        ...

    def view(self, now: float) -> tuple[Mapping[str, Any], ...]:
        """How each stands: see `contracts.decisions.Decision.candidates`."""
        ...

    def report(self, now: float, wall: float) -> list[dict[str, Any]]:
        """How each stands, for people. `wall`: the same moment in Unix seconds."""
        ...


def limit(sets: Iterable[EndpointSet]) -> None:
    """From now on it is these agents that say what their endpoints can take.

    Where several use the same one, the least of what they say holds.
    """
    said: dict[Health, list[Capacity]] = {}
    for endpoints in sets:
        for health, capacity in endpoints.capacities():
            said.setdefault(health, []).append(capacity)
    for health, capacities in said.items():
        health.capacity = least(capacities)


class Endpoint:
    """One endpoint among an agent's.

    Args:
        name: Unique in its set.
        health: What is known of it; shared with other agents that use the same.
        weight: Its share where all else is equal.
        silent: How many of its streams have been silent for seconds.
        facts: What to tell people of it.
        capacity: What its agent says that it can take; holds once it is in force (`limit`).
    """

    __slots__ = (
        "asked",
        "capacity",
        "facts",
        "failed",
        "health",
        "name",
        "running",
        "silent",
        "weight",
    )

    def __init__(
        self,
        name: str,
        health: Health,
        weight: float = 1.0,
        silent: Callable[[], int] | None = None,
        facts: Mapping[str, Any] | None = None,
        capacity: Capacity = ANYTHING,
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.health = health
        self.weight = weight
        self.silent = silent or _none
        self.facts = dict(facts or {})
        self.running = 0
        self.asked = 0
        self.failed = 0

    @property
    def falls_silent(self) -> bool:
        """Its streams stop in their middle; before long their time-outs will say so too."""
        silent = self.silent()
        return silent >= SILENT and silent * 2 >= self.running


class Balanced:
    """Of two endpoints drawn by weight, the one that will most likely speak first is taken.

    Drawing two keeps all hosts from running to the one that is quickest just now, and needs no
    list in order. Among endpoints that are alike the shares follow the weights.

    Args:
        endpoints: At least one.
        max_sessions: Requests that may run at once, at all of them together.
        chance: What draws.
        alone: No other agent stands in. Where none of them is well, nothing is won by leaving
            them alone for long: whoever fails is probed as soon as the first time.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        max_sessions: int,
        chance: Random,
        *,
        alone: bool = False,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.running = 0
        self._max_sessions = max_sessions
        self._chance = chance
        self._alone = alone
        self._least = min(endpoint.weight for endpoint in endpoints)

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Ticket | None:
        if self.running >= self._max_sessions:
            return None
        allowed = [e for e in self.endpoints if e.name not in avoid]
        free = [e for e in allowed if e.health.wait_s(now, tokens) <= 0.0]
        if not free and self._urgent():
            free = [e for e in allowed if e.health.wait_s(now, tokens, urgent=True) <= 0.0]
        if not free:
            return None
        if len(free) > 1:
            free = [e for e in free if not e.falls_silent] or free
        if len(free) == 1:
            chosen = free[0]
        elif avoid:
            # This request has failed already; let another one try what may be broken.
            well = [e for e in free if e.health.circuit.closed]
            chosen = self._better(well or free, now)
        else:
            due = next((e for e in free if not e.health.circuit.closed), None)
            chosen = due or self._better(free, now)
        return _Taken(self, chosen, now, tokens)

    def wait_s(self, now: float, *, tokens: int, leaving: Ticket | None = None) -> float:
        owner, freed = None, None
        if isinstance(leaving, _Taken):
            owner, freed = leaving.owner, leaving.health
        if self.running - (owner is self) >= self._max_sessions:
            return A_WHILE_S
        urgent = self._urgent()
        healths = [endpoint.health for endpoint in self.endpoints]
        return min([h.wait_s(now, tokens, h is freed, urgent=urgent) for h in healths])

    def capacities(self) -> Iterable[tuple[Health, Capacity]]:
        return [(endpoint.health, endpoint.capacity) for endpoint in self.endpoints]

    def view(self, now: float) -> tuple[Mapping[str, Any], ...]:
        urgent = self._urgent()
        return tuple([_seen(endpoint, now, urgent) for endpoint in self.endpoints])

    def report(self, now: float, wall: float) -> list[dict[str, Any]]:
        """How each stands, for people.

        Args:
            now: As elsewhere.
            wall: The same moment in Unix seconds.
        """
        told: list[dict[str, Any]] = []
        urgent = self._urgent()
        for endpoint in self.endpoints:
            limited_s = endpoint.health.limited_for_s(now)
            told.append(
                {
                    **endpoint.facts,
                    **_seen(endpoint, now, urgent),
                    "asked": endpoint.asked,
                    "failed": endpoint.failed,
                    "rate_limited_until": round(wall + limited_s, 1) if limited_s else None,
                }
            )
        return told

    def _urgent(self) -> bool:
        """Nobody is well, here or elsewhere."""
        return self._alone and not any(e.health.circuit.closed for e in self.endpoints)

    def _better(self, free: Sequence[Endpoint], now: float) -> Endpoint:
        one, other = self._two(free)
        if other is None:
            return one
        ours, theirs = one.health.expected_s(now), other.health.expected_s(now)
        # Of whom nothing is known is taken to be as quick as the other.
        ours, theirs = ours or theirs or 1.0, theirs or ours or 1.0
        ours *= 1.0 + one.running * self._least / one.weight
        theirs *= 1.0 + other.running * self._least / other.weight
        return other if ours > theirs * ALIKE else one

    def _two(self, free: Sequence[Endpoint]) -> tuple[Endpoint, Endpoint | None]:
        """Two of them, drawn by weight; the first is not the better one but by weight."""
        first = self._draw(free)
        rest = [endpoint for endpoint in free if endpoint is not first]
        if not rest:
            return first, None
        return first, rest[0] if len(rest) == 1 else self._draw(rest)

    def _draw(self, free: Sequence[Endpoint]) -> Endpoint:
        steps = list(accumulate([endpoint.weight for endpoint in free]))
        point = self._chance.random() * steps[-1]
        for endpoint, step in zip(free, steps, strict=True):
            if point < step:
                return endpoint
        return free[-1]


class _Taken:
    """A place at an endpoint."""

    __slots__ = ("_asked", "_endpoint", "health", "owner")

    def __init__(self, owner: Balanced, endpoint: Endpoint, now: float, tokens: int) -> None:
        self.owner = owner
        self.health = endpoint.health
        self._endpoint = endpoint
        self._asked: Asked = endpoint.health.ask(now, tokens)
        owner.running += 1
        endpoint.running += 1
        endpoint.asked += 1

    @property
    def endpoint(self) -> str:
        return self._endpoint.name

    def spoke(self, now: float) -> None:
        self.health.spoke(self._asked, now)

    def done(self, now: float, usage: Usage | None) -> None:
        self._give_back()
        self.health.done(self._asked, now, usage)

    def failed(self, now: float, error: TroupeError) -> None:
        self._give_back()
        if self.health.failed(self._asked, now, error):
            self._endpoint.failed += 1

    def left(self, now: float) -> None:
        self._give_back()
        self.health.left(self._asked, now)

    def unused(self, now: float) -> None:
        if not self._asked.over:
            self._endpoint.asked -= 1
        self._give_back()
        self.health.unused(self._asked, now)

    def _give_back(self) -> None:
        if not self._asked.over:
            self.owner.running -= 1
            self._endpoint.running -= 1


def _seen(endpoint: Endpoint, now: float, urgent: bool) -> dict[str, Any]:
    expected = endpoint.health.expected_s(now)
    return {
        "endpoint": endpoint.name,
        "state": endpoint.health.circuit.state(now, urgent=urgent),
        "expected_ms": None if expected is None else round(expected * 1000),
        "running": endpoint.running,
    }


def _none() -> int:
    return 0
