"""Schedules: what a gateway creates and shows of them, and what schedulers take from here.

A schedule is claimed by moving `wake_at` ahead. What is noted of a due time is noted only while it
is the one that stands in the row, so that of several who did one thing one tells. That check
compares with IS NOT DISTINCT FROM for the reason that `context.statements` gives.
"""

from __future__ import annotations

from typing import Any

import orjson

from context.driver import Row
from context.postgres import Postgres, known
from context.rows import json_object
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errands import Outcome, Schedule
from contracts.errors import Conflict, InvalidRequest, NotFound

_LOCK = 0x73_63_68_65
"""The first half of the advisory locks' keys: `sche` in ASCII."""

_SCHEDULE = (
    "p.org_id, p.session_id, p.id, p.created_at, p.turn, p.at, p.cron, p.timezone, p.due_at,"
    " p.last_due_at, p.last_kind, p.last_response_id, p.last_error, p.skipped"
)

_THERE = "SELECT FROM sessions WHERE org_id = $1 AND id = $2"

_COUNT = """
SELECT
    (SELECT count(*) FROM schedules
     WHERE org_id = $1 AND session_id = $2 AND due_at IS NOT NULL) AS in_session,
    (SELECT count(*) FROM schedules WHERE org_id = $1 AND due_at IS NOT NULL) AS in_organization
"""

_ADD = """
INSERT INTO schedules (org_id, session_id, id, created_at, turn, at, cron, timezone, due_at,
    wake_at)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9, $9)
"""

_OF_SESSION = "p.session_id = $2 AND p.org_id = $1"

_CLAIM = f"""
WITH due AS (
    SELECT id, org_id FROM schedules WHERE wake_at <= $1
    ORDER BY wake_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE schedules AS p SET wake_at = $1 + $2
FROM due WHERE p.id = due.id AND p.org_id = due.org_id
RETURNING {_SCHEDULE}
"""

_SETTLE = """
UPDATE schedules SET due_at = $4, wake_at = $4, last_due_at = $5, last_kind = $6,
    last_response_id = $7, last_error = $8::jsonb, skipped = skipped + $9
WHERE org_id = $1 AND id = $2 AND due_at IS NOT DISTINCT FROM $3
"""

_POSTPONE = """
UPDATE schedules SET wake_at = $4
WHERE org_id = $1 AND id = $2 AND due_at IS NOT DISTINCT FROM $3
"""

_PURGE = """
WITH over AS (
    SELECT id, org_id FROM schedules WHERE due_at IS NULL AND last_due_at < $1
    ORDER BY last_due_at LIMIT $2
)
DELETE FROM schedules AS p USING over WHERE p.id = over.id AND p.org_id = over.org_id
RETURNING p.id
"""


