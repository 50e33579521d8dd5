"""Policies in Postgres: every version of every scope, in the order in which they came.

Whoever puts one waits for whoever is putting another, so that revisions are seen in their order:
a reader that has seen one has seen all before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from context.driver import Row, is_duplicate
from context.postgres import Postgres
from contracts.errors import Conflict, NotFound, TooLarge, TroupeError
from contracts.policies import Policy

_LOCK = 7_305_418_116
"""Names the lock under which a revision is given out."""
_TRIES = 5
_COLUMNS = "scope, version, revision, body, created_at, author, note, rolled_back_to"

_NEWER = f"""
SELECT DISTINCT ON (scope) {_COLUMNS} FROM policies WHERE revision > $1
ORDER BY scope, version DESC
"""

_NEWEST = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 ORDER BY version DESC LIMIT 1"

_VERSION = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 AND version = $2"

_VERSIONS = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 ORDER BY version DESC LIMIT $2"

# The lock is taken before the revision is; what others put meanwhile shows as a duplicate.
_PUT = f"""
INSERT INTO policies (scope, version, body, created_at, author, note, rolled_back_to)
SELECT $1, newest.version + 1, $2, $3, $4, $5, $6
FROM (SELECT pg_advisory_xact_lock($8) AS taken OFFSET 0) AS alone
CROSS JOIN LATERAL (
    SELECT coalesce(max(version), 0) AS version FROM policies
    WHERE scope = $1 AND alone.taken IS NOT NULL
) AS newest
WHERE $7::bigint IS NULL OR newest.version = $7
RETURNING {_COLUMNS}
"""


class Policies:
    """Implements `contracts.policies.PolicyStore`.

    Args:
        postgres: Open while this is used.
        max_chars: Of one text.
        clock: Unix seconds.
    """

    def __init__(
        self,
        postgres: Postgres,
        max_chars: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._postgres = postgres
        self._max_chars = max_chars
        self._clock = clock

    async def newer(self, revision: int) -> list[Policy]:
        """The newest version of each scope that changed after this revision."""
        return [_of(row) for row in await self._postgres.fetch(_NEWER, revision)]

    async def newest(self, scope: str) -> Policy | None:
        row = await self._postgres.fetchrow(_NEWEST, scope)
        return None if row is None else _of(row)

    async def version(self, scope: str, version: int) -> Policy:
        row = await self._postgres.fetchrow(_VERSION, scope, version)
        if row is None:
            raise NotFound("This policy has no such version.", param="version")
        return _of(row)

    async def versions(self, scope: str, limit: int) -> list[Policy]:
        return [_of(row) for row in await self._postgres.fetch(_VERSIONS, scope, limit)]

    async def put(
        self,
        scope: str,
        text: str,
        *,
        expected: int | None = None,
        author: str | None = None,
        note: str | None = None,
        rolled_back_to: int | None = None,
    ) -> Policy:
        """See `contracts.policies.PolicyStore.put`. Raises `TooLarge` besides."""
        if len(text) > self._max_chars:
            raise TooLarge(
                f"A policy has at most {self._max_chars} characters.",
                code="policy_too_large",
                details={"limit": self._max_chars},
            )
        given = (scope, text, self._clock(), author, note, rolled_back_to, expected, _LOCK)
        for _ in range(_TRIES):
            try:
                row = await self._postgres.fetchrow(_PUT, *given)
            except TroupeError as error:
                # Another version came while this one waited.
                if not is_duplicate(error.__cause__):
                    raise
                if expected is None:
                    continue
                row = None
            if row is None:
                break
            return _of(row)
        raise Conflict(
            "The policy has changed meanwhile; read it again.", param="version", code="policy_changed"
        )


def _of(row: Row) -> Policy:
    return Policy(*row)
