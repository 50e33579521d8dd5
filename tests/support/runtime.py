"""A host and a link in one process: the whole way of a message but for Ray, stores and models."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from actors.desk import Desk, InForce, Place, Seat
from actors.limits import HostLimits, SessionLimits
from actors.purse import Purse
from actors.runtime import HostRuntime
from contracts.agents import End, ModelRequest
from contracts.commands import Command, SessionKey
from contracts.errors import Conflict, Deposed, HostUnavailable, NotFound, TroupeError
from contracts.events import Cursor, Event
from contracts.hosts import Fleet, HostAddress
from contracts.memory import Ledger, OpenTurn, SessionState, Summary
from contracts.messages import ENDED, FailurePolicy, Message, OnBusy, ResponseRecord, Usage
from contracts.money import NO_BUDGETS, Budgets, Price, Spent
from contracts.pace import Pace
from gateway.link import Link
from routing.rules import RuleSpec, compile_rules
from tests.support.endpoints import InOrder

LIMITS = HostLimits(
    sessions=100,
    idle_s=300,
    linger_s=60,
    sweep_s=10,
    urgent_s=0.001,
    pace=Pace(0.005, 0.005, 1e6),
    phases=5,
    keepalive_s=0.2,
    outlet_items=10_000,
)
SESSION_LIMITS = SessionLimits(
    mailbox=3, mail=50, messages=100, replay_events=1000, save_attempts=3
)


class ScriptedAgent:
    """Says what it is told, token by token, each when the test lets it.

    `lets_go` keeps the closing of its streams back.
    """

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.said: asyncio.Queue[str | End | TroupeError] = asyncio.Queue()
        self.closed = 0
        self.open = 0
        self.lets_go = asyncio.Event()
        self.lets_go.set()

    def say(self, *items: str | End | TroupeError) -> None:
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
                if isinstance(item, TroupeError):
                    raise item
                yield item
        finally:
            try:
                await self.lets_go.wait()
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
    written_epoch: int = 0
    journal: list[Event] = field(default_factory=list)


class UnitMemory:
    """A `Memory` for units: fences and refuses as the store does; `gate` holds writes back.

    `handed_off` counts how often what was noted left the process; before that a test may say that
    it is lost (`lose_journal`).
    """

    def __init__(self) -> None:
        self.shelves: dict[SessionKey, Shelf] = {}
        self.responses: dict[str, ResponseRecord] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: list[Exception] = []
        self.stored: list[Event] | None = None
        self.noted: list[tuple[SessionKey, int, Event]] = []
        self.handed_off = 0
        self.asked_events = 0
        self.summaries: list[Summary] = []

    def lose_journal(self, key: SessionKey, keep: int = 0) -> None:
        """Redis was wiped: only the first `keep` events of the journal are left."""
        del self.shelves[key].journal[keep:]

    def create(self, session_id: str = "conv_1") -> SessionKey:
        key = SessionKey("org_default", session_id)
        self.shelves[key] = Shelf()
        return key

    async def activate(self, key: SessionKey) -> SessionState:
        if key not in self.shelves:
            raise NotFound("No such conversation.")
        shelf = self.shelves[key]
        shelf.epoch += 1
        state = SessionState(
            key,
            shelf.epoch,
            shelf.seq,
            shelf.position,
            dict(shelf.metadata),
            None,
            list(shelf.messages),
            written_epoch=shelf.written_epoch,
        )
        last = [r.id for r in self.responses.values() if r.session_id == key.session_id]
        state.last_response_id = last[-1] if last else None
        self._take_over(shelf, state)
        return state

    def _take_over(self, shelf: Shelf, state: SessionState) -> None:
        """What `context.recover` does, for one session whose journal is whole or gone."""
        session_id = state.key.session_id
        left = [
            record.snapshot()
            for record in self.responses.values()
            if record.session_id == session_id and record.status not in ENDED
        ]
        if not left:
            return
        said = _whole(shelf, left[0].id)
        for number, record in enumerate(left):
            mine = [event for event in said if event.response_id == record.id]
            record.attempts += 1
            record.first_seq = 0
            if said:
                record.text, record.cuts, record.legs = "", [], []
            for event in mine:
                if event.kind == "accepted":
                    record.accepted_seq = event.seq
                elif event.kind == "started":
                    record.first_seq = event.seq
                elif event.kind == "delta":
                    record.cuts.append(len(event.data))
                    record.text += event.data
                elif event.kind == "resumed":
                    record.legs.append(event.data)
                    if event.data.policy == "restart":
                        record.text, record.cuts = "", [0] * len(record.cuts)
            asked = [m for m in shelf.messages if m.response_id == record.id and m.role == "user"]
            begun = record.first_seq > 0 or (not said and number == 0)
            place = max((m.position for m in asked), default=state.position) + 1
            state.open_turns.append(OpenTurn(record, asked, place, begun))
            self.responses[record.id] = record.snapshot()
        if said:
            state.events = list(said)
            shelf.seq = state.seq = said[-1].seq
        shelf.position = state.position = max(turn.answer_position for turn in state.open_turns)
        shelf.written_epoch = state.epoch

    def note_events(self, key: SessionKey, epoch: int, events: Sequence[Event]) -> None:
        self.noted.extend((key, epoch, event) for event in events)

    async def hand_off(self) -> None:
        self.handed_off += 1
        noted, self.noted = self.noted, []
        for key, epoch, event in noted:
            if key in self.shelves and self.shelves[key].epoch == epoch:
                self.shelves[key].journal.append(event)

    def forget_events(self, key: SessionKey, epoch: int, kept: Sequence[Event]) -> None:
        self.noted = [noted for noted in self.noted if noted[0] != key]
        self.shelves[key].journal = list(kept)

    async def _write(self, key: SessionKey, epoch: int, seq: int | None = None) -> Shelf:
        await self.gate.wait()
        if self.broken:
            raise self.broken.pop(0)
        if key not in self.shelves:
            raise NotFound("No such conversation.")
        shelf = self.shelves[key]
        if shelf.epoch != epoch:
            raise Deposed("stale")
        if seq is not None:
            shelf.seq = max(seq, shelf.seq)
            shelf.written_epoch = epoch
        return shelf

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        shelf = await self._write(key, epoch, seq)
        for other in self.responses.values():
            if record.client_id and other.client_id == record.client_id:
                raise Conflict("taken", code="duplicate_id", details={"response_id": other.id})
        self.responses[record.id] = record.snapshot()
        shelf.messages = [m for m in shelf.messages if m.id != record.replaces]
        shelf.messages.extend(items)
        shelf.position = max((item.position for item in items), default=shelf.position)

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

    async def keep_summary(
        self, key: SessionKey, epoch: int, summary: Summary, agent: str, usage: Usage | None
    ) -> None:
        await self._write(key, epoch)
        self.summaries.append(summary)

    async def drop(self, key: SessionKey, epoch: int) -> None:
        await self._write(key, epoch)
        del self.shelves[key]

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        if response_id not in self.responses:
            raise NotFound("No such response.")
        return self.responses[response_id]

    async def events_since(self, key: SessionKey, after: Cursor, limit: int) -> list[Event] | None:
        self.asked_events += 1
        return self.stored


def _whole(shelf: Shelf, first: str) -> list[Event]:
    """The journal, if it tells all that was said since the first open turn was accepted."""
    said = shelf.journal
    if not said or said[-1].seq < shelf.seq:
        return []
    begins = (said[0].response_id, said[0].kind) == (first, "accepted")
    seqs = [event.seq for event in said]
    return said if begins and seqs == list(range(seqs[0], seqs[0] + len(seqs))) else []


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

    async def watch(self, version: int) -> Fleet:
        if version:
            await asyncio.Event().wait()
        return Fleet(1, (HostAddress(self.host_id, "", 0, ""),), 1)


_hosts = itertools.count(1)


class UnitLedger:
    """A `Ledger` for units: nothing was spent, and what is charged is noted."""

    def __init__(self) -> None:
        self.charged: list[tuple[str, str | None, int, int]] = []

    async def charge(
        self, org_id: str, user: str | None, nano: int, *, day: date, turns: int = 0
    ) -> None:
        self.charged.append((org_id, user, nano, turns))

    async def spent(self, org_id: str, user: str | None) -> Spent:
        return Spent()


def make_runtime(
    memory: UnitMemory,
    agents: dict[str, ScriptedAgent],
    limits: HostLimits = LIMITS,
    session_limits: SessionLimits = SESSION_LIMITS,
    clock: Callable[[], float] = time.time,
    attempts: int = 2,
    retry_s: float = 30.0,
    max_answer_chars: int = 10_000,
    on_host_loss: FailurePolicy = "continue",
    on_failure: FailurePolicy = "continue",
    on_busy: OnBusy = "queue",
    context_tokens: int = 4000,
    summarize_with: Mapping[str, str] | None = None,
    budgets: Budgets = NO_BUDGETS,
    price: Price | None = None,
    ledger: Ledger | None = None,
) -> HostRuntime:
    seats = {
        name: Seat(
            name,
            {f"{name}-1": Place(f"{name}-1", agent, f"{name}-model", price)},
            InOrder([f"{name}-1"]),
            "Be brief.",
            None,
            None,
            context_tokens,
            max_answer_chars,
            attempts=attempts,
            retry_s=retry_s,
            on_host_loss=on_host_loss,
            on_failure=on_failure,
            on_busy=on_busy,
            summarize_with=(summarize_with or {}).get(name),
            summary_tokens=200,
        )
        for name, agent in agents.items()
    }
    rules = compile_rules([RuleSpec("rest", next(iter(agents)))], agents)
    desk = Desk(InForce(seats, rules, budgets=budgets))
    purse = Purse(ledger or UnitLedger(), desk.budgets, clock)
    return HostRuntime(f"host_{next(_hosts)}", memory, desk, purse, limits, session_limits, clock)


def make_link(host: OneHost, gateway_id: str = "gw_1", reader_events: int = 1000) -> Link:
    return Link(
        gateway_id,
        host,
        lambda address: host,
        silence_s=60,
        reader_events=reader_events,
        placements=1000,
        call_timeout_s=30,
    )
