"""Endpoints that do what a test says, for those that are not about balance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from contracts.errors import TroupeError
from contracts.messages import Usage
from routing.endpoints import Ticket
from routing.health import Capacity, Health


class InOrder:
    """Endpoints that take everything, the first that is not avoided."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.told: list[tuple[str, str]] = []
        """What became of each request: the endpoint, and `spoke`, `done`, `left`, `unused` or
        an error's code; the newest hundred.
        """

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Ticket | None:
        del now, tokens
        free = [name for name in self.names if name not in avoid]
        return _Place(free[0], self.told) if free else None

    def wait_s(self, now: float, *, tokens: int, leaving: Ticket | None = None) -> float:
        del now, tokens, leaving
        return 0.0

    def capacities(self) -> Iterable[tuple[Health, Capacity]]:
        return ()

    def report(self, now: float, wall: float) -> list[dict[str, Any]]:
        del wall
        return [dict(seen) for seen in self.view(now)]

    def view(self, now: float) -> tuple[Mapping[str, Any], ...]:
        del now
        return tuple({"endpoint": name, "state": "closed"} for name in self.names)


class _Place:
    def __init__(self, endpoint: str, told: list[tuple[str, str]]) -> None:
        self.endpoint = endpoint
        self._told = told

    def _tell(self, what: str) -> None:
        self._told.append((self.endpoint, what))
        del self._told[:-100]

    def spoke(self, now: float) -> None:
        self._tell("spoke")

    def done(self, now: float, usage: Usage | None) -> None:
        self._tell("done")

    def failed(self, now: float, error: TroupeError) -> None:
        self._tell(error.cause_code)

    def left(self, now: float) -> None:
        self._tell("left")

    def unused(self, now: float) -> None:
        self._tell("unused")
