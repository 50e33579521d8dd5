"""Plays cases at the same time: real sessions, stores, adapters, and a provider over sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar, cast

import orjson

from actors.desk import Desk, InForce, Place, Seat
from actors.purse import Purse
from actors.runtime import HostRuntime
from agents.registry import build
from agents.spec import AgentSpec
from agents.streaming import StreamingAgent
from context.memory import ContextMemory, ContextOptions
from contracts.agents import Agent, End, ModelRequest
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errors import TroupeError
from contracts.events import Event
from contracts.ids import RESPONSE, SESSION, new_id
from contracts.messages import Message, ResponseRecord
from contracts.money import Price
from gateway.frames import event_frame
from gateway.link import Link
from gateway.projection import Projector
from routing.rules import RuleSpec, compile_rules
from tests.failover.expected import BAD, GOOD
from tests.failover.faults import TOKENS
from tests.support.endpoints import InOrder
from tests.support.runtime import LIMITS, SESSION_LIMITS, OneHost, make_link
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import until

ORGANIZATION = "org_default"
PRICES = {
    BAD: Price(1.0, 4.0),
    GOOD: Price(2.0, 8.0),
    "first": Price(1.0, 4.0),
    "second": Price(2.0, 8.0),
    "spare": Price(3.0, 9.0),
}
ENDPOINTS = tuple(PRICES)
SILENT = ("hang", "stall")
SILENCE_S = 4.0
PATIENCE_S = 90.0
NEVER_S = 300.0
"""Longer than anything is waited for here: a request that was left must have been closed."""
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


class Played(NamedTuple):
    """What became of one case.

    Args:
        agent: The name of the agent that was made for it.
        socket, stream: A client of the native WebSocket, and one of server-sent events.
        told_stream: The API events of the latter.
        record: As it was stored.
        messages: The conversation as it was stored.
        told: What the endpoints' tickets heard.
        sent: The endpoints that requests were made to.
        asked: Those that the provider was asked for, in order.
    """

    agent: str
    socket: Seen
    stream: Seen
    told_stream: list[dict[str, Any]]
    record: ResponseRecord
    messages: list[Message]
    told: list[tuple[str, str]]
    sent: list[str]
    asked: list[str]


class Accepted:
    """An adapter that asks once its turn is accepted.

    What fails before that is tried again unheard, however far it came: every point of a stream can
    be seen only by readers that are there.
    """

    def __init__(self, agent: Agent, accepted: asyncio.Event) -> None:
        self._agent = agent
        self._accepted = accepted

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        await self._accepted.wait()
        async with aclosing(cast(Any, self._agent.stream(request))) as items:
            async for item in items:
                yield item

    async def aclose(self) -> None:
        await self._agent.aclose()


@dataclass(frozen=True, slots=True)
class Role:
    """What an endpoint does in a case.

    Args:
        name: One of `ENDPOINTS`.
        fault: As the simulator calls it; None: it answers.
        at: Tokens that come before the fault; None: not even a head.
        times: How often it strikes; None: always.
        speaks: It says something before its fault.
        patient: A silence is waited for; somebody else will end it.
        holds: Its first item, or its failure, is passed on once this holds of what the tickets of
            the case heard, and of who was asked.
    """

    name: str
    fault: str | None = None
    at: int | None = None
    times: int | None = None
    speaks: bool = False
    patient: bool = False
    holds: Callable[[Sequence[tuple[str, str]], Sequence[str]], bool] | None = None


class Held:
    """An adapter whose first item, or failure, is passed on when its role says."""

    def __init__(self, agent: Agent, role: Role, history: History) -> None:
        self._agent = agent
        self._role = role
        self._history = history

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        self._history.asked.append(self._role.name)
        async with aclosing(cast(Any, self._agent.stream(request))) as items:
            try:
                first = await anext(items)
            except TroupeError:
                await self._passed_on()
                raise
            await self._passed_on()
            yield first
            async for item in items:
                yield item

    async def _passed_on(self) -> None:
        holds, history = self._role.holds, self._history
        if holds is not None:
            await until(lambda: holds(history.told, history.asked), f"{self._role.name} may speak")

    async def aclose(self) -> None:
        await self._agent.aclose()


@dataclass(slots=True)
class History:
    """What has happened in a case: what tickets heard, and who was asked."""

    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    asked: list[str] = field(default_factory=list[str])
    accepted: asyncio.Event = field(default_factory=asyncio.Event)


C = TypeVar("C", bound=Hashable)


class Stage(Generic[C]):
    """A host whose agents each have the endpoints of one case.

    Args:
        nobody: A port where nobody listens.
        cases: What is played, each by an agent of its own.
        agents: Makes the agent of this name for a case, by `seat`, and those that stand in for it.
    """

    def __init__(
        self,
        memory: ContextMemory,
        simulator: SimulatorProcess,
        nobody: int,
        cases: Sequence[C],
        agents: Cast[C],
    ) -> None:
        self._memory = memory
        self._simulator = simulator
        self._nobody = nobody
        self._adapters: dict[tuple[str, float, float, bool], StreamingAgent] = {}
        self._histories: dict[str, History] = {}
        self._slow: set[str] = set()
        self._reading = asyncio.Semaphore(AT_ONCE)
        self.cases = {f"a{number}": case for number, case in enumerate(cases)}
        seats: dict[str, Seat] = {}
        for name, case in self.cases.items():
            self._histories[name] = History()
            seats |= {seat.name: seat for seat in agents(self, name, case)}
        rules = compile_rules([RuleSpec("rest", next(iter(seats)))], seats)
        limits = replace(LIMITS, sessions=len(seats))
        desk = Desk(InForce(seats, rules))
        purse = Purse(memory.spending, desk.budgets, time.time)
        self.runtime = HostRuntime(
            "host_stage", memory, desk, purse, limits, SESSION_LIMITS, time.time
        )
        self.link: Link = make_link(OneHost(self.runtime))

    async def play(self) -> dict[C, Played]:
        """All cases; those whose silence must be waited for do not hold up the others."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Played:
            if name in self._slow:
                return await self._play(name)
            async with gate:
                return await self._play(name)

        played = await asyncio.gather(*map(one, self.cases))
        await until(self._quiet, "the provider is in the middle of nothing")
        records = await asyncio.to_thread(self._simulator.requests, 10_000)
        for record in records:
            agent, endpoint = _who(record)
            played[int(agent[1:])].asked.append(endpoint)
        return dict(zip(self.cases.values(), played, strict=True))

    async def close(self) -> None:
        await self.link.close()
        await self.runtime.close()

    def seat(
        self,
        name: str,
        case: str,
        wire: str,
        roles: Sequence[Role],
        **contract: Any,
    ) -> Seat:
        """An agent with these endpoints, asked in their order.

        Args:
            name: Its own.
            case: The name of the agent that the case is about.
            wire: What its endpoints speak.
            roles: What they do.
            contract: Further fields of the seat.
        """
        history = self._histories[case]
        chooser = InOrder([role.name for role in roles])
        chooser.told = history.told
        places = {role.name: self._place(case, wire, role) for role in roles}
        return Seat(name, places, chooser, None, None, None, 4000, 10_000, **contract)

    def _place(self, case: str, wire: str, role: Role) -> Place:
        model = f"scripted.tokens-{TOKENS}.seed-{_seed(case, role.name)}"
        nobody = role.fault == "refused"
        if role.fault is not None and not nobody:
            model += f".fault-{role.fault}"
            model += "" if role.at is None else f".at-{role.at}"
            # A reset shall not overtake the tokens that come before it, if it can be helped.
            model += ".gap_ms-20" if role.fault == "abort" else ""
            model += "" if role.times is None else f".times-{role.times}"
        silence_s = NEVER_S
        if role.fault in SILENT and not role.patient:
            self._slow.add(case)
            silence_s = SILENCE_S
        # Where something is said first, the silence begins after it, however long that takes.
        first_s = NEVER_S if role.speaks else silence_s
        adapter = self._adapter(wire, first_s, silence_s, nobody)
        history = self._histories[case]
        agent = Held(Accepted(adapter, history.accepted), role, history)
        return Place(role.name, agent, model, PRICES[role.name])

    async def _quiet(self) -> bool:
        # What was left is closed here; the provider counts a silence as over when it begins.
        if any(adapter.running for adapter in self._adapters.values()):
            return False
        return (await asyncio.to_thread(self._simulator.stats))["active"] == 0

    async def _play(self, name: str) -> Played:
        key = SessionKey(ORGANIZATION, new_id(SESSION))
        await self._memory.records.create_session(key)
        turn = TurnRequest(new_id(RESPONSE), name, (InputItem("user", "Say something."),))
        history = self._histories[name]
        told: list[tuple[int, Event]] = []
        async with asyncio.timeout(PATIENCE_S):
            accepted, reader = await self.link.start(key, turn)
            assert accepted is not None
            history.accepted.set()
            while not told or told[-1][1].kind != "ended":
                told += await reader.next()
        reader.close()
        by_socket, by_stream = Seen(), Seen()
        api = api_events(Projector(accepted.record), [event for _, event in told])
        for body in api:
            by_stream.show(body)
        for epoch, event in told:
            by_socket.show(orjson.loads(event_frame(epoch, event)))
        async with self._reading:
            record = await self._memory.response(key.org_id, turn.response_id)
            messages, _ = await self._memory.records.items(key, ascending=True)
        told_tickets, sent = list(history.told), list(history.asked)
        return Played(
            name, by_socket, by_stream, api, record, messages, told_tickets, sent, asked=[]
        )

    def _adapter(self, wire: str, first_s: float, silence_s: float, nobody: bool) -> StreamingAgent:
        """One for all cases alike, as an endpoint's adapter is for all its turns."""
        known = (wire, first_s, silence_s, nobody)
        if known not in self._adapters:
            provider, _, api = wire.partition("-")
            url = f"http://127.0.0.1:{self._nobody}" if nobody else self._simulator.url
            adapter = build(
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
            assert isinstance(adapter, StreamingAgent)
            self._adapters[known] = adapter
        return self._adapters[known]


Cast = Callable[[Stage[C], str, C], Sequence[Seat]]


def api_events(projector: Projector, events: Sequence[Event]) -> list[dict[str, Any]]:
    """The bodies of the server-sent events that these become."""
    lines = projector.encode(events).splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def _seed(name: str, endpoint: str) -> int:
    """A number for each endpoint of each case: what tells their requests apart."""
    return len(ENDPOINTS) * int(name[1:]) + ENDPOINTS.index(endpoint)


def _who(record: dict[str, Any]) -> tuple[str, str]:
    """The case and endpoint that a request was made for."""
    path = cast(str, record["path"])
    gemini = path.rpartition("/models/")[2].partition(":")[0]
    model = record["body"].get("model") or gemini
    seed = int(next(part for part in model.split(".") if part.startswith("seed-"))[5:])
    case, endpoint = divmod(seed, len(ENDPOINTS))
    return f"a{case}", ENDPOINTS[endpoint]


@asynccontextmanager
async def staged(
    database_url: str, redis_url: str, cases: Sequence[C], agents: Cast[C]
) -> AsyncGenerator[Stage[C]]:
    """A stage with a provider of its own, and a port where nobody listens."""
    async with AsyncExitStack() as stack:
        # Hundreds of silences end at the same moment, and then everybody wants a connection.
        patient = ContextOptions(
            connect_timeout_s=PATIENCE_S,
            postgres_timeout_s=PATIENCE_S,
            redis_timeout_s=PATIENCE_S,
        )
        memory = ContextMemory(database_url, redis_url, patient)
        stack.push_async_callback(memory.aclose)
        await memory.open()
        simulator = stack.enter_context(SimulatorProcess(args=("--record", "10000")))
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        stage = Stage(memory, simulator, taken.getsockname()[1], cases, agents)
        stack.push_async_callback(stage.close)
        yield stage


def play(database_url: str, redis_url: str, cases: Sequence[C], agents: Cast[C]) -> dict[C, Played]:
    """Play them in a loop of their own."""

    async def run() -> dict[C, Played]:
        async with staged(database_url, redis_url, cases, agents) as stage:
            return await stage.play()

    return asyncio.run(run())
