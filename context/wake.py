"""Waking sessions: the next epoch from Postgres, the context from Redis or else from Postgres.

Activations that come at once (a host died, and all its people return) share statements as writes
do. A batch costs one UPDATE, with Redis asked meanwhile; one more query if any copy in Redis is
missing or stale. If any session was left with a turn that never ended, its rows and its host's
journal are read at the same time as that query, and what was recovered is written back with one
more UPDATE: from then on the turn is this activation's in the store as well, and the lost host's
journal is no longer needed.
"""

from __future__ import annotations

import logging
from asyncio import gather
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from context import rows, summaries
from context.driver import Row
from context.gather import Gatherer
from context.hot import Hot
from context.journal import Journal, Name
from context.postgres import Postgres, known
from context.recover import LeftBehind, recover
from context.replay import StoredTurn
from contracts.commands import SessionKey
from contracts.errors import Deposed, NotFound
from contracts.memory import SessionState
from contracts.messages import Message

log = logging.getLogger("troupe.context.wake")

_TURNS_MOST = 256
"""Turns of a session that are looked at, from its oldest open one on; the open ones always are."""

_TAKE = f"""
UPDATE sessions AS s SET epoch = s.epoch + 1
FROM unnest($1::text[], $2::text[]) AS k (org_id, id)
WHERE s.org_id = k.org_id AND s.id = k.id
RETURNING s.org_id, s.id, s.epoch, s.last_seq, s.last_position, s.edits, s.last_response_id,
    s.metadata, s.written_epoch, s.open_turns, s.turns, s.agent, s.failures, s.spent,
    (SELECT u.external_id FROM users AS u WHERE u.org_id = s.org_id AND u.id = s.user_id) AS person,
    {summaries.NEWEST}
"""

# OFFSET keeps the planner from looking at all turns of a session before it knows the oldest.
_OPEN = f"""
SELECT k.n, r.*
FROM json_to_recordset($1::json) AS k (n bigint, org_id text, session_id text, open text[])
CROSS JOIN LATERAL (
    SELECT min(o.turn) AS turn FROM responses AS o WHERE o.id = ANY (k.open) AND o.org_id = k.org_id
) AS oldest
CROSS JOIN LATERAL (
    SELECT {rows.RESPONSE}, turn, (
        SELECT json_agg(json_build_array(m.id, m.position, m.role, m.content, m.created_at,
            m.response_id) ORDER BY m.position)
        FROM messages AS m
        WHERE m.org_id = k.org_id AND m.session_id = k.session_id
            AND m.position BETWEEN r.input_from AND r.input_to
    ) AS input
    FROM responses AS r
    WHERE r.session_id = k.session_id AND r.org_id = k.org_id AND r.turn >= oldest.turn
        AND (r.turn < oldest.turn + {_TURNS_MOST} OR r.id = ANY (k.open))
    OFFSET 0
) AS r
ORDER BY k.n, r.turn
"""

