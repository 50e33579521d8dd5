"""Waking sessions: the next epoch from Postgres, the context from Redis or else from Postgres.

Activations that come at once (a host died, and all its people return) share statements as writes
do. A batch costs one UPDATE, with Redis asked meanwhile; one more query if any copy in Redis is
missing or stale, and one more if any session was left with a turn that never ended.

Such a turn is failed here, by the activation that finds it, with events of its own: the log of the
session goes on without a gap, and a reader that waits for the turn's end is told.
"""

from __future__ import annotations

import logging
import time
from asyncio import gather
from collections.abc import Sequence
from typing import Any

import orjson

from context import rows
from context.driver import Row
from context.gather import Gatherer
from context.hot import Hot
from context.postgres import Postgres, known
from contracts.commands import SessionKey
from contracts.errors import Deposed, NotFound
from contracts.memory import SessionState
from contracts.messages import Message

log = logging.getLogger("troupe.context.wake")

LEFT_BEHIND = {
    "code": "session_moved",
    "message": "The session moved to another host before the answer was complete.",
}
"""The error of a turn whose host is gone."""

_EVENTS_OF_LEFT_BEHIND = 3
"""Accepted, started, ended: the seqs that a turn takes that is failed at activation."""

_TAKE = """
UPDATE sessions AS s SET epoch = s.epoch + 1
FROM unnest($1::text[], $2::text[]) AS k (org_id, id)
WHERE s.org_id = k.org_id AND s.id = k.id
RETURNING s.org_id, s.id, s.epoch, s.last_seq, s.last_position, s.edits, s.last_response_id,
    s.metadata, cardinality(s.open_turns) AS open_turns,
    (SELECT u.external_id FROM users AS u WHERE u.org_id = s.org_id AND u.id = s.user_id) AS person
"""

# `held` locks before it looks, so that a still newer activation is seen and left alone.
_FAIL = f"""
WITH held AS (
    SELECT s.org_id, s.id, s.epoch, s.last_seq, s.open_turns
    FROM json_to_recordset($1::json) AS k (org_id text, id text, epoch bigint)
    JOIN sessions AS s ON s.org_id = k.org_id AND s.id = k.id AND s.epoch = k.epoch
    FOR NO KEY UPDATE OF s
), left_behind AS (
    SELECT held.org_id, held.epoch, t.id, held.last_seq + {_EVENTS_OF_LEFT_BEHIND} * t.nth AS seq
    FROM held CROSS JOIN LATERAL unnest(held.open_turns) WITH ORDINALITY AS t (id, nth)
), failed AS (
    UPDATE responses AS r
    SET status = 'failed', error = $2::jsonb, completed_at = $3, epoch = l.epoch,
        accepted_seq = l.seq - 2, first_seq = l.seq - 1, last_seq = l.seq
    FROM left_behind AS l
    WHERE r.id = l.id AND r.org_id = l.org_id
)
UPDATE sessions AS s
SET open_turns = '{{}}', updated_at = $3,
    last_seq = s.last_seq + {_EVENTS_OF_LEFT_BEHIND} * cardinality(s.open_turns)
FROM held
WHERE s.org_id = held.org_id AND s.id = held.id
RETURNING s.org_id, s.id, s.last_seq
"""

_MESSAGES = f"""
SELECT k.n, m.*
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (org_id, session_id, n)
CROSS JOIN LATERAL (
    SELECT {rows.MESSAGE} FROM (
        SELECT newest.*, row_number() OVER newest_first AS nth,
            sum(length(newest.content)) OVER newest_first AS chars
        FROM (
            SELECT {rows.MESSAGE} FROM messages
            WHERE org_id = k.org_id AND session_id = k.session_id
            ORDER BY position DESC LIMIT $3
        ) AS newest
        WINDOW newest_first AS (ORDER BY newest.position DESC)
    ) AS counted
    WHERE nth = 1 OR chars <= $4
) AS m
ORDER BY k.n, m.position
"""


