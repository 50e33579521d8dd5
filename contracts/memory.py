"""The port of what a session remembers: written by activations, fenced by their epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, Protocol

from contracts.commands import SessionKey
from contracts.events import Cursor, Event
from contracts.messages import Message, ResponseRecord, Usage
from contracts.money import Spent


@dataclass(slots=True)
class OpenTurn:
    """A turn that an earlier activation accepted and did not end, as far as it was recorded.

    `may_have_begun`: readers may have been told of its start. Whoever goes on with such a turn adds
    a leg to it, before anything else is said of it; its `attempts` counts this activation
    already. `record` holds the text, cuts and legs that are known.

    Its `first_seq` is 0 where nothing of it is to be taken as said. Then whoever goes on with it
    says `accepted` (unless it has an `accepted_seq`, which stands) and `started` anew, then, if it
    may have begun, a `resumed` for each leg that it has and for the new one, at position 0. Its
    `epoch` is this activation's.
    """

    record: ResponseRecord
    input: list[Message]
    answer_position: int
    may_have_begun: bool


class Summary(NamedTuple):
    """What was said in a session up to and including the position `covers_to`, in short."""

    text: str
    covers_to: int


@dataclass(slots=True)
class SessionState:
    """What an activation starts from.

    `seq` and `position` are the last ones given out; the new activation goes on after them.
    `messages` are the newest, oldest first, bounded by the store's window.

    Args:
        written_epoch: Under which the last event up to `seq` was said. A cursor of that epoch or
            a later one that stands at `seq` or beyond has seen nothing else up to there.
        open_turns: What an earlier activation left open, oldest first; they are this one's now.
        events: The last events of those turns, without a gap, up to `seq`; empty where that
            cannot be had.
    """

    key: SessionKey
    epoch: int
    seq: int
    position: int
    metadata: dict[str, str]
    user: str | None
    messages: list[Message]
    last_response_id: str | None = None
    written_epoch: int = 0
    open_turns: list[OpenTurn] = field(default_factory=list[OpenTurn])
    events: list[Event] = field(default_factory=list[Event])
    summary: Summary | None = None
    turns: int = 0
    agent: str | None = None
    failures: int = 0
    spent: int = 0


class Memory(Protocol):
    """Durable truth and hot copy behind one door. Every method may raise `StoreUnavailable`.

    Writes carry the epoch of the activation that makes them and raise `Deposed` when a newer one
    exists; several sessions' writes may share one transaction.
    """

    async def activate(self, key: SessionKey) -> SessionState:
        """Take the next epoch and load the context. Raises `NotFound`.

        Turns that an earlier activation left open come along, and are from now on this one's in
        the store as well, each that may have begun with one more of its `attempts` used.
        """
        ...

    def note_events(self, key: SessionKey, epoch: int, events: Sequence[Event]) -> None:
        """Record what readers are about to be told. Never waits, never raises.

        It is what the next activation goes on from if this one is killed: a best effort, bounded,
        since what was acknowledged is durable without it.
        """
        ...

    async def hand_off(self) -> None:
        """Return once what was noted is out of this process, or given up; within milliseconds.

        Whoever tells readers of an event calls this first, so that a process that is killed takes
        nothing along that anybody has seen.
        """
        ...

    def forget_events(self, key: SessionKey, epoch: int, kept: Sequence[Event]) -> None:
        """A turn has ended and is durable: drop what was noted of the session, but for `kept`."""
        ...

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        """Make a turn's input durable, with its queued response; what it replaces goes with that.

        Raises `Conflict` (code `duplicate_id`, details `response_id`) when `client_id` or the
        response's id was used before.
        """
        ...

    async def finish(
        self,
        key: SessionKey,
        epoch: int,
        seq: int,
        record: ResponseRecord,
        answer: Message | None,
        window: list[Message],
    ) -> None:
        """Make an ended turn durable and write `window`, the context after it, to the hot copy.

        What it cost is counted in the same transaction, once, for its user and organization.
        """
        ...

    async def add_items(
        self, key: SessionKey, epoch: int, seq: int, items: list[Message], window: list[Message]
    ) -> None:
        """Append items that belong to no turn."""
        ...

    async def delete_item(
        self, key: SessionKey, epoch: int, item_id: str, window: list[Message]
    ) -> None:
        """Remove one item, and the summaries that cover it. Raises `NotFound`."""
        ...

    async def update_metadata(self, key: SessionKey, epoch: int, metadata: dict[str, str]) -> None:
        """Replace the session's metadata."""
        ...

    async def keep_summary(
        self, key: SessionKey, epoch: int, summary: Summary, agent: str, usage: Usage | None
    ) -> None:
        """Make a summary durable, the newest from now on.

        It may be tried again. The caller has seen to it that no item it covers was deleted while
        it was written; a later deletion takes it along.
        """
        ...

    async def drop(self, key: SessionKey, epoch: int) -> None:
        """Delete the session and all its rows and keys."""
        ...

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        """One response. Raises `NotFound`."""
        ...

    async def events_since(self, key: SessionKey, after: Cursor, limit: int) -> list[Event] | None:
        """Every event after the cursor up to the last stored one, without a gap, oldest first.

        None when the store cannot give them back: more than `limit` events, a cursor whose event
        was never stored under its epoch, a turn that never ended, or an item deleted since.
        """
        ...


class Ledger(Protocol):
    """What was spent, beyond one session. May raise `StoreUnavailable`."""

    async def charge(
        self, org_id: str, user: str | None, nano: int, *, day: date, turns: int = 0
    ) -> None:
        """Count what was spent on a day beside stored turns: stateless ones, summaries, routing.

        `turns`: how many turns that were. Returns when it is durable. After `StoreUnavailable` it
        may be tried again, unless the details say `written: unknown`: then it may be counted.
        """
        ...

    async def spent(self, org_id: str, user: str | None) -> Spent:
        """What user and organization have spent by now; several callers share a query."""
        ...
