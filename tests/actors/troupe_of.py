"""A host whose agents have several endpoints each, every one played by a scripted agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from actors.desk import Desk, Hedge, InForce, Place, Seat
from actors.limits import SessionLimits
from actors.purse import Purse
from actors.runtime import HostRuntime
from contracts.commands import SessionKey, TurnRequest
from contracts.errors import TroupeError
from contracts.events import Event
from contracts.messages import ResponseRecord, Usage
from contracts.money import Price
from gateway.link import Link
from gateway.reader import Reader
from routing.endpoints import ANYTHING, Balanced, Endpoint, Ticket
from routing.health import Capacity, Health
from routing.rules import RuleSpec, compile_rules
from tests.actors.conftest import ask
from tests.routing.clockwork import book_of
from tests.support.runtime import (
    LIMITS,
    SESSION_LIMITS,
    OneHost,
    ScriptedAgent,
    UnitLedger,
    UnitMemory,
    make_link,
)

PRICE = Price(1.0, 10.0)


class Slip:
    """A ticket that holds its taker to the law: at most one `spoke`, then exactly one end."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.told: list[str] = []

    def _end(self, what: str) -> None:
        assert self.told in ([], ["spoke"]), f"{self.endpoint}: {what} after {self.told}"
        self.told.append(what)

    def spoke(self, now: float) -> None:
        assert self.told == [], f"{self.endpoint} spoke after {self.told}"
        self.told.append("spoke")

    def done(self, now: float, usage: Usage | None) -> None:
        assert self.told == ["spoke"], "an end is something that is said"
        self._end("done")

    def failed(self, now: float, error: TroupeError) -> None:
        self._end(error.cause_code)

    def left(self, now: float) -> None:
        self._end("left")

    def unused(self, now: float) -> None:
        assert self.told == [], "who spoke was asked"
        self._end("unused")


class StrictEndpoints:
    """Endpoints in order, with slips for tickets; those in `full` take nothing."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = list(names)
        self.full: set[str] = set()
        self.wait = 0.05
        self.slips: list[Slip] = []

    def take(self, now: float, *, tokens: int, avoid: Collection[str] = ()) -> Slip | None:
        assert tokens > 0
        free = [name for name in self.names if name not in self.full and name not in avoid]
        if not free:
            return None
        self.slips.append(Slip(free[0]))
        return self.slips[-1]

    def wait_s(self, now: float, *, tokens: int, leaving: Ticket | None = None) -> float:
        return self.wait if self.full >= set(self.names) else 0.0

    def view(self, now: float) -> tuple[Mapping[str, Any], ...]:
        return tuple({"endpoint": name, "state": "closed"} for name in self.names)

    def capacities(self) -> Iterable[tuple[Health, Capacity]]:
        return ()

    @property
    def told(self) -> list[tuple[str, ...]]:
        return [(slip.endpoint, *slip.told) for slip in self.slips]


class Company:
    """The agent `echo` with endpoints `a`, `b`, …, others by name, and a conversation with it.

    Args:
        echo: How many endpoints it has.
        others: How many each of the others has; they are `echo`'s fallbacks, in order.
        options: Fields of `echo`'s seat.
    """

    def __init__(
        self,
        echo: int = 2,
        *,
        memory: UnitMemory | None = None,
        others: Mapping[str, int] | None = None,
        continues: Collection[str] | None = None,
        price: Price | None = PRICE,
        hedge: Hedge | None = None,
        session_limits: SessionLimits = SESSION_LIMITS,
        **options: Any,
    ) -> None:
        self.memory = memory or UnitMemory()
        self.voices: dict[str, ScriptedAgent] = {}
        self.endpoints: dict[str, StrictEndpoints] = {}
        seats: dict[str, Seat] = {}
        letters = iter("abcdefgh")
        for agent, count in {"echo": echo, **(others or {})}.items():
            places: dict[str, Place] = {}
            for _ in range(count):
                name = next(letters)
                self.voices[name] = ScriptedAgent()
                goes_on = continues is None or name in continues
                places[name] = Place(name, self.voices[name], f"model-{name}", price, goes_on)
            self.endpoints[agent] = StrictEndpoints(places)
            seats[agent] = Seat(
                agent, places, self.endpoints[agent], f"I am {agent}.", None, None, 4000, 10_000
            )
        fields = {
            name: options.pop(name, getattr(seats["echo"], name))
            for name in Seat.__dataclass_fields__
        }
        assert not options, options
        fields["fallbacks"] = tuple(others or ()) or fields["fallbacks"]
        fields["hedge"] = hedge
        seats["echo"] = Seat(**fields)
        self.desk = Desk(InForce(seats, compile_rules([RuleSpec("rest", "echo")], seats)))
        self.runtime = HostRuntime(
            f"host_{id(self)}",
            self.memory,
            self.desk,
            Purse(UnitLedger(), self.desk.budgets, time.time),
            LIMITS,
            session_limits,
            time.time,
        )
        self.link: Link = make_link(OneHost(self.runtime), f"gw_{id(self)}")
        self.key: SessionKey = next(iter(self.memory.shelves), None) or self.memory.create()

    def balance(
        self, agent: str = "echo", capacity: Capacity = ANYTHING, *, max_sessions: int = 1000
    ) -> Balanced:
        """Real endpoints in the place of an agent's strict ones, each of this capacity."""
        book = book_of()
        in_force = self.desk.in_force
        seat = in_force.seats[agent]
        endpoints = [Endpoint(name, book.of(name), capacity=capacity) for name in seat.places]
        balanced = Balanced(endpoints, max_sessions, book.chance)
        seats = {**in_force.seats, agent: replace(seat, endpoints=balanced)}
        self.desk.replace(replace(in_force, seats=seats))
        return balanced

    def __getitem__(self, endpoint: str) -> ScriptedAgent:
        return self.voices[endpoint]

    async def start(self, turn: TurnRequest | None = None) -> tuple[str, Reader]:
        accepted, reader = await self.link.start(self.key, turn or ask("question"))
        return accepted.response_id, reader

    async def play(self) -> tuple[list[Event], ResponseRecord]:
        """One turn to its end: its events and its record."""
        _, reader = await self.start()
        events = await told_until(reader, "ended")
        reader.close()
        return events, events[-1].data

    def tickets(self, agent: str = "echo") -> list[tuple[str, ...]]:
        return self.endpoints[agent].told


async def told_until(reader: Reader, kind: str, count: int = 1) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(30):
        while sum(event.kind == kind for event in events) < count:
            events.extend(event for _, event in await reader.next())
    return events


async def until_asked(voice: ScriptedAgent, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(voice.requests) < times:
            await asyncio.sleep(0.001)


def shown(events: list[Event]) -> str:
    """What a screen shows that obeys."""
    text = ""
    for event in events:
        if event.kind == "delta":
            text += event.data
        elif event.kind == "resumed":
            assert len(text) >= event.data.position
            text = text[: event.data.position]
    return text


@asynccontextmanager
async def company(*args: Any, **options: Any) -> AsyncIterator[Company]:
    """A company that is closed in the end, and whose tickets were all given back."""
    cast = Company(*args, **options)
    try:
        yield cast
    finally:
        for voice in cast.voices.values():
            voice.lets_go.set()
        await cast.link.close()
        await cast.runtime.close()
    for endpoints in cast.endpoints.values():
        for slip in endpoints.slips:
            ends = [what for what in slip.told if what != "spoke"]
            assert len(ends) == 1, f"{slip.endpoint}: {slip.told}"
    assert all(voice.open == 0 for voice in cast.voices.values()), "a stream was left open"