class Waker:
    """Activates sessions. `open` before use.

    Args:
        postgres: The truth.
        hot: Where a copy of the context may be.
        window_messages: Newest messages that a session starts with.
        window_chars: Characters of them at most; the last message always comes along.
        group_max: Activations that share statements at most.
        queue_max: Activations waiting at most.
    """

    def __init__(
        self,
        postgres: Postgres,
        hot: Hot,
        *,
        window_messages: int = 200,
        window_chars: int = 400_000,
        group_max: int = 64,
        queue_max: int = 5000,
    ) -> None:
        self._postgres = postgres
        self._hot = hot
        self._window_messages = window_messages
        self._window_chars = window_chars
        self._gatherer: Gatherer[SessionKey, SessionState] = Gatherer(
            self._wake,
            lambda key: key,
            lambda _: 1,
            name="context-waker",
            group_max=group_max,
            weight_max=group_max,
            queue_max=queue_max,
            gather_s=0.0,
        )

    def open(self) -> None:
        self._gatherer.open()

    async def aclose(self, timeout_s: float = 5.0) -> None:
        await self._gatherer.aclose(timeout_s)

    async def wake(self, key: SessionKey) -> SessionState:
        """Take the next epoch and load the context.

        Raises:
            NotFound: There is no such session in the organization.
            Deposed: A still newer activation came in between.
            StoreUnavailable: Postgres does not answer; the epoch may have been taken.
        """
        known(*key)
        return await self._gatherer.submit(key)

    async def _wake(self, keys: Sequence[SessionKey]) -> Sequence[SessionState | Exception]:
        # In order, so that hosts that wake the same sessions take their rows in one order.
        ordered = sorted(keys)
        taken, copies = await gather(
            self._postgres.fetch(_TAKE, *_columns(ordered)), self._hot.read(ordered)
        )
        copy_of = dict(zip(ordered, copies, strict=True))
        states: dict[SessionKey, SessionState | Exception] = {}
        unfinished: list[SessionState] = []
        cold: list[SessionState] = []
        for row in taken:
            key = SessionKey(row["org_id"], row["id"])
            copy = copy_of[key]
            state = states[key] = _state(key, row)
            if row["open_turns"]:
                unfinished.append(state)
            if copy is not None and copy[:3] == (state.seq, state.position, row["edits"]):
                state.messages = copy.messages
                self._hot.counts["hits"] += 1
            else:
                cold.append(state)
                self._hot.counts["misses"] += 1
        if unfinished:
            for lost in await self._fail_left_behind(unfinished):
                states[lost] = Deposed("The conversation has moved to another host.", retry_after=1)
        if cold:
            await self._load(cold)
        return [states.get(key) or NotFound("There is no such conversation.") for key in keys]

    async def _fail_left_behind(self, states: Sequence[SessionState]) -> set[SessionKey]:
        """Fail the turns that earlier activations left open; gives back who was deposed again."""
        found = await self._postgres.fetch(
            _FAIL, _fences(states), orjson.dumps(LEFT_BEHIND).decode(), time.time()
        )
        seqs = {SessionKey(row["org_id"], row["id"]): row["last_seq"] for row in found}
        for state in states:
            state.seq = seqs.get(state.key, state.seq)
            log.warning("%s: turns left open by an earlier host failed", state.key.session_id)
        return {state.key for state in states} - set(seqs)

    async def _load(self, states: Sequence[SessionState]) -> None:
        found = await self._postgres.fetch(
            _MESSAGES,
            *_columns([state.key for state in states]),
            self._window_messages,
            self._window_chars,
        )
        for n, *columns in found:
            state = states[int(n) - 1]
            state.messages.append(Message(*columns))


def _columns(keys: Sequence[SessionKey]) -> tuple[list[str], list[str]]:
    return [key.org_id for key in keys], [key.session_id for key in keys]


def _fences(states: Sequence[SessionState]) -> str:
    fences: list[dict[str, Any]] = [
        {"org_id": state.key.org_id, "id": state.key.session_id, "epoch": state.epoch}
        for state in states
    ]
    return orjson.dumps(fences).decode()


def _state(key: SessionKey, row: Row) -> SessionState:
    return SessionState(
        key=key,
        epoch=row["epoch"],
        seq=row["last_seq"],
        position=row["last_position"],
        metadata=rows.json_object(row["metadata"]),
        user=row["person"],
        messages=[],
        last_response_id=row["last_response_id"],
    )
