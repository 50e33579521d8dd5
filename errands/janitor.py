"""The janitor deletes conversations whose time is over, and what errands leave behind.

A conversation goes the way on which its owner would delete it: through its session, so that
nothing of it stays in memory, Redis or Postgres, and one at a time, so that nobody feels it. A
conversation that somebody comes back to in that moment refuses, and stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from contracts.commands import SessionKey
from contracts.errors import Conflict, NotFound
from errands.ports import Archive, Outbox, Sessions, Timetable

log = logging.getLogger("troupe.errands.janitor")

DAY_S = 86_400.0
LEASE = "janitor"
PAGE = 100


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long things are kept, in days; None: for good.

    Args:
        default_days: Conversations, after what was last said in them.
        organizations: The same, for those that have a word of their own.
        outbox_days: Word of turns' ends that could not be delivered.
        schedules_days: Schedules whose last time is over.
        spending_days: Sums of what was spent on a day.
    """

    default_days: float | None
    organizations: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    outbox_days: float = 7
    schedules_days: float = 30
    spending_days: float = 400

    def days(self, org_id: str) -> float | None:
        return self.organizations.get(org_id, self.default_days)

    @property
    def forever(self) -> bool:
        """Whether no conversation ever goes."""
        return self.default_days is None and not any(self.organizations.values())


class Janitor:
    """See the module. Of all that there are, one works at a time.

    Args:
        name: Who it is; unique.
        keeping: How long things are kept.
        per_second: Conversations deleted per second at most.
        lease_s: Longer than a page of conversations takes.
        clock: Unix seconds.
        pause: Waits for so many seconds.
    """

    def __init__(
        self,
        name: str,
        archive: Archive,
        outbox: Outbox,
        timetable: Timetable,
        sessions: Sessions,
        keeping: Keeping,
        *,
        per_second: float,
        lease_s: float,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._archive = archive
        self._outbox = outbox
        self._timetable = timetable
        self._sessions = sessions
        self._keeping = keeping
        self._per_second = per_second
        self._lease_s = lease_s
        self._clock = clock
        self._pause = pause

    async def round(self) -> bool:
        """Go once through everything, unless another does. Always False: that was all."""
        if not await self._may_work():
            return False
        now = self._clock()
        await self._purge(self._outbox.purge, now - self._keeping.outbox_days * DAY_S)
        await self._purge(self._timetable.purge, now - self._keeping.schedules_days * DAY_S)
        await self._purge(self._archive.purge_spending, now - self._keeping.spending_days * DAY_S)
        after = ""
        while not self._keeping.forever:
            organizations = await self._archive.organizations(after=after, limit=PAGE)
            for after in organizations:
                days = self._keeping.days(after)
                if days is not None and not await self._clear(after, now - days * DAY_S):
                    return False
            if len(organizations) < PAGE:
                break
        return False

    async def _may_work(self) -> bool:
        now = self._clock()
        return await self._archive.lease(LEASE, self._name, now=now, until=now + self._lease_s)

    async def _purge(self, purge: Callable[[float, int], Awaitable[int]], before: float) -> None:
        while await purge(before, PAGE) == PAGE:
            await self._pause(PAGE / self._per_second)

    async def _clear(self, org_id: str, before: float) -> bool:
        """Delete what is older; False: another janitor has taken over."""
        gone, after = 0, ""
        while True:
            page = await self._archive.expired(org_id, before=before, after=after, limit=PAGE)
            for key in page.keys:
                gone += await self._drop(key, before)
                await self._pause(1 / self._per_second)
            if page.after is None:
                break
            after = page.after
            if not await self._may_work():
                return False
        if gone:
            log.info("%s: %d conversations are deleted; their time was over", org_id, gone)
        return True

    async def _drop(self, key: SessionKey, before: float) -> bool:
        try:
            await self._sessions.drop(key, unused_since=before)
        except NotFound:
            return False
        except Conflict as error:
            log.info("%s stays: %s", key.session_id, error.message)
            return False
        return True
