"""The port of what a session remembers: written by activations, fenced by their epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contracts.commands import SessionKey
from contracts.events import Cursor, Event
from contracts.messages import Message, ResponseRecord


@dataclass(slots=True)
class SessionState:
    """What an activation starts from.

    `seq` and `position` are the last ones given out; the new activation goes on after them.
    `messages` are the newest, oldest first, bounded by the store's window.
    """

    key: SessionKey
    epoch: int
    seq: int
    position: int
    metadata: dict[str, str]
    user: str | None
    messages: list[Message]
    last_response_id: str | None = None


class Memory(Protocol):
    """Durable truth and hot copy behind one door. Every method may raise `StoreUnavailable`.

    Writes carry the epoch of the activation that makes them and raise `Deposed` when a newer one
    exists; several sessions' writes may share one transaction.
    """

    async def activate(self, key: SessionKey) -> SessionState:
        """Take the next epoch and load the context. Raises `NotFound`."""
        ...

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        """Make a turn's input durable, with its queued response.

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
        """Make an ended turn durable and write `window`, the context after it, to the hot copy."""
        ...

    async def add_items(
        self, key: SessionKey, epoch: int, seq: int, items: list[Message], window: list[Message]
    ) -> None:
        """Append items that belong to no turn."""
        ...

    async def delete_item(
        self, key: SessionKey, epoch: int, item_id: str, window: list[Message]
    ) -> None:
        """Remove one item. Raises `NotFound`."""
        ...

    async def update_metadata(self, key: SessionKey, epoch: int, metadata: dict[str, str]) -> None:
        """Replace the session's metadata."""
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
