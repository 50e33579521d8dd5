"""Plays cases at the same time: real sessions, stores, adapters, and a provider over sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson

from actors.desk import Desk, InForce, Place, Seat
from actors.purse import Purse
from actors.runtime import HostRuntime
from agents.registry import build
from agents.spec import AgentSpec
from context.memory import ContextMemory
from contracts.agents import Agent, End, ModelRequest
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.events import Event
from contracts.ids import RESPONSE, SESSION, new_id
from contracts.messages import Message, ResponseRecord
from contracts.money import Price
from gateway.frames import event_frame
from gateway.link import Link
from gateway.projection import Projector
from routing.rules import RuleSpec, compile_rules
from tests.failover.expected import ATTEMPTS, BAD, GOOD, kept_of
from tests.failover.faults import TOKENS, Case
from tests.support.endpoints import InOrder
from tests.support.runtime import LIMITS, SESSION_LIMITS, OneHost, make_link
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import until

ORGANIZATION = "org_default"
PRICES = {BAD: Price(1.0, 4.0), GOOD: Price(2.0, 8.0)}
SILENT = ("hang", "stall")
SILENCE_S = 4.0
PATIENCE_S = 90.0
AT_ONCE = 48
"""Turns that run together; those that wait for a silence to be noticed come on top."""


@dataclass(slots=True)
class Seen:
    """What one client saw of its turn.

    Args:
        shown: The text, cut where it was told to.
        first: What it showed when it was first told to, or at the end.
        legs: The bodies of `response.resumed`.
        kinds: Types of all events, in order.
        ends: The bodies of what ended the turn.
    """

    shown: str = ""
    first: str | None = None
    legs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    kinds: list[str] = field(default_factory=list[str])
    ends: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    numbers: list[int] = field(default_factory=list[int])

    def show(self, event: dict[str, Any]) -> None:
        kind: str = event["type"]
        self.kinds.append(kind)
        if "sequence_number" in event:
            self.numbers.append(event["sequence_number"])
        if kind == "response.output_text.delta":
            self.shown += event["delta"]
        elif kind == "response.resumed":
            self.legs.append(event)
            self.first = self.shown if self.first is None else self.first
            assert len(self.shown) >= event["position"], "cut where nothing is"
            self.shown = self.shown[: event["position"]]
        elif kind in ("response.completed", "response.failed", "response.incomplete"):
            self.ends.append(event["response"])
            self.first = self.shown if self.first is None else self.first


@dataclass(slots=True)
class Played:
    """What became of one case.

    Args:
        agent: The name of the agent that was made for it.
        socket, stream: A client of the native WebSocket, and one of server-sent events.
        told_stream: The API events of the latter.
        record: As it was stored.
        messages: The conversation as it was stored.
        asked: Models that the provider was asked for, in order.
        told: What the endpoints' tickets heard.
    """

    case: Case
    agent: str
    socket: Seen
    stream: Seen
    told_stream: list[dict[str, Any]]
    record: ResponseRecord
    messages: list[Message]
    told: list[tuple[str, str]]
    asked: list[str] = field(default_factory=list[str])


class Accepted:
    """An adapter that asks once its turn is accepted.

    What fails before that is tried again unheard, however far it came: every point of a stream can
    be seen only by readers that are there.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.accepted = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        await self.accepted.wait()
        async with aclosing(cast(Any, self._agent.stream(request))) as items:
            async for item in items:
                yield item

    async def aclose(self) -> None:
        await self._agent.aclose()


