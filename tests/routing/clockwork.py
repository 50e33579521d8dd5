"""Endpoints and a clock that tests turn by hand."""

from __future__ import annotations

from random import Random

from contracts.errors import ProviderRateLimited, ProviderTimeout, ProviderUnavailable
from contracts.messages import Usage
from routing.circuit import Tolerance
from routing.endpoints import Balanced, Endpoint, Ticket, limit
from routing.health import Capacity, HealthBook

DOWN = ProviderUnavailable("It is down.")
TOLERANCE = Tolerance(
    streak=3,
    outcomes=20,
    enough=10,
    share=0.5,
    first_s=1.0,
    longest_s=30.0,
    limit_s=300.0,
    key_s=120.0,
    probe_s=2.0,
)
SILENCE = ProviderTimeout("Not a byte.")


def limited(retry_after: float | None = 5.0) -> ProviderRateLimited:
    return ProviderRateLimited("Too much.", retry_after=retry_after)


def book_of(seed: int = 1, tolerance: Tolerance = TOLERANCE) -> HealthBook:
    return HealthBook(tolerance, 30.0, Random(seed))


class Fixture:
    """A set of endpoints named a, b, c …, and the time."""

    def __init__(
        self,
        count: int = 2,
        *,
        weights: tuple[float, ...] = (),
        capacity: Capacity | None = None,
        max_sessions: int = 1000,
        seed: int = 1,
        book: HealthBook | None = None,
        alone: bool = False,
    ) -> None:
        self.now = 1000.0
        self.book = book_of(seed) if book is None else book
        self.endpoints = [
            Endpoint(
                name,
                self.book.of(name),
                weights[index] if weights else 1.0,
                capacity=capacity or Capacity(),
            )
            for index, name in enumerate("abcdefgh"[:count])
        ]
        self.set = Balanced(self.endpoints, max_sessions, Random(seed), alone=alone)
        limit([self.set])

    def take(self, tokens: int = 10, avoid: tuple[str, ...] = ()) -> Ticket:
        ticket = self.set.take(self.now, tokens=tokens, avoid=avoid)
        assert ticket is not None
        return ticket

    def none(self, tokens: int = 10, avoid: tuple[str, ...] = ()) -> bool:
        return self.set.take(self.now, tokens=tokens, avoid=avoid) is None

    def traces(self) -> list[object]:
        """What is left of the requests so far."""
        health = self.endpoint("a").health
        word = health.word(self.now)
        told = health.wait_s(self.now, 950)
        return [self.endpoint("a").asked, self.endpoint("a").running, self.set.running, word, told]

    def wait_s(self, tokens: int = 10) -> float:
        return self.set.wait_s(self.now, tokens=tokens)

    def answer(self, ticket: Ticket, ttft_s: float = 0.1, tokens: int = 10) -> None:
        """The request goes well; the clock stands at its first token for its end as well."""
        self.now += ttft_s
        ticket.spoke(self.now)
        ticket.done(self.now, Usage(tokens // 2, tokens - tokens // 2))

    def endpoint(self, name: str) -> Endpoint:
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)

    def state(self, name: str) -> str:
        return self.endpoint(name).health.circuit.state(self.now)

    def break_down(self, name: str, times: int = 3) -> None:
        """So many requests fail there before their first token."""
        others = tuple(e.name for e in self.endpoints if e.name != name)
        tickets = [self.take(avoid=others) for _ in range(times)]
        for ticket in tickets:
            assert ticket.endpoint == name
            ticket.failed(self.now, DOWN)