# The row of a session that a still newer activation has taken is left alone, with its turns.
_TAKE_OVER = """
WITH fenced AS (
    UPDATE sessions AS s SET last_seq = k.seq, written_epoch = k.epoch
    FROM json_to_recordset($1::json) AS k (org_id text, id text, epoch bigint, seq bigint)
    WHERE s.org_id = k.org_id AND s.id = k.id AND s.epoch = k.epoch
    RETURNING s.org_id, s.id
), taken_over AS (
    UPDATE responses AS r
    SET text = t.text, cuts = t.cuts, legs = t.legs, attempts = t.attempts, epoch = t.epoch,
        accepted_seq = t.accepted_seq, first_seq = t.first_seq
    FROM json_to_recordset($2::json) AS t (org_id text, session_id text, id text, text text,
        cuts integer[], legs jsonb, attempts integer, epoch bigint, accepted_seq bigint,
        first_seq bigint)
    JOIN fenced ON fenced.org_id = t.org_id AND fenced.id = t.session_id
    WHERE r.id = t.id AND r.org_id = t.org_id
)
SELECT org_id, id FROM fenced
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
        journal: What lost hosts were about to tell.
        window_messages: Newest messages that a session starts with.
        window_chars: Characters of them at most; the last message always comes along.
        group_max: Activations that share statements at most.
        queue_max: Activations waiting at most.
    """

    def __init__(
        self,
        postgres: Postgres,
        hot: Hot,
        journal: Journal,
        *,
        window_messages: int = 200,
        window_chars: int = 400_000,
        group_max: int = 64,
        queue_max: int = 5000,
    ) -> None:
        self._postgres = postgres
        self._hot = hot
        self._journal = journal
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
        unfinished: list[tuple[SessionState, list[str]]] = []
        cold: list[SessionState] = []
        for row in taken:
            key = SessionKey(row["org_id"], row["id"])
            copy = copy_of[key]
            state = states[key] = _state(key, row)
            if row["open_turns"]:
                unfinished.append((state, row["open_turns"]))
            if copy is not None and copy[:3] == (state.seq, state.position, row["edits"]):
                state.messages = copy.messages
                self._hot.counts["hits"] += 1
            else:
                cold.append(state)
                self._hot.counts["misses"] += 1
        deposed, _ = await gather(self._take_over(unfinished), self._load(cold))
        for key in deposed:
            states[key] = Deposed("The conversation has moved to another host.", retry_after=1)
        return [states.get(key) or NotFound("There is no such conversation.") for key in keys]

    async def _take_over(
        self, unfinished: Sequence[tuple[SessionState, list[str]]]
    ) -> set[SessionKey]:
        """Give the states the turns that were left open; gives back who was deposed meanwhile."""
        if not unfinished:
            return set()
        journals = [Name(state.key, state.written_epoch) for state, _ in unfinished]
        found, entries = await gather(
            self._postgres.fetch(_OPEN, _open(unfinished)), self._journal.read(journals)
        )
        turns: list[list[StoredTurn]] = [[] for _ in unfinished]
        for row in found:
            asked = [Message(*columns) for columns in orjson.loads(row["input"] or "[]")]
            turns[row["n"]].append(StoredTurn(rows.response(row), asked))
        for n, (state, _) in enumerate(unfinished):
            left = LeftBehind(
                epoch=state.epoch,
                written_epoch=state.written_epoch,
                seq=state.seq,
                position=state.position,
                turns=turns[n],
                entries=entries[n],
            )
            recovered = recover(left)
            state.seq, state.position = recovered.seq, recovered.position
            state.open_turns, state.events = recovered.open_turns, recovered.events
        states = [state for state, _ in unfinished]
        written = await self._postgres.fetch(_TAKE_OVER, _fences(states), _taken_over(states))
        kept = {SessionKey(row["org_id"], row["id"]) for row in written}
        for state, journal in zip(states, journals, strict=True):
            if state.key in kept:
                self._journal.forget(journal, ())
                log.warning(
                    "%s: %d turns of a lost host are taken over, %d events of them recovered",
                    state.key.session_id,
                    len(state.open_turns),
                    len(state.events),
                )
        return {state.key for state in states} - kept

    async def _load(self, states: Sequence[SessionState]) -> None:
        if not states:
            return
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


def _open(unfinished: Sequence[tuple[SessionState, list[str]]]) -> str:
    return _json(
        {"n": n, "org_id": state.key.org_id, "session_id": state.key.session_id, "open": ids}
        for n, (state, ids) in enumerate(unfinished)
    )


def _fences(states: Sequence[SessionState]) -> str:
    return _json(
        {
            "org_id": state.key.org_id,
            "id": state.key.session_id,
            "epoch": state.epoch,
            "seq": state.seq,
        }
        for state in states
    )


def _taken_over(states: Sequence[SessionState]) -> str:
    return _json(
        {
            "org_id": state.key.org_id,
            "session_id": state.key.session_id,
            "id": turn.record.id,
            "text": turn.record.text,
            "cuts": turn.record.cuts,
            "legs": [tuple(leg) for leg in turn.record.legs],
            "attempts": turn.record.attempts,
            "epoch": turn.record.epoch,
            "accepted_seq": turn.record.accepted_seq,
            "first_seq": turn.record.first_seq,
        }
        for state in states
        for turn in state.open_turns
    )


def _json(found: Iterable[dict[str, Any]]) -> str:
    return orjson.dumps(list(found)).decode()


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
        written_epoch=row["written_epoch"],
        summary=summaries.of(row),
        turns=row["turns"],
        agent=row["agent"],
        failures=row["failures"],
        spent=row["spent"],
    )
