"""What was routed: stored messages with what rules may look at, and how they were decided.

Ids of responses sort by birth, so the turns since a time are one range of the primary key. What
rules saw is put together again from what is kept; a conversation's metadata is as it is now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from context import rows
from context.driver import Row
from context.postgres import Postgres, known
from contracts.decisions import RoutingInput
from contracts.ids import RESPONSE

_HIGH = "~"

# The turns that failed just before are those after the last one that did not; who cancels a turn
# says nothing of it. What waited behind another turn was led before that one had ended.
_ROUTED = """
SELECT r.id, r.org_id, r.session_id, r.turn, r.created_at, r.background, r.replaces,
    r.metadata, r.decision, r.agent, s.metadata AS kept, said.content AS text,
    coalesce(r.input_from, r.answer_at, said.position + 2) - 1 AS messages,
    before.agent AS agent_before,
    coalesce(r.user_name, (
        SELECT u.external_id FROM users AS u WHERE u.org_id = s.org_id AND u.id = s.user_id
    )) AS person,
    (SELECT count(*) FROM responses AS f
        WHERE f.session_id = r.session_id AND f.org_id = r.org_id AND f.turn < r.turn
        AND f.status = 'failed' AND f.completed_at <= r.created_at
        AND f.turn > (SELECT coalesce(max(w.turn), 0) FROM responses AS w
            WHERE w.session_id = r.session_id AND w.org_id = r.org_id AND w.turn < r.turn
            AND w.status IN ('completed', 'incomplete') AND w.completed_at <= r.created_at)
    ) AS failures
FROM responses AS r
JOIN sessions AS s ON s.org_id = r.org_id AND s.id = r.session_id
JOIN LATERAL (
    SELECT m.content, m.position FROM messages AS m
    WHERE m.org_id = r.org_id AND m.session_id = r.session_id AND m.role = 'user'
    AND m.position <= coalesce(r.input_to, r.answer_at, s.last_position)
    ORDER BY m.position DESC LIMIT 1
) AS said ON true
LEFT JOIN LATERAL (
    SELECT coalesce(b.decision ->> 'agent', b.agent) AS agent FROM responses AS b
    WHERE b.session_id = r.session_id AND b.org_id = r.org_id AND b.turn < r.turn
    AND b.text <> '' AND b.completed_at <= r.created_at
    ORDER BY b.turn DESC LIMIT 1
) AS before ON true
WHERE r.id >= $1 AND r.id < $2 AND r.org_id = $3 AND r.model = $4
ORDER BY r.id DESC LIMIT $5
"""


class Routed(NamedTuple):
    """One message as it was given to the rules, and the decision that is kept with its answer."""

    response_id: str
    given: RoutingInput
    decision: Mapping[str, Any]


class Routes:
    """Reads them. Raises `StoreUnavailable`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def since(
        self, org_id: str, since: float, *, model: str, limit: int, before: str | None = None
    ) -> list[Routed]:
        """The organization's messages since a time (Unix seconds), the newest first.

        Args:
            org_id: The organization.
            since: The earliest birth of their responses.
            model: What they asked for: the rules, by their name.
            limit: Messages at most.
            before: The last response id that was read, to go on.
        """
        known(org_id, before or _HIGH)
        first = f"{RESPONSE}_{max(0, int(since * 1000)):012x}"
        found = await self._postgres.fetch(_ROUTED, first, before or _HIGH, org_id, model, limit)
        return [_routed(row) for row in found]


def _routed(row: Row) -> Routed:
    given = RoutingInput(
        text=row["text"],
        metadata={**rows.json_object(row["kept"]), **rows.json_object(row["metadata"])},
        user=row["person"],
        now=row["created_at"],
        org_id=row["org_id"],
        session_id=row["session_id"],
        turn=row["turn"],
        messages=row["messages"],
        agent=row["agent_before"],
        failures=row["failures"],
        background=row["background"],
        regenerate=row["replaces"] is not None,
    )
    decision = rows.json_object(row["decision"])
    return Routed(row["id"], given, {"agent": row["agent"], **decision})
