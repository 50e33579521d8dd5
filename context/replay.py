"""Events given back from the store, long after the session that said them has forgotten them.

Nothing is stored per event. An ended turn's record holds where its events stood and how its text
was cut, and an item's row holds the seq of the event that told of it; the rest follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from context import rows
from context.postgres import Postgres
from contracts.commands import SessionKey
from contracts.errors import NotFound
from contracts.events import Cursor, Event, accepted_data, epoch_of, events_of
from contracts.messages import ENDED, Message, ResponseRecord

_CANCELLED_UNHEARD = 16
"""Turns cancelled while they waited, whose events stand in the midst of an older turn's."""

_SESSION = """
SELECT last_seq, edited_seq, cardinality(open_turns) AS open_turns FROM sessions
WHERE org_id = $1 AND id = $2
"""

# All that ended at the cursor or later, and what younger turns ended in the midst of them.
_TURNS = f"""
WITH newest AS (
    SELECT * FROM responses WHERE session_id = $2 AND org_id = $1 ORDER BY turn DESC LIMIT $4
)
SELECT {rows.RESPONSE} FROM newest
WHERE status = ANY ($5::text[])
    AND turn >= (SELECT min(turn) FROM newest WHERE last_seq >= $3 AND status = ANY ($5::text[]))
"""

_INPUTS = f"""
SELECT {rows.MESSAGE} FROM messages
WHERE org_id = $1 AND session_id = $2 AND position BETWEEN $3 AND $4 ORDER BY position
"""

_ITEMS = f"""
SELECT {rows.MESSAGE}, seq, epoch FROM messages
WHERE org_id = $1 AND session_id = $2 AND seq >= $3 ORDER BY position
"""


class StoredTurn(NamedTuple):
    """An ended turn and what it was asked."""

    record: ResponseRecord
    input: Sequence[Message]


@dataclass(slots=True)
class StoredItems:
    """The messages of one item event."""

    seq: int
    epoch: int
    items: list[Message] = field(default_factory=list[Message])


def assemble(
    turns: Sequence[StoredTurn], items: Sequence[StoredItems]
) -> dict[int, tuple[int, Event]]:
    """The events of these turns and items by seq, each with the epoch it was said under.

    Turns run one at a time, but one that is cancelled while it waits says all it has to say in
    the middle of another. So the shortest span claims its seqs first; what is left in a longer
    one is its own. A turn whose events do not come out where its record says they ended had
    others in between that are not here; it is left out.
    """
    said: dict[int, tuple[int, Event]] = {}
    for stored in items:
        said[stored.seq] = (
            stored.epoch,
            Event(stored.seq, "item", None, -1, {"items": stored.items}),
        )
    for record, messages in turns:
        if record.accepted_seq == 0:
            # A turn that was taken over, and nobody could tell where its acceptance stood.
            continue
        data = accepted_data(record, messages)
        said[record.accepted_seq] = (
            record.epoch,
            Event(record.accepted_seq, "accepted", record.id, -1, data),
        )
    for record, _ in sorted(turns, key=lambda turn: turn[0].last_seq - turn[0].first_seq):
        events = events_of(record, said.keys())
        if events[-1].seq == record.last_seq:
            said.update((event.seq, (epoch_of(record, event.number), event)) for event in events)
    return said


def after(said: dict[int, tuple[int, Event]], cursor: Cursor) -> tuple[list[Event], bool] | None:
    """The events that follow the cursor without a gap, and whether these are all there are.

    None: the cursor's own event was not said under its epoch or an earlier one, so whoever holds
    it has seen something that never became durable. So it is with the last words of a host that
    was lost: a later epoch has given their seqs to others.
    """
    if cursor.seq > 0:
        epoch, _ = said.get(cursor.seq, (None, None))
        if epoch is None or epoch > cursor.epoch:
            return None
    events: list[Event] = []
    while cursor.seq + len(events) + 1 in said:
        events.append(said[cursor.seq + len(events) + 1][1])
    return events, cursor.seq + len(events) >= max(said, default=0)


async def events_since(
    postgres: Postgres, key: SessionKey, cursor: Cursor, limit: int
) -> list[Event] | None:
    """See `Memory.events_since`. While turns are open, what they said meanwhile ends the list."""
    async with (
        postgres.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        session = await connection.fetchrow(_SESSION, *key)
        if session is None:
            raise NotFound("There is no such conversation.")
        behind = session["last_seq"] - cursor.seq
        if cursor.seq < session["edited_seq"] or behind > limit:
            return None
        turns: list[StoredTurn] = []
        most = max(behind, 0) + 1 + _CANCELLED_UNHEARD
        for row in await connection.fetch(_TURNS, *key, cursor.seq, most, list(ENDED)):
            asked: list[Message] = []
            if row["accepted_seq"] > cursor.seq and row["input_from"] is not None:
                bounds = row["input_from"], row["input_to"]
                asked = [rows.message(m) for m in await connection.fetch(_INPUTS, *key, *bounds)]
            turns.append(StoredTurn(rows.response(row), asked))
        items: dict[int, StoredItems] = {}
        for *columns, seq, epoch in await connection.fetch(_ITEMS, *key, cursor.seq):
            stored = items.setdefault(seq, StoredItems(seq, epoch))
            stored.items.append(Message(*columns))
    found = after(assemble(turns, list(items.values())), cursor)
    if found is None:
        return None
    events, complete = found
    if len(events) > limit or not (complete or session["open_turns"]):
        return None
    return events
