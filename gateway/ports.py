"""What the gateway asks of the store by itself: reading, and the birth of sessions.

Everything that changes an existing session goes through the link, to the session's one writer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from contracts.commands import InputItem, SessionKey
from contracts.decisions import RoutingInput
from contracts.errands import Schedule
from contracts.messages import Message, ResponseRecord
from contracts.money import DaySpent, Spent, UserSpent


class Conversation(Protocol):
    """A session as the API shows it; `created_at` is in Unix seconds."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> float: ...
    @property
    def metadata(self) -> dict[str, str]: ...


class Records(Protocol):
    """Every method may raise `StoreUnavailable`. What is absent or foreign is `NotFound`.

    Lists come in pages: at most `limit` rows that follow `after` in the order asked for, and
    whether more would follow.
    """

    async def create_session(
        self,
        key: SessionKey,
        *,
        user: str | None,
        metadata: dict[str, str],
        items: Sequence[InputItem],
    ) -> Conversation: ...

    async def discard_unused(self, key: SessionKey) -> None:
        """Delete a session that holds neither message nor response; leave any other alone."""
        ...

    async def session(self, key: SessionKey) -> Conversation: ...

    async def sessions(
        self, org_id: str, *, after: str | None, limit: int, ascending: bool
    ) -> tuple[Sequence[Conversation], bool]: ...

    async def items(
        self, key: SessionKey, *, after: str | None, limit: int, ascending: bool
    ) -> tuple[list[Message], bool]: ...

    async def item(self, key: SessionKey, item_id: str) -> Message: ...

    async def response(self, org_id: str, response_id: str) -> ResponseRecord: ...

    async def input_items(
        self, org_id: str, response_id: str, *, after: str | None, limit: int, ascending: bool
    ) -> tuple[list[Message], bool]: ...

    async def continuation(self, org_id: str, response_id: str) -> SessionKey:
        """The session in which a turn after this response belongs.

        The response's own session while the response is its latest; otherwise a new session that
        holds a copy of the conversation up to and including the response.
        """
        ...

    async def fork_at(
        self, key: SessionKey, item_id: str, metadata: dict[str, str] | None
    ) -> Conversation:
        """A new session that holds a copy of this one up to and including an item.

        `metadata` None: as the original has it.
        """
        ...


class Schedules(Protocol):
    """The schedules of conversations. Raises as `Records` does."""

    async def add(self, schedule: Schedule, *, in_session: int, in_organization: int) -> None:
        """Keep a new one; `Conflict` where as many are to come already."""
        ...

    async def all_of(
        self, key: SessionKey, *, after: str | None, limit: int, ascending: bool
    ) -> tuple[list[Schedule], bool]: ...

    async def one(self, key: SessionKey, schedule_id: str) -> Schedule: ...

    async def remove(self, key: SessionKey, schedule_id: str) -> None: ...


class RoutedMessage(Protocol):
    """A message as the rules saw it, and what was decided then."""

    @property
    def response_id(self) -> str: ...
    @property
    def given(self) -> RoutingInput: ...
    @property
    def decision(self) -> Mapping[str, Any]: ...


class Routed(Protocol):
    """What rules have decided. Raises as `Records` does."""

    async def since(
        self, org_id: str, since: float, *, model: str, limit: int, before: str | None = None
    ) -> Sequence[RoutedMessage]:
        """The organization's messages since a time, the newest first."""
        ...


class Spending(Protocol):
    """What was spent. Every method may raise `StoreUnavailable`."""

    async def spent(self, org_id: str, user: str | None) -> Spent: ...

    async def days(self, org_id: str, user: str | None, count: int) -> Sequence[DaySpent]:
        """The last days on which anything was spent, today among `count`; the newest first."""
        ...

    async def users(self, org_id: str, limit: int) -> Sequence[UserSpent]:
        """Who spent most this month."""
        ...
