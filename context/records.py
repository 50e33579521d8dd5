"""Records: what a gateway reads by itself, and the birth of sessions.

Nothing here changes a session that exists; that is for its one writer. Every query carries the
organization, and what is absent, deleted or another organization's is `NotFound` alike.

Pages go by key and not by offset: `after` is the last id that was seen, `limit` bounds the page,
and the second value says whether more would follow.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from context import rows
from context.driver import Row, is_duplicate
from context.postgres import Postgres, known
from contracts.commands import InputItem, SessionKey
from contracts.errors import Conflict, InvalidRequest, NotFound
from contracts.ids import MESSAGE, SESSION, USER, new_id
from contracts.messages import ENDED, Message, ResponseRecord

_LOW = ""
_HIGH = "~"
"""Before and after every id, which begin with a letter and compare by their bytes."""

_SESSION = (
    "s.org_id, s.id, s.created_at, s.updated_at, s.metadata, s.agent, s.last_response_id,"
    " (SELECT u.external_id FROM users AS u WHERE u.org_id = s.org_id AND u.id = s.user_id)"
    " AS person"
)

_USER = "SELECT id FROM users WHERE org_id = $1 AND external_id = $2"

_ADD_USER = """
INSERT INTO users (org_id, id, external_id, created_at)
SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT FROM organizations WHERE id = $1)
ON CONFLICT (org_id, external_id) DO UPDATE SET external_id = excluded.external_id
RETURNING id
"""

_CREATE = f"""
WITH said AS (
    INSERT INTO messages (org_id, session_id, position, id, role, content, created_at)
    SELECT $1, $2, m.position, m.id, m.role, m.content, $3
    FROM json_to_recordset($6::json) AS m (position bigint, id text, role text, content text)
    WHERE EXISTS (SELECT FROM organizations WHERE id = $1)
    RETURNING position
), s AS (
    INSERT INTO sessions (org_id, id, created_at, updated_at, user_id, metadata, last_position)
    SELECT $1, $2, $3, $3, $4, $5::jsonb, (SELECT coalesce(max(position), 0) FROM said)
    WHERE EXISTS (SELECT FROM organizations WHERE id = $1)
    RETURNING *
)
SELECT {_SESSION} FROM s
"""

# What came after `upto` stays behind: an answer's place is kept when its turn is accepted.
# Positions begin anew, and so do the summaries' places; their cost stays where it was paid.
_COPY = """
, copied AS (
    INSERT INTO messages (org_id, session_id, position, id, role, content, response_id, created_at)
    SELECT m.org_id, $3, row_number() OVER (ORDER BY m.position), m.id, m.role, m.content,
        m.response_id, m.created_at
    FROM origin AS o JOIN messages AS m
        ON m.org_id = o.org_id AND m.session_id = o.session_id AND m.position <= o.upto
    RETURNING position, role, response_id
), summed_up AS (
    INSERT INTO summaries (org_id, session_id, covers_to, text, agent, created_at)
    SELECT DISTINCT ON (at.covers_to) x.org_id, $3, at.covers_to, x.text, x.agent, x.created_at
    FROM origin AS o
    JOIN summaries AS x
        ON x.org_id = o.org_id AND x.session_id = o.session_id AND x.covers_to <= o.upto
    CROSS JOIN LATERAL (
        SELECT count(*) AS covers_to FROM messages AS m
        WHERE m.org_id = x.org_id AND m.session_id = x.session_id AND m.position <= x.covers_to
    ) AS at
    ORDER BY at.covers_to, x.covers_to DESC
    RETURNING covers_to
), s AS (
    INSERT INTO sessions (org_id, id, created_at, updated_at, user_id, agent, metadata,
        last_response_id, last_position, summary_to)
    SELECT o.org_id, $3, $4, $4, o.user_id, o.agent, o.metadata,
        coalesce(o.response_id, (
            SELECT c.response_id FROM copied AS c WHERE c.role = 'assistant'
            ORDER BY c.position DESC LIMIT 1)),
        (SELECT coalesce(max(position), 0) FROM copied),
        (SELECT coalesce(max(covers_to), 0) FROM summed_up)
    FROM origin AS o
    RETURNING *
)
"""

_FORK = f"""
WITH origin AS (
    SELECT r.org_id, r.session_id, s.user_id, s.agent, s.metadata, r.id AS response_id,
        coalesce(r.answer_at, r.input_to, s.last_position) AS upto
    FROM responses AS r JOIN sessions AS s ON s.org_id = r.org_id AND s.id = r.session_id
    WHERE r.org_id = $1 AND r.id = $2
){_COPY}
SELECT {_SESSION} FROM s
"""

_FORK_AT = f"""
WITH origin AS (
    SELECT m.org_id, m.session_id, s.user_id, s.agent, coalesce($6::jsonb, s.metadata) AS metadata,
        NULL::text AS response_id, m.position AS upto
    FROM messages AS m JOIN sessions AS s ON s.org_id = m.org_id AND s.id = m.session_id
    WHERE m.org_id = $1 AND m.session_id = $2 AND m.id = $5
){_COPY}
SELECT {_SESSION} FROM s
"""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as the API shows it. `user` is what the organization calls the person."""

    key: SessionKey
    created_at: float
    updated_at: float
    metadata: dict[str, str]
    user: str | None
    agent: str | None
    last_response_id: str | None

    @property
    def id(self) -> str:
        return self.key.session_id


