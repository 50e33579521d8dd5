"""Turns that nobody is known to run: what a lost host leaves when no reader comes back for it.

A session's readers wake it by attaching. A turn that runs for nobody (its client is gone, or never
stayed) waits for somebody to look, and this is who looks. Ids sort by birth, so the turns of the
last hours are one range of the primary key; no index has to know which turns are open, which every
beginning and end of a turn would pay for.
"""

from __future__ import annotations

from context.postgres import Postgres
from contracts.commands import SessionKey
from contracts.ids import RESPONSE

_LEFT_OPEN = """
SELECT DISTINCT org_id, session_id FROM responses
WHERE id >= $1 AND id < $2 AND status IN ('queued', 'in_progress')
ORDER BY org_id, session_id LIMIT $3
"""


async def left_open(
    postgres: Postgres, *, born_after: float, born_before: float, limit: int
) -> list[SessionKey]:
    """Sessions with a turn that was accepted between these times (Unix seconds) and has not ended.

    Whether somebody runs it is not known here. Raises `StoreUnavailable`.
    """
    rows = await postgres.fetch(_LEFT_OPEN, _id_at(born_after), _id_at(born_before), limit)
    return [SessionKey(*row) for row in rows]


def _id_at(seconds: float) -> str:
    """What is not above the id of any response born at this time or later."""
    return f"{RESPONSE}_{max(0, int(seconds * 1000)):012x}"
