"""Events: what happens in a session, in order, as every reader sees it.

A session's log is a sequence of `Event`s whose `seq` has no gap. Each protocol at the gateway is
a projection of it. The Responses API needs more events than happen (an item is "added", a part is
"done"), so one event unfolds into several API events; `number` is the `sequence_number` of the
first of them and `unfolds_to` says how many, which makes the numbering a function of the log.

    kind       data                                  API events it unfolds into
    accepted   {"input": [Message...], "client_id"}  none (WebSocket: response.accepted)
    started    ResponseRecord, in progress           created, in_progress
    delta      str; the first one of a response      output_item.added, content_part.added, delta
    delta      str; any further one                  delta
    ended      ResponseRecord, final; with text      text.done, part.done, item.done, terminal
    ended      ResponseRecord, final; without        terminal
    item       {"items": [Message...]}               none (WebSocket: conversation.item.created)
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any, Literal, NamedTuple

from contracts.messages import ResponseRecord

Kind = Literal["accepted", "started", "delta", "ended", "item"]


class Cursor(NamedTuple):
    """A place in a session's log: everything up to and including `seq` has been seen."""

    epoch: int
    seq: int


class Event(NamedTuple):
    """One thing that happened. `number` is -1 where the Responses API shows nothing."""

    seq: int
    kind: Kind
    response_id: str | None
    number: int
    data: Any


FIRST_DELTA_NUMBER = 2


def unfolds_to(kind: Kind, *, opens: bool) -> int:
    """How many API events one event becomes.

    `opens`: for a delta, whether it is the response's first; for an end, whether any text came.
    """
    if kind == "started":
        return 2
    if kind == "delta":
        return 3 if opens else 1
    if kind == "ended":
        return 4 if opens else 1
    return 0


def events_of(record: ResponseRecord, taken: Collection[int] = ()) -> list[Event]:
    """Give back the events of an ended turn from its record: `started`, deltas, `ended`.

    They carry the very seqs and numbers under which they were first sent, since the numbering is
    a function of the cuts. `started` holds the final record, which a reader may show as it likes.

    Args:
        record: An ended turn.
        taken: The seqs of other events (accepted, item) that happened while the turn ran.
    """
    free = (seq for seq in count(record.first_seq) if seq not in taken)
    number = 0
    events = [Event(next(free), "started", record.id, number, record)]
    number += unfolds_to("started", opens=False)
    start = 0
    for index, length in enumerate(record.cuts):
        text = record.text[start : start + length]
        events.append(Event(next(free), "delta", record.id, number, text))
        number += unfolds_to("delta", opens=index == 0)
        start += length
    events.append(Event(next(free), "ended", record.id, number, record))
    return events
