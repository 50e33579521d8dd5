"""What errands need of others: stores to take work from, and the way to sessions.

Every method of a store may raise `StoreUnavailable`. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from contracts.commands import Accepted, SessionKey, TurnRequest
from contracts.errands import Delivery, Expired, Outcome, Schedule


class Sessions(Protocol):
    """The way to sessions, wherever they live; in a gateway, its Link."""

    def submit(self, key: SessionKey, turn: TurnRequest) -> Awaitable[Accepted | None]:
        """Begin a turn; None: an earlier try of it was accepted whose answer was lost."""
        ...

    def drop(self, key: SessionKey, *, unused_since: float | None = None) -> Awaitable[None]:
        """Delete a conversation, unless something was said in it since then (`Conflict`)."""
        ...


class Outbox(Protocol):
    """What is owed to webhook endpoints."""

    async def claim(
        self, endpoint: str, *, now: float, lease_s: float, limit: int
    ) -> list[Delivery]:
        """Take what is due; nobody else gets it before `lease_s` has passed."""
        ...

    async def delivered(self, delivery: Delivery) -> None: ...

    async def postpone(self, delivery: Delivery, until: float, error: str) -> None:
        """Try again then, unless somebody else has claimed it meanwhile."""
        ...

    async def give_up(self, delivery: Delivery, error: str) -> None:
        """Never try again, unless somebody else has claimed it meanwhile; it stays to be seen."""
        ...

    async def purge(self, before: float, limit: int) -> int:
        """Delete what is older, whatever became of it; how much that was."""
        ...


class Timetable(Protocol):
    """The schedules of all sessions."""

    async def claim(self, *, now: float, lease_s: float, limit: int) -> list[Schedule]:
        """Take what is due; nobody else gets it before `lease_s` has passed."""
        ...

    async def settle(
        self, schedule: Schedule, outcome: Outcome, due_at: float | None, skipped: int
    ) -> None:
        """Note what became of its due time, and the next one, unless that was noted already."""
        ...

    async def postpone(self, schedule: Schedule, until: float) -> None:
        """Look at it again then, unless its due time was settled meanwhile."""
        ...

    async def forget(self, schedule: Schedule) -> None: ...

    async def purge(self, before: float, limit: int) -> int:
        """Delete schedules whose last time was before; how many that were."""
        ...


class Archive(Protocol):
    """What retention looks at."""

    async def lease(self, name: str, owner: str, *, now: float, until: float) -> bool:
        """Take or renew the right to do what `name` says; False: another has it."""
        ...

    async def organizations(self, *, after: str, limit: int) -> list[str]: ...

    async def expired(self, org_id: str, *, before: float, after: str, limit: int) -> Expired:
        """Of the next `limit` conversations by birth, those last changed before then."""
        ...

    async def purge_spending(self, before: float, limit: int) -> int:
        """Forget what was spent on days before; how many sums that were."""
        ...
