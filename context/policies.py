"""Policies in Postgres: every version of every scope, in the order in which they came.

Whoever puts one waits for whoever is putting another. So revisions come to be seen in their order,
and whoever has seen one has seen all before it; and what one was checked against still holds when
it is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from context.driver import Row
from context.postgres import Postgres
from contracts.errors import Conflict, NotFound
from contracts.policies import Policy

_COLUMNS = "scope, version, revision, body, created_at, author, note, rolled_back_to"

_NEWER = f"""
SELECT DISTINCT ON (scope) {_COLUMNS} FROM policies WHERE revision > $1
ORDER BY scope, version DESC
"""

_NEWEST = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 ORDER BY version DESC LIMIT 1"

_VERSION = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 AND version = $2"

_VERSIONS = f"SELECT {_COLUMNS} FROM policies WHERE scope = $1 ORDER BY version DESC LIMIT $2"

_ALONE = "SELECT pg_advisory_xact_lock(7305418116)"
"""A statement of its own: the next one then sees what was put meanwhile."""

_PUT = f"""
INSERT INTO policies (scope, version, body, created_at, author, note, rolled_back_to)
SELECT $1, newest.version + 1, $2, $3, $4, $5, $6
FROM (SELECT coalesce(max(version), 0) AS version FROM policies WHERE scope = $1) AS newest,
    (SELECT coalesce(max(revision), 0) AS revision FROM policies) AS last
WHERE ($7::bigint IS NULL OR newest.version = $7) AND ($8::bigint IS NULL OR last.revision = $8)
RETURNING {_COLUMNS}
"""


class Policies:
    """Implements `contracts.policies.PolicyStore`.

    Args:
        postgres: Open while this is used.
        clock: Unix seconds.
    """

    def __init__(
        self,
        postgres: Postgres,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._postgres = postgres
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
        after: int | None = None,
        author: str | None = None,
        note: str | None = None,
        rolled_back_to: int | None = None,
    ) -> Policy:
        """See `contracts.policies.PolicyStore.put`."""
        given = (scope, text, self._clock(), author, note, rolled_back_to, expected, after)
        async with self._postgres.connection() as connection, connection.transaction():
            await connection.fetch(_ALONE)
            row = await connection.fetchrow(_PUT, *given)
        if row is not None:
            return _of(row)
        raise Conflict(
            "The policy has changed meanwhile; read it again.",
            param="version",
            code="policy_changed",
        )


def _of(row: Row) -> Policy:
    return Policy(*row)
