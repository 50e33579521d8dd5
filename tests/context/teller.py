"""A session's life without servers: hosts that tell, a store and a journal that keep, and readers.

What hosts do is what an actor does: make durable, note, hand off, tell, die; the next one goes on
from what `recover` gives it. Readers do what clients do: append, cut where they are told, come back
with a cursor. So what a reader shows can be compared with what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from context.recover import LeftBehind, Recovered, cut_back, pack, recover, unpack
from context.replay import StoredTurn
from contracts.events import (
    Event,
    events_of,
    first_number_of,
    leg_of,
    number_after_resumed,
    unfolds_to,
)
from contracts.messages import ENDED, FailurePolicy, Leg, Message, ResponseRecord, Status

NOW = 1_795_000_000.25


@dataclass
class Told:
    """An event as readers got it."""

    epoch: int
    event: Event


@dataclass
class Turn:
    record: ResponseRecord
    input: list[Message]
    may_have_begun: bool = False
    number: int = 0
    changes: int = 0


@dataclass
class Store:
    """Postgres and Redis, as far as they matter here."""

    epoch: int = 0
    seq: int = 0
    written_epoch: int = 0
    position: int = 0
    turns: dict[str, StoredTurn] = field(default_factory=dict[str, StoredTurn])
    journals: dict[int, list[bytes]] = field(default_factory=dict[int, list[bytes]])
    up: bool = True

    def open(self) -> list[StoredTurn]:
        return [turn for turn in self.turns.values() if turn.record.status not in ENDED]

    def left_behind(self) -> LeftBehind:
        turns = list(self.turns.values())
        oldest = next(n for n, turn in enumerate(turns) if turn.record.status not in ENDED)
        return LeftBehind(
            epoch=self.epoch,
            written_epoch=self.written_epoch,
            seq=self.seq,
            position=self.position,
            turns=[StoredTurn(t.record.snapshot(), t.input) for t in turns[oldest:]],
            entries=unpack(self.journals.get(self.written_epoch, [])),
        )

    def take_over(self, found: Recovered) -> None:
        self.seq, self.written_epoch = found.seq, self.epoch
        for turn in found.open_turns:
            stored = self.turns[turn.record.id]
            kept = turn.record.snapshot()
            kept.status = stored.record.status
            self.turns[turn.record.id] = StoredTurn(kept, stored.input)


class Host:
    """One activation."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.told: list[Told] = []
        store.epoch += 1
        self.epoch = store.epoch
        self.seq = store.seq
        self.written_epoch = store.written_epoch
        self.log: list[Event] = []
        self.shipped = 0
        self.running: Turn | None = None
        self.waiting: list[Turn] = []
        self.found: Recovered | None = None
        if store.open():
            self.found = found = recover(store.left_behind())
            store.take_over(found)
            self.seq = found.seq
            self.log = list(found.events)
            self.shipped = len(self.log)
            self.waiting = [Turn(t.record, t.input, t.may_have_begun) for t in found.open_turns]
        self.base = self.seq - len(self.log)

    # -- saying ---------------------------------------------------------------------------------

    def _say(self, kind: str, turn: Turn, number: int, data: object) -> int:
        self.seq += 1
        self.log.append(Event(self.seq, kind, turn.record.id, number, data))  # type: ignore[arg-type]
        return self.seq

    def ship(self) -> None:
        """Note, hand off, tell."""
        events = self.log[self.shipped :]
        self.shipped = len(self.log)
        if events and self.store.up:
            self.store.journals.setdefault(self.epoch, []).append(pack(events))
        self.told += [Told(self.epoch, event) for event in events]

    def accept(self, response_id: str) -> None:
        record = ResponseRecord(
            response_id, "conv_x", "queued", "m", "a", NOW, f"msg_{response_id}", epoch=self.epoch
        )
        self.store.position += 1
        asked = [Message(f"q_{response_id}", self.store.position, "user", "?", NOW, response_id)]
        self.store.position += 1
        self.store.turns[response_id] = StoredTurn(record.snapshot(), asked)
        self._wrote(self.seq)
        turn = Turn(record, asked)
        self._accepted(turn)
        self.waiting.append(turn)

    def _accepted(self, turn: Turn) -> None:
        data = {"input": turn.input, "client_id": None}
        turn.record.accepted_seq = self._say("accepted", turn, -1, data)

    def begin(self, policy: FailurePolicy) -> None:
        """Begin, or go on with, the turn that waits longest."""
        turn = self.running = self.waiting.pop(0)
        record = turn.record
        if record.first_seq == 0:
            if record.accepted_seq == 0:
                self._accepted(turn)
            text, record.text = record.text, ""
            record.status = "in_progress"
            record.first_seq = self._say("started", turn, 0, record.snapshot())
            turn.number = unfolds_to("started", opens=False)
            if turn.may_have_begun:
                for leg in record.legs:
                    self._say("resumed", turn, first_number_of(leg.number), leg)
                self._go_on(turn, policy, 0)
                if text and policy != "restart":
                    self.say(text)
        else:
            self._go_on(turn, policy, 0 if policy == "restart" else len(record.text))
        if policy == "stop" and turn.may_have_begun:
            self.end("failed")

    def _go_on(self, turn: Turn, policy: FailurePolicy, position: int) -> None:
        self._resume(turn, policy, position, "host_lost", leg_of(turn.record.attempts, 0))

    def _resume(
        self, turn: Turn, policy: FailurePolicy, position: int, reason: str, number: int
    ) -> None:
        record = turn.record
        leg = Leg(len(record.cuts), position, policy, reason, self.epoch, number)
        record.legs.append(leg)
        record.cuts = cut_back(record.cuts, position)
        record.text = record.text[:position]
        self._say("resumed", turn, first_number_of(leg.number), leg)
        turn.number = number_after_resumed(leg.number, opened=bool(record.cuts))

    def change(self, policy: FailurePolicy) -> None:
        """The running turn's provider failed, and another one goes on; or nobody does."""
        turn = self.running
        assert turn is not None
        turn.changes += 1
        number = leg_of(turn.record.attempts, turn.changes)
        position = 0 if policy == "restart" else len(turn.record.text)
        self._resume(turn, policy, position, "provider_interrupted", number)

    def say(self, text: str) -> None:
        turn = self.running
        assert turn is not None
        self._say("delta", turn, turn.number, text)
        turn.number += unfolds_to("delta", opens=not turn.record.cuts)
        turn.record.cuts.append(len(text))
        turn.record.text += text

    def end(self, status: Status = "completed") -> None:
        turn, self.running = self.running, None
        assert turn is not None
        self._end(turn, status)
        waiting = {turn.record.id for turn in self.waiting}
        kept = [e for e in self.log if e.kind == "accepted" and e.response_id in waiting]
        if self.store.up:
            self.store.journals[self.epoch] = [pack(kept)] if kept else []

    def cancel_waiting(self) -> None:
        turn = self.waiting.pop()
        if turn.record.accepted_seq == 0:
            self._accepted(turn)
        turn.record.first_seq = self._say("started", turn, 0, turn.record.snapshot())
        turn.number = unfolds_to("started", opens=False)
        self._end(turn, "cancelled")

    def _end(self, turn: Turn, status: Status) -> None:
        record = turn.record
        record.status = status
        record.last_seq = self.seq + 1
        self.store.turns[record.id] = StoredTurn(record.snapshot(), turn.input)
        self._wrote(record.last_seq)
        self._say("ended", turn, turn.number, record.snapshot())

    def _wrote(self, seq: int) -> None:
        self.store.seq = max(self.store.seq, seq)
        self.store.written_epoch = self.epoch


