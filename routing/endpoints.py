"""An agent's endpoints: which of them takes the next request, and what became of it.

Pure: the caller says what time it is. One `EndpointSet` serves all turns of an agent in a process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from contracts.errors import TroupeError
from contracts.messages import Usage


class Ticket(Protocol):
    """A place at an endpoint, from the request until it is given back by exactly one of the last
    three.
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


class EndpointSet(Protocol):
    """One agent's endpoints."""

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Ticket | None:
        """A place at the endpoint that will most likely speak first; None if none can take it.

        Args:
            now: Seconds, of a clock that only goes forward.
            tokens: What the request may use of a limit: input and the most that may be answered.
            avoid: Names not to be taken while there is another.
        """
        ...

    def wait_s(self, now: float, *, tokens: int) -> float:
        """Seconds until one may be able to; 0: now."""
        ...

    def view(self, now: float) -> tuple[Mapping[str, Any], ...]:
        """How each stands: see `contracts.decisions.Decision.candidates`."""
        ...


class InOrder:
    """Endpoints that take everything, the first that is not avoided.

    For agents that are asked beside turns, and for tests.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.told: list[tuple[str, str]] = []
        """What became of each request: the endpoint, and `spoke`, `done`, `left` or an error's
        code; the newest hundred.
        """

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Ticket | None:
        del now, tokens
        free = [name for name in self.names if name not in avoid]
        return _Place((free or self.names)[0], self.told)

    def wait_s(self, now: float, *, tokens: int) -> float:
        del now, tokens
        return 0.0

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