class Stage:
    """A host whose agents each have the endpoints of one case."""

    def __init__(
        self,
        memory: ContextMemory,
        simulator: SimulatorProcess,
        nobody: int,
        cases: Sequence[Case],
    ) -> None:
        self._memory = memory
        self._simulator = simulator
        self._nobody = nobody
        self._adapters: dict[tuple[str, float, float, bool], Agent] = {}
        self._endpoints: dict[str, InOrder] = {}
        self.cases = {f"a{number}": case for number, case in enumerate(cases)}
        seats = {name: self._seat(name, case) for name, case in self.cases.items()}
        self._seats = seats
        rules = compile_rules([RuleSpec("rest", next(iter(seats)))], seats)
        limits = replace(LIMITS, sessions=len(seats))
        desk = Desk(InForce(seats, rules))
        purse = Purse(memory.spending, desk.budgets, time.time)
        self.runtime = HostRuntime(
            "host_stage", memory, desk, purse, limits, SESSION_LIMITS, time.time
        )
        self.link: Link = make_link(OneHost(self.runtime))

    async def play(self) -> list[Played]:
        """All cases; those whose silence must be waited for do not hold up the others."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, case: Case) -> Played:
            if case.fault.name in SILENT:
                return await self._play(name, case)
            async with gate:
                return await self._play(name, case)

        plays = (one(name, case) for name, case in self.cases.items())
        played = await asyncio.gather(*plays)
        await until(self._quiet, "the provider is in the middle of nothing")
        records = await asyncio.to_thread(self._simulator.requests, 10_000)
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for record in records:
            agent, endpoint = _who(record)
            asked[agent].append(endpoint)
        for one_played in played:
            one_played.asked = asked[one_played.agent]
        return played

    async def close(self) -> None:
        await self.link.close()
        await self.runtime.close()

    async def _quiet(self) -> bool:
        return (await asyncio.to_thread(self._simulator.stats))["active"] == 0

    async def _play(self, name: str, case: Case) -> Played:
        key = SessionKey(ORGANIZATION, new_id(SESSION))
        await self._memory.records.create_session(key)
        turn = TurnRequest(new_id(RESPONSE), name, (InputItem("user", "Say something."),))
        told: list[tuple[int, Event]] = []
        async with asyncio.timeout(PATIENCE_S):
            accepted, reader = await self.link.start(key, turn)
            assert accepted is not None
            for place in self._seats[name].places.values():
                cast(Accepted, place.agent).accepted.set()
            while not told or told[-1][1].kind != "ended":
                told += await reader.next()
        reader.close()
        by_socket, by_stream = Seen(), Seen()
        api = api_events(Projector(accepted.record), [event for _, event in told])
        for body in api:
            by_stream.show(body)
        for epoch, event in told:
            by_socket.show(orjson.loads(event_frame(epoch, event)))
        record = await self._memory.response(key.org_id, turn.response_id)
        messages, _ = await self._memory.records.items(key, ascending=True)
        told_tickets = list(self._endpoints[name].told)
        return Played(case, name, by_socket, by_stream, api, record, messages, told_tickets)

    def _seat(self, name: str, case: Case) -> Seat:
        endpoints = [BAD] if case.otherwise == "the same is fine again" else [BAD, GOOD]
        places = {endpoint: self._place(name, endpoint, case) for endpoint in endpoints}
        chooser = self._endpoints[name] = InOrder(endpoints)
        return Seat(
            name,
            places,
            chooser,
            None,
            None,
            None,
            4000,
            10_000,
            attempts=ATTEMPTS,
            on_failure=case.contract,
        )

    def _place(self, name: str, endpoint: str, case: Case) -> Place:
        fails = endpoint == BAD or case.otherwise == "no other is fine"
        model = f"scripted.tokens-{TOKENS}.seed-{_seed(name, endpoint)}"
        nobody = fails and case.fault.name == "refused"
        if fails and not nobody:
            model += f".fault-{case.fault.name}"
            model += "" if case.point == "before the headers" else f".at-{case.at}"
            # A reset shall not overtake the tokens that come before it, if it can be helped.
            model += ".gap_ms-20" if case.fault.name == "abort" else ""
            model += ".times-1" if case.otherwise == "the same is fine again" else ""
        silence_s = SILENCE_S if fails and case.fault.name in SILENT else PATIENCE_S
        # Where something is said first, the silence begins after it, however long that takes.
        kept = kept_of(case, case.at) if endpoint == GOOD else 0
        speaks = min(case.at, TOKENS - kept) > 0
        adapter = self._adapter(case.wire, PATIENCE_S if speaks else silence_s, silence_s, nobody)
        return Place(endpoint, Accepted(adapter), model, PRICES[endpoint])

    def _adapter(self, wire: str, first_s: float, silence_s: float, nobody: bool) -> Agent:
        """One for all cases alike, as an endpoint's adapter is for all its turns."""
        known = (wire, first_s, silence_s, nobody)
        if known not in self._adapters:
            provider, _, api = wire.partition("-")
            url = f"http://127.0.0.1:{self._nobody}" if nobody else self._simulator.url
            self._adapters[known] = build(
                AgentSpec(
                    "conformance",
                    provider,
                    "scripted",
                    api_key="any",
                    base_url=url if provider == "gemini" else f"{url}/v1",
                    api=api or None,
                    first_token_s=first_s,
                    timeout_s=silence_s,
                )
            )
        return self._adapters[known]


def api_events(projector: Projector, events: Sequence[Event]) -> list[dict[str, Any]]:
    """The bodies of the server-sent events that these become."""
    lines = projector.encode(events).splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def _seed(name: str, endpoint: str) -> int:
    """A number for each endpoint of each agent: what tells their requests apart."""
    return 2 * int(name[1:]) + (endpoint == GOOD)


def _who(record: dict[str, Any]) -> tuple[str, str]:
    """The agent and endpoint that a request was made for."""
    path = cast(str, record["path"])
    gemini = path.rpartition("/models/")[2].partition(":")[0]
    model = record["body"].get("model") or gemini
    seed = int(next(part for part in model.split(".") if part.startswith("seed-"))[5:])
    return f"a{seed // 2}", GOOD if seed % 2 else BAD


@asynccontextmanager
async def staged(database_url: str, redis_url: str, cases: Sequence[Case]) -> AsyncIterator[Stage]:
    """A stage with a provider of its own, and a port where nobody listens."""
    async with AsyncExitStack() as stack:
        memory = ContextMemory(database_url, redis_url)
        stack.push_async_callback(memory.aclose)
        await memory.open()
        simulator = stack.enter_context(SimulatorProcess(args=("--record", "10000")))
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        stage = Stage(memory, simulator, taken.getsockname()[1], cases)
        stack.push_async_callback(stage.close)
        yield stage


def play(database_url: str, redis_url: str, cases: Sequence[Case]) -> list[Played]:
    """Play them in a loop of their own."""

    async def run() -> list[Played]:
        async with staged(database_url, redis_url, cases) as stage:
            return await stage.play()

    return asyncio.run(run())
