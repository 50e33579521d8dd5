"""A session's host in miniature: gives out seqs and positions, and logs, as an actor does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from context.memory import ContextMemory
from contracts.commands import SessionKey
from contracts.events import (
    Event,
    Kind,
    events_of,
    first_number_of,
    leg_of,
    number_after_resumed,
    unfolds_to,
)
from contracts.ids import MESSAGE, RESPONSE, SESSION, new_id
from contracts.memory import SessionState
from contracts.messages import Leg, Message, ResponseRecord, Status, Usage

ORG = "org_default"
NOW = 1_795_000_000.25


def new_key(org_id: str = ORG) -> SessionKey:
    return SessionKey(org_id, new_id(SESSION))


def new_record(session_id: str, **fields: object) -> ResponseRecord:
    given = {
        "id": new_id(RESPONSE),
        "status": "queued",
        "model": "gpt",
        "agent": "gpt",
        "created_at": NOW,
        "item_id": new_id(MESSAGE),
        "decision": {"agent": "gpt", "rule": "model", "reason": "The caller asked for it."},
        **fields,
    }
    return ResponseRecord(session_id=session_id, **given)  # type: ignore[arg-type]


@dataclass
class Turn:
    record: ResponseRecord
    input: list[Message]
    answer_position: int
    number: int = 0


class Activation:
    """One activation; `events` is what its readers have been told of besides turns' own words.

    Nothing is noted in the journal before `tell`.
    """

    def __init__(self, memory: ContextMemory, state: SessionState) -> None:
        self.memory = memory
        self.key = state.key
        self.epoch = state.epoch
        self.seq = state.seq
        self.position = state.position
        self.messages = list(state.messages)
        self.events: list[Event] = []
        self.untold: list[Event] = []
        self.turns = [
            Turn(open_turn.record, open_turn.input, open_turn.answer_position)
            for open_turn in state.open_turns
        ]

    @classmethod
    async def of(cls, memory: ContextMemory, key: SessionKey) -> Activation:
        return cls(memory, await memory.activate(key))

    @classmethod
    async def new(cls, memory: ContextMemory) -> Activation:
        key = new_key()
        await memory.records.create_session(key)
        return await cls.of(memory, key)

    def message(self, text: str, response_id: str | None = None, at: int = 1) -> Message:
        return Message(new_id(MESSAGE), self.position + at, "user", text, NOW, response_id)

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _say(self, kind: Kind, turn: Turn, number: int, data: object) -> int:
        self.untold.append(Event(self._next(), kind, turn.record.id, number, data))
        return self.seq

    async def tell(self) -> list[Event]:
        """Do what comes before telling readers; gives back what they are told."""
        events, self.untold = self.untold, []
        self.memory.note_events(self.key, self.epoch, events)
        await self.memory.hand_off()
        return events

    async def accept(self, *texts: str, **fields: object) -> Turn:
        record = new_record(self.key.session_id, epoch=self.epoch, **fields)
        items = [self.message(text, record.id, n) for n, text in enumerate(texts, start=1)]
        turn = Turn(record, items, self.position + len(items) + 1)
        await self.memory.accept(self.key, self.epoch, self.seq, record, items)
        # The store does not know this seq before the turn ends: others may be given out meanwhile.
        data = {"input": items, "client_id": record.client_id}
        record.accepted_seq = self._say("accepted", turn, -1, data)
        self.events.append(Event(record.accepted_seq, "accepted", record.id, -1, data))
        self.position = turn.answer_position
        self.messages.extend(items)
        return turn

    def accept_anew(self, turn: Turn) -> None:
        """Tell again of a turn of which nothing is to be taken as said."""
        data = {"input": turn.input, "client_id": turn.record.client_id}
        turn.record.accepted_seq = self._say("accepted", turn, -1, data)

    def start(self, turn: Turn) -> None:
        turn.record.status = "in_progress"
        turn.record.first_seq = self.seq + 1
        began = replace(turn.record.snapshot(), text="", cuts=[], legs=[])
        self._say("started", turn, first_number_of(0), began)
        turn.number = unfolds_to("started", opens=False)

    def say(self, turn: Turn, *pieces: str) -> None:
        for piece in pieces:
            self._say("delta", turn, turn.number, piece)
            turn.number += unfolds_to("delta", opens=not turn.record.cuts)
            turn.record.cuts.append(len(piece))
            turn.record.text += piece

    def go_on(self, turn: Turn) -> Leg:
        """Continue what an earlier activation had begun."""
        record = turn.record
        leg = Leg(
            len(record.cuts),
            len(record.text),
            "continue",
            "host_lost",
            self.epoch,
            leg_of(record.attempts, 0),
        )
        record.legs.append(leg)
        self._say("resumed", turn, first_number_of(leg.number), leg)
        turn.number = number_after_resumed(leg.number, opened=bool(record.cuts))
        return leg

    def end(self, turn: Turn, status: Status = "completed") -> Message | None:
        """Fix the record; the answer, if there is one."""
        record = turn.record
        record.status = status
        record.last_seq = self._next()
        record.completed_at = NOW + 2.5
        record.usage = Usage(11, 7, 3)
        if not record.text:
            return None
        answer = Message(
            record.item_id, turn.answer_position, "assistant", record.text, NOW + 2.5, record.id
        )
        self.messages = sorted([*self.messages, answer], key=lambda message: message.position)
        return answer

    async def finish(self, turn: Turn, status: Status = "completed") -> None:
        answer = self.end(turn, status)
        await self.memory.finish(
            self.key, self.epoch, turn.record.last_seq, turn.record, answer, list(self.messages)
        )

    async def turn(self, question: str, *pieces: str, **fields: object) -> Turn:
        """A whole turn."""
        turn = await self.accept(question, **fields)
        self.start(turn)
        self.say(turn, *pieces)
        await self.finish(turn)
        return turn

    async def add(self, *texts: str) -> list[Message]:
        items = [self.message(text, None, n) for n, text in enumerate(texts, start=1)]
        self.messages.extend(items)
        seq = self.seq + 1
        await self.memory.add_items(self.key, self.epoch, seq, items, list(self.messages))
        self.position += len(items)
        self.events.append(Event(self._next(), "item", None, -1, {"items": items}))
        return items

    async def delete(self, item_id: str) -> None:
        self.messages = [message for message in self.messages if message.id != item_id]
        await self.memory.delete_item(self.key, self.epoch, item_id, list(self.messages))

    def said(self, *turns: Turn) -> list[Event]:
        """All events so far, those of these ended turns included, in order."""
        events = list(self.events)
        for turn in sorted(turns, key=lambda turn: turn.record.last_seq - turn.record.first_seq):
            events += events_of(turn.record, {event.seq for event in events})
        return sorted(events, key=lambda event: event.seq)
