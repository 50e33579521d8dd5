"""The memory of sessions that have none: chat completions bring their whole conversation along."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.commands import SessionKey
from contracts.errors import NotFound
from contracts.events import Cursor, Event
from contracts.memory import SessionState, Summary
from contracts.messages import Message, ResponseRecord, Usage


class NoMemory:
    """Implements `Memory`: starts empty, keeps nothing, and nobody can depose it."""

    async def activate(self, key: SessionKey) -> SessionState:
        return SessionState(key, 1, 0, 0, {}, None, [])

    def note_events(self, key: SessionKey, epoch: int, events: Sequence[Event]) -> None:
        return None

    async def hand_off(self) -> None:
        return None

    def forget_events(self, key: SessionKey, epoch: int, kept: Sequence[Event]) -> None:
        return None

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        return None

    async def finish(
        self,
        key: SessionKey,
        epoch: int,
        seq: int,
        record: ResponseRecord,
        answer: Message | None,
        window: list[Message],
    ) -> None:
        return None

    async def add_items(
        self, key: SessionKey, epoch: int, seq: int, items: list[Message], window: list[Message]
    ) -> None:
        return None

    async def delete_item(
        self, key: SessionKey, epoch: int, item_id: str, window: list[Message]
    ) -> None:
        return None

    async def update_metadata(self, key: SessionKey, epoch: int, metadata: dict[str, str]) -> None:
        return None

    async def keep_summary(
        self, key: SessionKey, epoch: int, summary: Summary, agent: str, usage: Usage | None
    ) -> None:
        return None

    async def drop(self, key: SessionKey, epoch: int) -> None:
        return None

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        raise NotFound(f"No response {response_id!r}.", param="response_id")

    async def events_since(self, key: SessionKey, after: Cursor, limit: int) -> list[Event] | None:
        return None
