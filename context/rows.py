"""Rows of Postgres to the contracts' nouns."""

from __future__ import annotations

from typing import Any

import orjson

from context.driver import Row
from contracts.messages import Leg, Message, ResponseRecord, Usage
from contracts.money import Charge

MESSAGE = "id, position, role, content, created_at, response_id"
"""The columns of a `Message`, in its order."""

RESPONSE = (
    "id, session_id, status, model, agent, created_at, item_id, text, cuts, epoch, accepted_seq,"
    " first_seq, last_seq, client_id, user_name, previous_response_id, instructions, temperature,"
    " top_p, max_output_tokens, background, metadata, decision, input_tokens, output_tokens,"
    " cached_tokens, error, incomplete_reason, completed_at, legs, charges, attempts, replaces,"
    " input_from, input_to"
)
"""The columns of a `ResponseRecord`, and the positions of the turn's input."""


def message(row: Row) -> Message:
    return Message(*row)


def json_object(text: str | None) -> dict[str, Any]:
    """A jsonb column, which the driver hands over as text."""
    return orjson.loads(text) if text else {}


def response(row: Row) -> ResponseRecord:
    usage = None
    if row["input_tokens"] is not None:
        usage = Usage(row["input_tokens"], row["output_tokens"], row["cached_tokens"])
    return ResponseRecord(
        id=row["id"],
        session_id=row["session_id"],
        status=row["status"],
        model=row["model"],
        agent=row["agent"],
        created_at=row["created_at"],
        item_id=row["item_id"],
        text=row["text"],
        cuts=row["cuts"],
        epoch=row["epoch"],
        accepted_seq=row["accepted_seq"],
        first_seq=row["first_seq"],
        last_seq=row["last_seq"],
        client_id=row["client_id"],
        user=row["user_name"],
        previous_response_id=row["previous_response_id"],
        instructions=row["instructions"],
        temperature=row["temperature"],
        top_p=row["top_p"],
        max_output_tokens=row["max_output_tokens"],
        background=row["background"],
        metadata=json_object(row["metadata"]),
        decision=json_object(row["decision"]),
        usage=usage,
        error=None if row["error"] is None else json_object(row["error"]),
        incomplete_reason=row["incomplete_reason"],
        completed_at=row["completed_at"],
        legs=[Leg(*leg) for leg in orjson.loads(row["legs"])],
        charges=[Charge(*charge) for charge in orjson.loads(row["charges"])],
        attempts=row["attempts"],
        replaces=row["replaces"],
    )
