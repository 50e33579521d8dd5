"""A host and a link in one process: the whole way of a message but for Ray, stores and models."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from actors.desk import Desk, Seat
from actors.runtime import HostLimits, HostRuntime
from actors.session import SessionLimits
from contracts.agents import End, ModelRequest
from contracts.commands import Command, SessionKey
from contracts.errors import Conflict, Deposed, HostUnavailable, NotFound, ProviderError
from contracts.events import Cursor, Event
from contracts.hosts import HostAddress
from contracts.memory import SessionState
from contracts.messages import Message, ResponseRecord, Usage
from gateway.link import Link
from routing.rules import RuleSpec, compile_rules

LIMITS = HostLimits(
    sessions=100,
    idle_s=300,
    linger_s=60,
    sweep_s=10,
    urgent_s=0.001,
    bulk_s=0.005,
    phases=5,
    keepalive_s=0.2,
    outlet_items=10_000,
)
SESSION_LIMITS = SessionLimits(
    mailbox=3, mail=50, messages=100, replay_events=1000, save_attempts=3
)


class ScriptedAgent:
    """Says what it is told, token by token, each when the test lets it."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.said: asyncio.Queue[str | End | ProviderError] = asyncio.Queue()
        self.closed = 0
        self.open = 0

    def say(self, *items: str | End | ProviderError) -> None:
        for item in items:
            self.said.put_nowait(item)

    def answer(self, *tokens: str) -> None:
        self.say(*tokens, End("stop", Usage(1, len(tokens))))

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        self.requests.append(request)
        self.open += 1
        try:
            while True:
                item = await self.said.get()
                if isinstance(item, ProviderError):
                    raise item
                yield item
        finally:
            self.open -= 1
            self.closed += 1

    async def aclose(self) -> None:
        return None


@dataclass
class Shelf:
    """One session as the store would keep it."""

    epoch: int = 0
    seq: int = 0
    position: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)


class UnitMemory:
    """A `Memory` for units: fences and refuses as the store does; `gate` holds writes back."""

    def __init__(self) -> None:
        self.shelves: dict[SessionKey, Shelf] = {}
        self.responses: dict[str, ResponseRecord] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: list[Exception] = []
        self.stored: list[Event] | None = None

    def create(self, session_id: str = "conv_1") -> SessionKey:
        key = SessionKey("org_default", session_id)
        self.shelves[key] = Shelf()
        return key

    async def activate(self, key: SessionKey) -> SessionState:
        if key not in self.shelves:
            raise NotFound("No such conversation.")
        shelf = self.shelves[key]
        shelf.epoch += 1
        return SessionState(
            key,
            shelf.epoch,
            shelf.seq,
            shelf.position,
            dict(shelf.metadata),
            None,
            list(shelf.messages),
        )

    async def _write(self, key: SessionKey, epoch: int, seq: int | None = None) -> Shelf:
        await self.gate.wait()
        if self.broken:
            raise self.broken.pop(0)
        shelf = self.shelves[key]
        if shelf.epoch != epoch:
            raise Deposed("stale")
        if seq is not None:
            shelf.seq = max(seq, shelf.seq)
        return shelf

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        shelf = await self._write(key, epoch, seq)
        for other in self.responses.values():
            if record.client_id and other.client_id == record.client_id:
                raise Conflict("taken", code="duplicate_id", details={"response_id": other.id})
        self.responses[record.id] = record.snapshot()
        shelf.messages.extend(items)
        shelf.position = items[-1].position

    async def finish(
        self,
        key: SessionKey,
        epoch: int,
        seq: int,
        record: ResponseRecord,
        answer: Message | None,
        window: list[Message],
    ) -> None:
        shelf = await self._write(key, epoch, seq)
        self.responses[record.id] = record.snapshot()
        if answer:
            shelf.messages.append(answer)
            shelf.messages.sort(key=lambda message: message.position)
            shelf.position = max(shelf.position, answer.position)

    async def add_items(
        self, key: SessionKey, epoch: int, seq: int, items: list[Message], window: list[Message]
    ) -> None:
        shelf = await self._write(key, epoch, seq)
        shelf.messages.extend(items)

    async def delete_item(
        self, key: SessionKey, epoch: int, item_id: str, window: list[Message]
    ) -> None:
        shelf = await self._write(key, epoch)
        if all(message.id != item_id for message in shelf.messages):
            raise NotFound("No such item.")
        shelf.messages = [message for message in shelf.messages if message.id != item_id]

    async def update_metadata(self, key: SessionKey, epoch: int, metadata: dict[str, str]) -> None:
        (await self._write(key, epoch)).metadata = metadata

    async def drop(self, key: SessionKey, epoch: int) -> None:
        await self._write(key, epoch)
        del self.shelves[key]

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        if response_id not in self.responses:
            raise NotFound("No such response.")
        return self.responses[response_id]

    async def events_since(self, key: SessionKey, after: Cursor, limit: int) -> list[Event] | None:
        return self.stored


class OneHost:
    """A `Locator` that knows one host, and a `HostClient` that is it."""

    def __init__(self, runtime: HostRuntime) -> None:
        self.runtime = runtime
        self.suspected: list[str] = []
        self.up = True

    @property
    def host_id(self) -> str:
        return self.runtime.host_id

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        await self.runtime.submit(gateway_id, commands)

    def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        return self.runtime.pipe(gateway_id)

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        if not self.up:
            raise HostUnavailable("No session host is up.")
        return [HostAddress(self.host_id, "", 0, "") for _ in keys]

    async def suspect(self, host_id: str) -> None:
        self.suspected.append(host_id)

    async def hosts(self) -> dict[str, int]:
        return {self.host_id: self.runtime.load()}


_hosts = itertools.count(1)


def make_runtime(
    memory: UnitMemory,
    agents: dict[str, ScriptedAgent],
    limits: HostLimits = LIMITS,
    session_limits: SessionLimits = SESSION_LIMITS,
    clock: Callable[[], float] = time.time,
    attempts: int = 2,
    max_answer_chars: int = 10_000,
) -> HostRuntime:
    seats = {
        name: Seat(
            name, agent, f"{name}-model", "Be brief.", None, None, 4000, attempts, max_answer_chars
        )
        for name, agent in agents.items()
    }
    rules = compile_rules([RuleSpec("rest", next(iter(agents)))], agents)
    return HostRuntime(
        f"host_{next(_hosts)}", memory, Desk(seats, rules), limits, session_limits, clock
    )


def make_link(host: OneHost, gateway_id: str = "gw_1", reader_events: int = 1000) -> Link:
    return Link(
        gateway_id,
        host,
        lambda address: host,
        silence_s=1,
        reader_events=reader_events,
        placements=1000,
        call_timeout_s=5,
    )
