"""Spending: what users and organizations have spent, by days of UTC's calendar.

The writer adds to it what stored turns cost, in the transaction that ends them. Here is what is
spent beside them, and the sums. Whoever asks while a query is under way shares the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import count
from typing import NamedTuple

from context.driver import is_undone
from context.gather import Gatherer
from context.postgres import Postgres, known
from context.text import storable
from contracts.errors import StoreUnavailable
from contracts.ids import new_id
from contracts.money import DaySpent, Spent, UserSpent, day_of

_SPENT = """
SELECT k.n,
    coalesce(sum(x.nano) FILTER (WHERE x.subject <> '' AND x.day = $4), 0)::bigint AS user_day,
    coalesce(sum(x.nano) FILTER (WHERE x.subject <> ''), 0)::bigint AS user_month,
    coalesce(sum(x.nano) FILTER (WHERE x.subject = '' AND x.day = $4), 0)::bigint AS org_day,
    coalesce(sum(x.nano) FILTER (WHERE x.subject = ''), 0)::bigint AS org_month
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (org_id, user_name, n)
JOIN spending AS x
    ON x.org_id = k.org_id AND x.subject = ANY (ARRAY['', k.user_name]) AND x.day BETWEEN $3 AND $4
GROUP BY k.n
"""

# Once for each batch of a writer, however often it is sent. Rows are taken in one order, as where
# turns end: see `context.statements`.
_CHARGE = """
WITH fresh AS (
    INSERT INTO counted AS y (writer, batch, at) VALUES ($1, $2, $3)
    ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at
    WHERE y.batch < excluded.batch
    RETURNING y.batch
)
INSERT INTO spending AS x (org_id, subject, day, nano, turns)
SELECT c.org_id, p.subject, c.day, sum(c.nano)::bigint, sum(c.turns)::bigint
FROM unnest($4::text[], $5::text[], $6::date[], $7::bigint[], $8::bigint[])
    AS c (org_id, user_name, day, nano, turns)
CROSS JOIN LATERAL (VALUES (''), (c.user_name)) AS p (subject)
WHERE p.subject IS NOT NULL AND EXISTS (SELECT FROM fresh)
GROUP BY c.org_id, p.subject, c.day ORDER BY c.org_id, p.subject, c.day
ON CONFLICT (org_id, subject, day) DO UPDATE
SET nano = x.nano + excluded.nano, turns = x.turns + excluded.turns
"""

_DAYS = """
SELECT day, nano, turns FROM spending
WHERE org_id = $1 AND subject = $2 AND day > $3 ORDER BY day DESC
"""


_USERS = """
SELECT subject, coalesce(sum(nano) FILTER (WHERE day = $3), 0)::bigint, sum(nano)::bigint AS month
FROM spending WHERE org_id = $1 AND subject <> '' AND day BETWEEN $2 AND $3
GROUP BY subject ORDER BY month DESC, subject LIMIT $4
"""


_AGAIN_S = 0.5


class _Asked(NamedTuple):
    org_id: str
    user: str | None


class _Added(NamedTuple):
    n: int
    org_id: str
    user: str | None
    day: date
    nano: int
    turns: int


class Spending:
    """Implements `contracts.memory.Ledger`. `open` before use.

    Args:
        postgres: Where the rows are.
        clock: Unix seconds.
        group_max: Questions, or additions, that share a statement at most.
        queue_max: Of either, waiting at most.
    """

    def __init__(
        self,
        postgres: Postgres,
        clock: Callable[[], float],
        *,
        group_max: int = 256,
        queue_max: int = 5000,
    ) -> None:
        self._postgres = postgres
        self._clock = clock
        self._numbers = count(1)
        self._writer = new_id("writer")
        self._batch = 0
        self._asked: Gatherer[_Asked, Spent] = Gatherer(
            self._spent,
            lambda asked: asked,
            lambda _: 1,
            name="context-spent",
            group_max=group_max,
            weight_max=group_max,
            queue_max=queue_max,
            gather_s=0.0,
        )
        self._added: Gatherer[_Added, None] = Gatherer(
            self._charge,
            lambda added: added.n,
            lambda _: 1,
            name="context-charge",
            group_max=group_max,
            weight_max=group_max,
            queue_max=queue_max,
            gather_s=0.0,
        )

    def open(self) -> None:
        self._asked.open()
        self._added.open()

    async def aclose(self, timeout_s: float = 5.0) -> None:
        await self._asked.aclose(timeout_s)
        await self._added.aclose(timeout_s)

    # -- Ledger ---------------------------------------------------------------------------------

    async def charge(
        self, org_id: str, user: str | None, nano: int, *, day: date, turns: int = 0
    ) -> None:
        """Count it, once.

        Where the answer of the store is lost it is sent again under the same number until there is
        one; what comes meanwhile waits. `StoreUnavailable` says that nothing was counted, but for
        details `written: unknown`, with which this is closed.
        """
        if nano == 0:
            return
        known(org_id)
        name = storable(user) or None if user else None
        await self._added.submit(_Added(next(self._numbers), org_id, name, day, nano, turns))

    async def spent(self, org_id: str, user: str | None) -> Spent:
        known(org_id)
        return await self._asked.submit(_Asked(org_id, storable(user) or None if user else None))

    # -- for operators --------------------------------------------------------------------------

    async def days(self, org_id: str, user: str | None, count: int) -> list[DaySpent]:
        """The last days on which anything was spent, today among `count`; the newest first."""
        known(org_id)
        after = day_of(self._clock()) - timedelta(days=count)
        found = await self._postgres.fetch(_DAYS, org_id, storable(user or ""), after)
        return [DaySpent(*row) for row in found]

    async def users(self, org_id: str, limit: int) -> list[UserSpent]:
        """Who spent most this month."""
        known(org_id)
        today = day_of(self._clock())
        found = await self._postgres.fetch(_USERS, org_id, today.replace(day=1), today, limit)
        return [UserSpent(*row) for row in found]

    async def _spent(self, asked: Sequence[_Asked]) -> Sequence[Spent | Exception]:
        today = day_of(self._clock())
        found = await self._postgres.fetch(
            _SPENT,
            [one.org_id for one in asked],
            [one.user for one in asked],
            today.replace(day=1),
            today,
        )
        sums = {n: Spent(*row) for n, *row in found}
        return [sums.get(n, Spent()) for n in range(1, len(asked) + 1)]

    async def _charge(self, added: Sequence[_Added]) -> Sequence[Exception | None]:
        self._batch += 1
        columns = list(zip(*(one[1:] for one in added), strict=True))
        in_doubt = False
        while True:
            sent = False
            try:
                async with self._postgres.connection() as connection:
                    sent = True
                    await connection.fetch(
                        _CHARGE, self._writer, self._batch, self._clock(), *columns
                    )
                return [None] * len(added)
            except StoreUnavailable as error:
                in_doubt = in_doubt or (sent and not is_undone(error.__cause__))
                if not in_doubt:
                    raise
            await asyncio.sleep(_AGAIN_S)