@dataclass
class Reader:
    """What a screen shows, and where it stands."""

    epoch: int = 0
    seq: int = 0
    shown: dict[str, str] = field(default_factory=dict[str, str])
    snapshots: int = 0

    def take(self, epoch: int, events: list[Event]) -> None:
        for event in events:
            self.epoch, self.seq = epoch, event.seq
            show(self.shown, event)

    def come_back(self, host: Host) -> None:
        """Attach with the cursor, by the rules of a session's host."""
        last = host.base + host.shipped
        if host.written_epoch <= self.epoch < host.epoch and self.seq >= host.base:
            after = min(self.seq, host.base + len(host.found.events) if host.found else last)
        elif self.epoch == host.epoch and self.seq >= host.base:
            after = self.seq
        else:
            self.snapshots += 1
            self.shown = {
                turn.record.id: turn.record.text
                for turn in host.store.turns.values()
                if turn.record.status in ENDED
            }
            after = host.base
        # Where the log stands, as the answer says; what was seen beyond is to be replaced.
        self.epoch, self.seq = host.epoch, after
        self.take(host.epoch, host.log[after - host.base : host.shipped])


def show(shown: dict[str, str], event: Event) -> None:
    """One event on a screen."""
    name = event.response_id or ""
    if event.kind == "delta":
        shown[name] = shown.get(name, "") + event.data
    elif event.kind == "resumed":
        # A screen can cut what it shows; it cannot show what it was never sent.
        assert event.data.position <= len(shown.get(name, "")), event
        shown[name] = shown.get(name, "")[: event.data.position]
    elif event.kind == "ended":
        assert shown.get(name, "") == event.data.text, (shown, event)


@dataclass
class StreamReader:
    """A client of the Responses API: it has a response's `sequence_number` and nothing else."""

    response_id: str
    number: int = -1
    shown: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, events: list[Event]) -> None:
        for event in events:
            if event.response_id == self.response_id and event.number > self.number:
                self.number = event.number
                show(self.shown, event)

    def come_back(self, host: Host) -> None:
        stored = host.store.turns[self.response_id].record
        if stored.status in ENDED:
            self.take(events_of(stored))
        else:
            self.take(host.log[: host.shipped])
