"""What retention looks at: organizations, conversations by age, old sums, and who may tidy up.

No index holds `updated_at`, which every turn changes. Conversations are gone through by birth
instead: one that was changed last before some moment was also born before it, and an id tells its
birth.
"""

from __future__ import annotations

from context.postgres import Postgres
from contracts.commands import SessionKey
from contracts.errands import Expired
from contracts.ids import SESSION
from contracts.money import day_of

_LEASE = """
INSERT INTO leases (name, owner, until) VALUES ($1, $2, $4)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE leases.owner = excluded.owner OR leases.until <= $3
RETURNING name
"""

_ORGANIZATIONS = "SELECT id FROM organizations WHERE id > $1 ORDER BY id LIMIT $2"

_SESSIONS = """
SELECT id, updated_at FROM sessions WHERE org_id = $1 AND id > $2 AND id < $3
ORDER BY id LIMIT $4
"""

# No index begins with the day: a walk along the table, now and then, costs less than one would.
_SPENDING = """
WITH writers AS (DELETE FROM counted WHERE at < $3)
DELETE FROM spending WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM spending WHERE day < $1 LIMIT $2
))
RETURNING day
"""


class Archive:
    """See the module. Every method may raise `StoreUnavailable`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def lease(self, name: str, owner: str, *, now: float, until: float) -> bool:
        """Take or renew the right to do what `name` says; False: another has it."""
        return bool(await self._postgres.fetch(_LEASE, name, owner, now, until))

    async def organizations(self, *, after: str, limit: int) -> list[str]:
        """Their ids, in order."""
        return [row["id"] for row in await self._postgres.fetch(_ORGANIZATIONS, after, limit)]

    async def expired(self, org_id: str, *, before: float, after: str, limit: int) -> Expired:
        """Of the next `limit` conversations by birth, those last changed before then."""
        born = f"{SESSION}_{max(0, round(before * 1000)):012x}"
        found = await self._postgres.fetch(_SESSIONS, org_id, after, born, limit)
        keys = [SessionKey(org_id, row["id"]) for row in found if row["updated_at"] < before]
        return Expired(keys, found[-1]["id"] if len(found) == limit else None)

    async def purge_spending(self, before: float, limit: int) -> int:
        """Forget what was spent on days before this time; how many sums that were."""
        return len(await self._postgres.fetch(_SPENDING, day_of(before), limit, before))