class Records:
    """See the module. Every method may raise `StoreUnavailable`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    # -- sessions -------------------------------------------------------------------------------

    async def create_session(
        self,
        key: SessionKey,
        *,
        user: str | None = None,
        metadata: dict[str, str] | None = None,
        items: Sequence[InputItem] = (),
    ) -> SessionRow:
        """A new session that begins with these items.

        Raises:
            NotFound: There is no such organization.
            Conflict: The id is taken.
            InvalidRequest: A value that Postgres cannot store.
        """
        known(*key)
        user_id = None if user is None else await self.ensure_user(key.org_id, user)
        messages = [
            {"position": n, "id": new_id(MESSAGE), "role": item.role, "content": item.text}
            for n, item in enumerate(items, start=1)
        ]
        try:
            row = await self._postgres.fetchrow(
                _CREATE, *key, time.time(), user_id, _json(metadata or {}), _json(messages)
            )
        except InvalidRequest as error:
            if is_duplicate(error.__cause__):
                raise Conflict("There is a conversation with that id.") from error
            raise
        if row is None:
            raise NotFound("There is no such organization.")
        return _session(row)

    async def discard_unused(self, key: SessionKey) -> None:
        """Delete a session in which nothing was ever said; any other stays."""
        await self._postgres.fetch(
            "DELETE FROM sessions WHERE org_id = $1 AND id = $2 AND turns = 0"
            " AND last_position = 0",
            *key,
        )

    async def session(self, key: SessionKey) -> SessionRow:
        """Raises `NotFound`."""
        known(*key)
        row = await self._postgres.fetchrow(
            f"SELECT {_SESSION} FROM sessions AS s WHERE s.org_id = $1 AND s.id = $2", *key
        )
        if row is None:
            raise _no_session()
        return _session(row)

    async def sessions(
        self,
        org_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        ascending: bool = False,
        user: str | None = None,
    ) -> tuple[list[SessionRow], bool]:
        """The organization's sessions by birth, or those of one of its users."""
        known(org_id, after or _LOW)
        args: list[Any] = [org_id, after or (_LOW if ascending else _HIGH), limit + 1]
        of_user = ""
        if user is not None:
            args.append(await self._user_id(org_id, user))
            of_user = "AND s.user_id = $4"
        sign, order = _direction(ascending)
        found = await self._postgres.fetch(
            f"SELECT {_SESSION} FROM sessions AS s WHERE s.org_id = $1 {of_user}"
            f" AND s.id {sign} $2 ORDER BY s.id {order} LIMIT $3",
            *args,
        )
        return [_session(row) for row in found[:limit]], len(found) > limit

    async def ensure_user(self, org_id: str, external_id: str) -> str:
        """The id of the person whom the organization calls so; added when new.

        Raises:
            NotFound: There is no such organization.
            InvalidRequest: A name that Postgres cannot store.
        """
        known(org_id)
        found = await self._user_id(org_id, external_id)
        if found is not None:
            return found
        row = await self._postgres.fetchrow(
            _ADD_USER, org_id, new_id(USER), external_id, time.time()
        )
        if row is None:
            raise NotFound("There is no such organization.")
        return str(row["id"])

    async def _user_id(self, org_id: str, external_id: str) -> str | None:
        row = await self._postgres.fetchrow(_USER, org_id, external_id)
        return None if row is None else str(row["id"])

    # -- items ----------------------------------------------------------------------------------

    async def items(
        self,
        key: SessionKey,
        *,
        after: str | None = None,
        limit: int = 20,
        ascending: bool = False,
    ) -> tuple[list[Message], bool]:
        """A session's messages by position. Raises `NotFound`, for the session or for `after`."""
        known(*key)
        found = await self._page(key, 0, None, after, limit, ascending)
        if not found and after is None:
            await self.session(key)
        return found[:limit], len(found) > limit

    async def item(self, key: SessionKey, item_id: str) -> Message:
        """Raises `NotFound`."""
        known(*key, item_id)
        row = await self._postgres.fetchrow(
            f"SELECT {rows.MESSAGE} FROM messages"
            " WHERE org_id = $1 AND session_id = $2 AND id = $3",
            *key,
            item_id,
        )
        if row is None:
            raise _no_item("item_id")
        return rows.message(row)

    async def _page(
        self,
        key: SessionKey,
        first: int,
        last: int | None,
        after: str | None,
        limit: int,
        ascending: bool,
    ) -> list[Message]:
        """One message more than `limit`, if there is one, between two positions."""
        low, high = first, 2**62 if last is None else last
        if after is not None:
            known(after)
            at = (await self._seen(key, after)).position
            low, high = (max(low, at + 1), high) if ascending else (low, min(high, at - 1))
        _, order = _direction(ascending)
        found = await self._postgres.fetch(
            f"SELECT {rows.MESSAGE} FROM messages WHERE org_id = $1 AND session_id = $2"
            f" AND position BETWEEN $3 AND $4 ORDER BY position {order} LIMIT $5",
            *key,
            low,
            high,
            limit + 1,
        )
        return [rows.message(row) for row in found]

    async def _seen(self, key: SessionKey, item_id: str) -> Message:
        try:
            return await self.item(key, item_id)
        except NotFound as error:
            raise _no_item("after") from error

    # -- responses ------------------------------------------------------------------------------

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        """Raises `NotFound`."""
        return rows.response(await self._response(org_id, response_id))

    async def input_items(
        self,
        org_id: str,
        response_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        ascending: bool = False,
    ) -> tuple[list[Message], bool]:
        """What a turn was asked, by position. Raises `NotFound`."""
        row = await self._response(org_id, response_id)
        if row["input_from"] is None:
            return [], False
        key = SessionKey(org_id, row["session_id"])
        bounds = row["input_from"], row["input_to"]
        found = await self._page(key, *bounds, after, limit, ascending)
        return found[:limit], len(found) > limit

    async def continuation(self, org_id: str, response_id: str) -> SessionKey:
        """The session in which a turn after this response belongs.

        The response's own while it is the session's latest; else a fork of it.

        Raises:
            NotFound: There is no such response.
            Conflict: It has not ended, and is not the latest (`response_in_progress`).
        """
        row = await self._response(org_id, response_id)
        key = SessionKey(org_id, row["session_id"])
        if (await self.session(key)).last_response_id == response_id:
            return key
        return await self.fork(org_id, response_id)

    async def fork(self, org_id: str, response_id: str) -> SessionKey:
        """A new session that holds a copy of the conversation up to and including a response.

        The copies keep their ids. Raises as `continuation` does.
        """
        row = await self._response(org_id, response_id)
        if row["status"] not in ENDED:
            raise Conflict("That response has not ended.", code="response_in_progress")
        key = SessionKey(org_id, new_id(SESSION))
        if not await self._postgres.fetch(_FORK, org_id, response_id, key.session_id, time.time()):
            raise _no_response()
        return key

    async def fork_at(
        self, key: SessionKey, item_id: str, metadata: dict[str, str] | None = None
    ) -> SessionRow:
        """A new session that holds a copy of this one up to and including an item.

        The copies keep their ids. `metadata` None: as the original has it.

        Raises:
            NotFound: There is no such session, or no such item in it.
            InvalidRequest: A value that Postgres cannot store.
        """
        known(*key, item_id)
        given = None if metadata is None else _json(metadata)
        row = await self._postgres.fetchrow(
            _FORK_AT, *key, new_id(SESSION), time.time(), item_id, given
        )
        if row is None:
            await self.session(key)
            raise _no_item("item_id")
        return _session(row)

    async def latest_response_id(self, key: SessionKey) -> str | None:
        """The response that was accepted last in a session. Raises `NotFound`."""
        return (await self.session(key)).last_response_id

    async def _response(self, org_id: str, response_id: str) -> Row:
        known(org_id, response_id)
        row = await self._postgres.fetchrow(
            f"SELECT {rows.RESPONSE} FROM responses WHERE id = $2 AND org_id = $1",
            org_id,
            response_id,
        )
        if row is None:
            raise _no_response()
        return row


def _session(row: Row) -> SessionRow:
    return SessionRow(
        key=SessionKey(row["org_id"], row["id"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        metadata=rows.json_object(row["metadata"]),
        user=row["person"],
        agent=row["agent"],
        last_response_id=row["last_response_id"],
    )


def _direction(ascending: bool) -> tuple[str, str]:
    return (">", "ASC") if ascending else ("<", "DESC")


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise InvalidRequest("A value cannot be stored.", code="invalid_data") from error


def _no_session() -> NotFound:
    return NotFound("There is no such conversation.", param="conversation")


def _no_item(param: str) -> NotFound:
    return NotFound("There is no such item in the conversation.", param=param)


def _no_response() -> NotFound:
    return NotFound("There is no such response.", param="response_id")