class Timetable:
    """See the module. Every method may raise `StoreUnavailable`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    # -- gateways -------------------------------------------------------------------------------

    async def add(self, schedule: Schedule, *, in_session: int, in_organization: int) -> None:
        """Keep a new schedule; at most so many may be to come at once.

        Raises:
            NotFound: There is no such conversation.
            Conflict: There are as many as there may be (`too_many_schedules`).
            InvalidRequest: A value that Postgres cannot store.
        """
        key = schedule.key
        known(*key, schedule.id)
        async with self._postgres.connection() as connection, connection.transaction():
            # Only who adds to the organization waits here, so that all of them count right.
            await connection.fetch(
                "SELECT pg_advisory_xact_lock($1::integer, hashtext($2))", _LOCK, key.org_id
            )
            if await connection.fetchrow(_THERE, *key) is None:
                raise _no_session()
            counted = await connection.fetchrow(_COUNT, *key)
            assert counted is not None
            if counted["in_session"] >= in_session:
                raise _too_many("conversation", in_session)
            if counted["in_organization"] >= in_organization:
                raise _too_many("organization", in_organization)
            await connection.fetch(
                _ADD,
                *key,
                schedule.id,
                schedule.created_at,
                _turn_json(schedule.turn),
                schedule.at,
                schedule.cron,
                schedule.timezone,
                schedule.due_at,
            )

    async def all_of(
        self, key: SessionKey, *, after: str | None, limit: int, ascending: bool
    ) -> tuple[list[Schedule], bool]:
        """A page of a conversation's schedules, by birth. Raises `NotFound`."""
        known(*key, after or "")
        sign, order, start = (">", "ASC", "") if ascending else ("<", "DESC", "~")
        found = await self._postgres.fetch(
            f"SELECT {_SCHEDULE} FROM schedules AS p WHERE {_OF_SESSION} AND p.id {sign} $3"
            f" ORDER BY p.id {order} LIMIT $4",
            *key,
            after or start,
            limit + 1,
        )
        if not found and await self._postgres.fetchrow(_THERE, *key) is None:
            raise _no_session()
        return [_schedule(row) for row in found[:limit]], len(found) > limit

    async def one(self, key: SessionKey, schedule_id: str) -> Schedule:
        """Raises `NotFound`."""
        known(*key, schedule_id)
        row = await self._postgres.fetchrow(
            f"SELECT {_SCHEDULE} FROM schedules AS p WHERE {_OF_SESSION} AND p.id = $3",
            *key,
            schedule_id,
        )
        if row is None:
            raise _no_schedule()
        return _schedule(row)

    async def remove(self, key: SessionKey, schedule_id: str) -> None:
        """Its turns begin no more; one that runs goes on. Raises `NotFound`."""
        known(*key, schedule_id)
        gone = await self._postgres.fetch(
            f"DELETE FROM schedules AS p WHERE {_OF_SESSION} AND p.id = $3 RETURNING p.id",
            *key,
            schedule_id,
        )
        if not gone:
            raise _no_schedule()

    # -- schedulers -----------------------------------------------------------------------------

    async def claim(self, *, now: float, lease_s: float, limit: int) -> list[Schedule]:
        """Take what is due; nobody else gets it before `lease_s` has passed."""
        found = await self._postgres.fetch(_CLAIM, now, lease_s, limit)
        return [_schedule(row) for row in found]

    async def settle(
        self, schedule: Schedule, outcome: Outcome, due_at: float | None, skipped: int
    ) -> None:
        """Note what became of its due time, and the next one, unless that was noted already."""
        error = outcome.error and orjson.dumps(outcome.error).decode()
        await self._postgres.fetch(
            _SETTLE,
            schedule.key.org_id,
            schedule.id,
            schedule.due_at,
            due_at,
            outcome.due_at,
            outcome.kind,
            outcome.response_id,
            error,
            skipped,
        )

    async def postpone(self, schedule: Schedule, until: float) -> None:
        """Look at it again then, unless its due time was settled meanwhile."""
        await self._postgres.fetch(
            _POSTPONE, schedule.key.org_id, schedule.id, schedule.due_at, until
        )

    async def forget(self, schedule: Schedule) -> None:
        """Delete it."""
        await self._postgres.fetch(
            "DELETE FROM schedules WHERE org_id = $1 AND id = $2", schedule.key.org_id, schedule.id
        )

    async def purge(self, before: float, limit: int) -> int:
        """Delete at most `limit` schedules whose last time was before."""
        return len(await self._postgres.fetch(_PURGE, before, limit))


def _turn_json(turn: TurnRequest) -> str:
    document: dict[str, Any] = {
        "model": turn.model,
        "input": [{"role": item.role, "text": item.text} for item in turn.input],
        "user": turn.user,
        "instructions": turn.instructions,
        "temperature": turn.temperature,
        "top_p": turn.top_p,
        "max_output_tokens": turn.max_output_tokens,
        "metadata": turn.metadata,
        "on_busy": turn.on_busy,
    }
    try:
        return orjson.dumps(document).decode()
    except TypeError as error:
        raise InvalidRequest("A value cannot be stored.", code="invalid_data") from error


def _schedule(row: Row) -> Schedule:
    turn = json_object(row["turn"])
    items = tuple(InputItem(**item) for item in turn.pop("input"))
    last = None
    if row["last_kind"] is not None:
        error = None if row["last_error"] is None else json_object(row["last_error"])
        last = Outcome(row["last_due_at"], row["last_kind"], row["last_response_id"], error)
    return Schedule(
        key=SessionKey(row["org_id"], row["session_id"]),
        id=row["id"],
        created_at=row["created_at"],
        turn=TurnRequest(response_id="", input=items, **turn),
        at=row["at"],
        cron=row["cron"],
        timezone=row["timezone"],
        due_at=row["due_at"],
        last=last,
        skipped=row["skipped"],
    )


def _too_many(where: str, limit: int) -> Conflict:
    return Conflict(
        f"There are {limit} schedules in this {where} already, which is the limit.",
        code="too_many_schedules",
        details={"limit": limit},
    )


def _no_session() -> NotFound:
    return NotFound("There is no such conversation.", param="conversation")


def _no_schedule() -> NotFound:
    return NotFound("There is no such schedule in the conversation.", param="schedule_id")
