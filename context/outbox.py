"""The outbox: word of turns' ends that webhook endpoints are owed.

Rows come with the transaction that ends the turn (`context.statements`). One is claimed by moving
its time ahead; `attempts` then tells the claims of a row apart, so that who was overtaken changes
nothing any more.
"""

from __future__ import annotations

from context.postgres import Postgres
from contracts.errands import Delivery

_CLAIM = """
WITH due AS (
    SELECT id, org_id, endpoint FROM outbox WHERE endpoint = $1 AND due_at <= $2
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE outbox AS o SET due_at = $2 + $3, attempts = o.attempts + 1
FROM due WHERE o.id = due.id AND o.org_id = due.org_id AND o.endpoint = due.endpoint
RETURNING o.org_id, o.id, o.endpoint, o.response_id, o.type, o.created_at, o.attempts
"""

_DELIVERED = "DELETE FROM outbox WHERE id = $1 AND org_id = $2 AND endpoint = $3"

_NOT_DELIVERED = """
UPDATE outbox SET due_at = $5, last_error = $6
WHERE id = $1 AND org_id = $2 AND endpoint = $3 AND attempts = $4
"""

_PURGE = """
WITH old AS (
    SELECT id, org_id, endpoint FROM outbox WHERE created_at < $1 ORDER BY created_at LIMIT $2
)
DELETE FROM outbox AS o USING old
WHERE o.id = old.id AND o.org_id = old.org_id AND o.endpoint = old.endpoint
RETURNING o.id
"""


class Outbox:
    """See the module. Every method may raise `StoreUnavailable`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def claim(
        self, endpoint: str, *, now: float, lease_s: float, limit: int
    ) -> list[Delivery]:
        """Take what is due, oldest first; nobody else gets it before `lease_s` has passed."""
        found = await self._postgres.fetch(_CLAIM, endpoint, now, lease_s, limit)
        return [Delivery(*row) for row in found]

    async def delivered(self, delivery: Delivery) -> None:
        """Forget it, whoever has claimed it since."""
        await self._postgres.fetch(_DELIVERED, *_place(delivery))

    async def postpone(self, delivery: Delivery, until: float, error: str) -> None:
        """Try again then, unless somebody else has claimed it meanwhile."""
        await self._not_delivered(delivery, until, error)

    async def give_up(self, delivery: Delivery, error: str) -> None:
        """Never try again, unless somebody else has claimed it meanwhile; it stays to be seen."""
        await self._not_delivered(delivery, None, error)

    async def purge(self, before: float, limit: int) -> int:
        """Delete at most `limit` rows that are older, whatever became of them."""
        return len(await self._postgres.fetch(_PURGE, before, limit))

    async def _not_delivered(self, delivery: Delivery, until: float | None, error: str) -> None:
        await self._postgres.fetch(
            _NOT_DELIVERED, *_place(delivery), delivery.attempts, until, error
        )


def _place(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.id, delivery.org_id, delivery.endpoint
