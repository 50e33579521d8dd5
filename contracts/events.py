"""Events: what happens in a session, in order, as every reader sees it.

A session's log is a sequence of `Event`s whose `seq` has no gap. Each protocol at the gateway is
a projection of it. The Responses API needs more events than happen (an item is "added", a part is
"done"), so one event unfolds into several API events; `number` is the `sequence_number` of the
first of them and `unfolds_to` says how many, which makes the numbering a function of the log.

    kind       data                                  API events it unfolds into
    accepted   {"input": [Message...], "client_id"}  none (WebSocket: response.accepted)
               and "removed" where the turn replaces an answer: the id of its item
    started    ResponseRecord, in progress           created, in_progress
    delta      str; the first one of a response      output_item.added, content_part.added, delta
    delta      str; any further one                  delta
    ended      ResponseRecord, final; with text      text.done, part.done, item.done, terminal
    ended      ResponseRecord, final; without        terminal
    resumed    Leg; the turn goes on elsewhere       resumed
    item       {"items": [Message...]}               none (WebSocket: conversation.item.created)

A turn that lost its host or its provider goes on in a new leg. What a lost host had said last may
be on a screen and nowhere else, so a reader's number says nothing unless it also says in which leg
it was given: the numbers of leg n begin at n * LEG_NUMBERS. A reader that comes back with a number
of an earlier leg gets `resumed` and what follows, whatever it had seen of the end that was lost.

Which leg it is follows from the activation and from how often it has changed providers
(`leg_of`), not from how many legs are on record: so a number is never given out twice, though the
record of a leg be lost with its host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any, Literal, NamedTuple

from contracts.messages import Message, ResponseRecord

Kind = Literal["accepted", "started", "delta", "resumed", "ended", "item"]


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


def accepted_data(record: ResponseRecord, items: Sequence[Message]) -> dict[str, Any]:
    """What an `accepted` event says of a turn and its input."""
    data: dict[str, Any] = {"input": list(items), "client_id": record.client_id}
    if record.replaces is not None:
        data["removed"] = record.replaces
    return data


LEG_NUMBERS = 1_000_000
"""Numbers set aside for one leg of a turn."""

LEGS_OF_ATTEMPT = 16
"""Legs set aside for one activation: the one it begins with, and its changes of provider."""

_OPENING = 2
"""The place in its leg of a response's first delta, and of nothing else."""


def opens(event: Event) -> bool:
    """Whether a delta is its response's first, which also opens the item and its part."""
    return event.number % LEG_NUMBERS == _OPENING


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
    return 1 if kind == "resumed" else 0


def leg_of(attempt: int, changes: int) -> int:
    """The number of a leg. `attempt` counts activations from 1, `changes` those of provider in it.

    The first activation begins with leg 0, of which nobody is told.
    """
    assert 0 <= changes < LEGS_OF_ATTEMPT, "changes of provider are bounded by settings"
    return (attempt - 1) * LEGS_OF_ATTEMPT + changes


def legs_missing(record: ResponseRecord) -> list[int]:
    """The numbers of the legs that activations began with and that are not on record."""
    last = record.legs[-1].number if record.legs else 0
    begun = (leg_of(attempt, 0) for attempt in range(2, record.attempts + 1))
    return [number for number in begun if number > last]


def first_number_of(leg: int) -> int:
    """The number of the event that begins a leg: `started` for 0, `resumed` for any later."""
    return leg * LEG_NUMBERS


def number_after_resumed(leg: int, *, opened: bool) -> int:
    """The number of what follows `resumed`; `opened`: a delta came in an earlier leg."""
    return leg * LEG_NUMBERS + _OPENING + opened


def numbered(record: ResponseRecord) -> Iterator[tuple[Kind, int, Any]]:
    """What a turn has said so far, without its end: kind, number and data, in order.

    The last item is `("ended", number, record)`: the number that its end has or would have.
    """
    number = first_number_of(0)
    yield "started", number, record
    number += unfolds_to("started", opens=False)
    legs = deque(record.legs)
    start = 0
    for index in range(len(record.cuts) + 1):
        while legs and legs[0].cuts <= index:
            leg = legs.popleft()
            # What stood then may have been taken back by a later leg.
            told = leg if leg.position <= start else leg._replace(position=start)
            yield "resumed", first_number_of(leg.number), told
            number = number_after_resumed(leg.number, opened=index > 0)
        if index < len(record.cuts):
            length = record.cuts[index]
            yield "delta", number, record.text[start : start + length]
            number += unfolds_to("delta", opens=index == 0)
            start += length
    yield "ended", number, record


def events_of(record: ResponseRecord, taken: Collection[int] = ()) -> list[Event]:
    """Give back the events of an ended turn from its record: `started`, deltas, `ended`.

    They carry the very seqs and numbers under which they were first sent, since the numbering is
    a function of the cuts and legs. `started` holds the final record, which a reader may show as
    it likes.

    Args:
        record: An ended turn.
        taken: The seqs of other events (accepted, item) that happened while the turn ran.
    """
    free = (seq for seq in count(record.first_seq) if seq not in taken)
    return [Event(next(free), kind, record.id, *rest) for kind, *rest in numbered(record)]


def epoch_of(record: ResponseRecord, number: int) -> int:
    """The epoch under which a turn's event of this number was said."""
    said_in = number // LEG_NUMBERS
    return next((leg.epoch for leg in record.legs if leg.number == said_in), record.epoch)
