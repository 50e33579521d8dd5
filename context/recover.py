"""What became of the turns that a lost host left open: the store's rows and the host's journal.

Pure. The journal holds what the host was about to tell its readers, so it reaches at least as far
as anything that anybody has seen, unless Redis was away; what it says is never believed beyond the
first place where something is missing. A turn whose journal begins with its start is taken up as it
was said, event by event. Of any other nothing is taken as said: it is told anew, from position 0,
and what was recovered of its text goes into it.

Each activation that goes on with a turn that may have begun begins with a leg of its own, whose
number follows from `attempts`. Where one is missing, its activation may have said anything under it
and lost it: the missing leg is put in as a restart, which no reader can take amiss.

Legs within one activation, which tell of a change of provider, are not counted beforehand: one is
known only by the journal. Lost with it and its host, an answer that went on elsewhere is merely cut
a little further back. One that was begun anew is not made good: a screen shows the new beginning,
the record goes on from the old one, and they differ until the screen is loaded anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast, get_args

import orjson

from context.replay import StoredTurn, assemble
from context.text import storable
from contracts.events import (
    Event,
    Kind,
    accepted_data,
    events_of,
    first_number_of,
    legs_missing,
    number_after_resumed,
    unfolds_to,
)
from contracts.memory import OpenTurn
from contracts.messages import ENDED, FailurePolicy, Leg, Message, ResponseRecord

LOST_LEG = "host_lost"
"""The reason of a leg of which nothing is known."""

_KINDS: frozenset[str] = frozenset(get_args(Kind))
_POLICIES: frozenset[str] = frozenset(get_args(FailurePolicy))
_FIRST_DELTA = unfolds_to("started", opens=False)


class Entry(NamedTuple):
    """An event as the journal keeps it: of its data only a delta's text and a resumed's leg."""

    seq: int
    kind: Kind
    response_id: str
    number: int
    said: str | Leg | None


@dataclass(slots=True)
class LeftBehind:
    """What there is of a session with open turns.

    Args:
        epoch: Of the activation that takes them over.
        written_epoch: Of the one that wrote last, and whose journal this is.
        seq: The last one that is stored.
        position: The last one that is stored.
        turns: From the oldest open one on, oldest first; those that ended since are among them.
        entries: The journal, in any order.
    """

    epoch: int
    written_epoch: int
    seq: int
    position: int
    turns: Sequence[StoredTurn]
    entries: Sequence[Entry]


@dataclass(slots=True)
class Recovered:
    """What an activation goes on from; see `contracts.memory.SessionState`."""

    seq: int
    position: int
    open_turns: list[OpenTurn] = field(default_factory=list[OpenTurn])
    events: list[Event] = field(default_factory=list[Event])


def pack(events: Iterable[Event]) -> bytes:
    """A chunk of the journal."""
    rows = [
        (
            seq,
            kind,
            response_id,
            number,
            data if kind == "delta" else tuple(data) if kind == "resumed" else None,
        )
        for seq, kind, response_id, number, data in events
    ]
    try:
        return orjson.dumps(rows)
    except TypeError:
        # A lone surrogate, which the store would not take either.
        return orjson.dumps(
            [(*row[:4], storable(row[4]) if isinstance(row[4], str) else row[4]) for row in rows]
        )


def unpack(chunks: Iterable[bytes]) -> list[Entry]:
    """The entries of these chunks; what is not one of ours is left out."""
    entries: list[Entry] = []
    for chunk in chunks:
        try:
            rows = orjson.loads(chunk)
        except orjson.JSONDecodeError:
            continue
        if isinstance(rows, list):
            entries += filter(None, map(_entry, cast("list[Any]", rows)))
    return entries


def _entry(row: Any) -> Entry | None:
    match row:
        case [int(seq), "delta", str(response_id), int(number), str(text)]:
            return Entry(seq, "delta", response_id, number, storable(text))
        case [
            int(seq),
            "resumed",
            str(response_id),
            int(number),
            [
                int(cuts),
                int(position),
                str(policy),
                str(reason),
                int(epoch),
                int(leg),
                None | str() as source,
                None | str() as target,
            ],
        ] if policy in _POLICIES:
            how = cast("FailurePolicy", policy)
            said = Leg(cuts, position, how, reason, epoch, leg, source, target)
            return Entry(seq, "resumed", response_id, number, said)
        case [int(seq), str(kind), str(response_id), int(number), None] if kind in _KINDS:
            return Entry(seq, cast("Kind", kind), response_id, number, None)
        case _:
            return None


def recover(left: LeftBehind) -> Recovered:
    """Put together what the open turns have come to."""
    opened = [turn for turn in left.turns if turn.record.status not in ENDED]
    if not opened:
        return Recovered(left.seq, left.position)
    ids = {turn.record.id for turn in left.turns}
    journal: dict[int, Entry] = {}
    for entry in sorted(left.entries, key=lambda entry: entry.seq):
        if entry.response_id in ids:
            journal.setdefault(entry.seq, entry)
    story = _Story(left, opened[0].record, journal)
    story.tell()
    # A turn that ended unheard in the midst of the oldest keeps its seqs, whatever else was lost.
    durable = max((t.record.last_seq for t in left.turns if t.record.status in ENDED), default=0)
    if story.begun and story.seq >= durable:
        story.put_in_lost_legs()
        seq, events = story.seq, story.events
    else:
        seq, events = max(left.seq, durable), []
    result = Recovered(seq, left.position, events=events)
    for index, turn in enumerate(opened):
        is_whole = index == 0 and bool(events)
        # Nobody can tell of the oldest that its start was not shown while Redis was away.
        may_have_begun = index == 0 or turn.record.attempts > 1 or _begun(turn.record, journal)
        if not is_whole:
            _tell_anew(turn.record, left, seq, may_have_begun, journal)
        turn.record.attempts += may_have_begun
        place = _answer_position(turn.input, opened[index + 1 :], left.position)
        result.position = max(result.position, place)
        result.open_turns.append(OpenTurn(turn.record, list(turn.input), place, may_have_begun))
    return result


class _Story:
    """The oldest open turn as it was said, and what others said in the midst of it."""

    def __init__(self, left: LeftBehind, record: ResponseRecord, journal: dict[int, Entry]) -> None:
        self.seq = left.seq
        self.events: list[Event] = []
        self._left = left
        self._record = record
        self._journal = journal
        self._turns = {turn.record.id: turn for turn in left.turns}
        self._number = _FIRST_DELTA

    @property
    def begun(self) -> bool:
        return self._record.first_seq > 0

    def tell(self) -> None:
        """Take the events in order for as long as each fits on the one before."""
        if self.begun:
            self._tell_stored()
        else:
            self._find_start()
        while (entry := self._journal.get(self.seq + 1)) is not None:
            event = self._event(entry)
            if event is None:
                return
            self.events.append(event)
            self.seq = event.seq

    def put_in_lost_legs(self) -> None:
        """See the module."""
        record = self._record
        for number in legs_missing(record):
            leg = Leg(len(record.cuts), 0, "restart", LOST_LEG, self._left.epoch, number)
            self._resume(leg)
            self.seq += 1
            first = first_number_of(number)
            self.events.append(Event(self.seq, "resumed", record.id, first, leg))

    def _tell_stored(self) -> None:
        """What the activation that took the turn over last found, and stored."""
        record = self._record
        ended = [turn for turn in self._left.turns if turn.record.status in ENDED]
        said = {seq: event for seq, (_, event) in assemble(ended, []).items()}
        for turn in self._turns.values():
            if turn.record.accepted_seq and turn.record.status not in ENDED:
                said[turn.record.accepted_seq] = self._accepted(turn, turn.record.accepted_seq)
        record.status = "in_progress"
        *own, end = events_of(record, said.keys())
        own[0] = own[0]._replace(data=_as_it_began(record))
        self._number = end.number
        said.update((event.seq, event) for event in own)
        first = record.first_seq
        while first - 1 in said:
            first -= 1
        self.seq = first - 1
        while self.seq + 1 in said:
            self.seq += 1
            self.events.append(said[self.seq])

    def _find_start(self) -> None:
        for entry in self._journal.values():
            if (entry.kind, entry.response_id, entry.number) == ("started", self._record.id, 0):
                before = entry.seq - 1
                while before in self._journal and self._journal[before].kind == "accepted":
                    before -= 1
                self.seq = before
                self._take_earlier_acceptances(before)
                return
        self._take_earlier_acceptances(self.seq)

    def _take_earlier_acceptances(self, seq: int) -> None:
        """Turns that were accepted while an earlier one ran, which has ended and is stored."""
        for entry in self._journal.values():
            record = self._turns[entry.response_id].record
            if entry.kind == "accepted" and entry.seq <= seq and not record.accepted_seq:
                record.accepted_seq = entry.seq

    def _event(self, entry: Entry) -> Event | None:
        """What the entry tells of, done to its turn; None if it does not fit."""
        turn = self._turns[entry.response_id]
        record = turn.record
        seq, kind, response_id, number, said = entry
        if record.status in ENDED:
            if kind == "accepted":
                return self._accepted(turn, seq)
            return Event(seq, kind, response_id, number, said if kind == "delta" else record)
        if kind == "accepted":
            if record.accepted_seq not in (0, seq):
                return None
            record.accepted_seq = seq
            return self._accepted(turn, seq)
        if record is not self._record:
            return None
        match kind, said:
            case "started", _ if not self.begun and number == first_number_of(0):
                record.first_seq = seq
                record.status = "in_progress"
                record.text, record.cuts, record.legs = "", [], []
                return Event(seq, kind, response_id, number, _as_it_began(record))
            case "delta", str(text) if self.begun and number == self._number:
                self._number += unfolds_to("delta", opens=not record.cuts)
                record.text += text
                record.cuts.append(len(text))
                return Event(seq, kind, response_id, number, text)
            case "resumed", Leg() as leg if self._fits(leg, number):
                self._resume(leg)
                return Event(seq, kind, response_id, number, leg)
            case _:
                # An end that was told though it could not be stored: the turn goes on after all.
                return None

    def _fits(self, leg: Leg, number: int) -> bool:
        record = self._record
        return (
            self.begun
            and number == first_number_of(leg.number)
            and leg.number > (record.legs[-1].number if record.legs else 0)
            and leg.cuts == len(record.cuts)
            and 0 <= leg.position <= len(record.text)
            and leg.epoch == self._left.written_epoch
        )

    def _resume(self, leg: Leg) -> None:
        record = self._record
        record.legs.append(leg)
        record.cuts = cut_back(record.cuts, leg.position)
        record.text = record.text[: leg.position]
        self._number = number_after_resumed(leg.number, opened=bool(record.cuts))

    @staticmethod
    def _accepted(turn: StoredTurn, seq: int) -> Event:
        data = accepted_data(turn.record, turn.input)
        return Event(seq, "accepted", turn.record.id, -1, data)


def cut_back(cuts: Sequence[int], position: int) -> list[int]:
    """The same deltas with nothing left of them beyond this character."""
    kept: list[int] = []
    for length in cuts:
        kept.append(min(length, position))
        position -= kept[-1]
    return kept


def _as_it_began(record: ResponseRecord) -> ResponseRecord:
    began = record.snapshot()
    began.text, began.cuts, began.legs = "", [], []
    return began


def _begun(record: ResponseRecord, journal: dict[int, Entry]) -> bool:
    return any(
        entry.response_id == record.id and entry.kind != "accepted" for entry in journal.values()
    )


def _tell_anew(
    record: ResponseRecord,
    left: LeftBehind,
    seq: int,
    may_have_begun: bool,
    journal: dict[int, Entry],
) -> None:
    """Take nothing as said but the acceptance, if it stands in the log that is kept."""
    if record.first_seq == 0:
        record.text = _text_from_the_start(record, journal) or record.text
    record.cuts = []
    record.first_seq = 0
    record.status = "queued"
    # Whatever is said from here on is this activation's.
    record.epoch = left.epoch
    if record.accepted_seq > seq:
        record.accepted_seq = 0
    record.legs = []
    if may_have_begun:
        numbers = legs_missing(record)
        record.legs = [Leg(0, 0, "restart", LOST_LEG, left.epoch, number) for number in numbers]


def _text_from_the_start(record: ResponseRecord, journal: dict[int, Entry]) -> str:
    """A turn's first words, for as long as their numbers leave nothing out."""
    pieces: list[str] = []
    number = _FIRST_DELTA
    for entry in journal.values():
        if entry.response_id == record.id and entry.number == number:
            if not isinstance(entry.said, str):
                break
            number += unfolds_to("delta", opens=not pieces)
            pieces.append(entry.said)
    return "".join(pieces)


def _answer_position(asked: Sequence[Message], later: Sequence[StoredTurn], last: int) -> int:
    """The place that was kept for a turn's answer: after its input, before the next turn's."""
    if asked:
        return asked[-1].position + 1
    return next((turn.input[0].position - 1 for turn in later if turn.input), last + 1)
