"""Writes: what an activation asks to be made durable, ready to share a statement with others.

A write is encoded when it is made: what its maker changes afterwards does not reach it, and text
that cannot be encoded fails its maker alone. `n` ties a write's rows together within a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, NamedTuple

import orjson

from context.text import storable, storable_cuts
from contracts.commands import SessionKey
from contracts.errands import Hook
from contracts.errors import InvalidRequest
from contracts.ids import WEBHOOK_EVENT, new_id
from contracts.memory import Summary
from contracts.messages import Message, ResponseRecord, Usage
from contracts.money import day_of

Kind = Literal["turn", "delete", "metadata", "drop", "summary"]
_numbers = count(1)


class Stamp(NamedTuple):
    """A session's row after a write: what a hot copy must match to be the newest."""

    seq: int
    position: int
    edits: int
    open_turns: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write. The JSON fragments are rows of the writer's statement.

    Args:
        n: Unique in this process.
        key: The session; a batch holds one write of each.
        epoch: The activation that writes.
        kind: `turn` covers whatever inserts or ends; the rest is rare and has its own statements.
        fence: The row that takes the session's row.
        messages: Rows to insert, joined by commas; may be empty.
        opens: The row of a response to insert, or empty.
        ends: The row of a response to update, or empty.
        costs: The row of what the end adds to spending; empty where it costs nothing.
        announces: Rows of the outbox that go with the end, joined by commas; mostly empty.
        opened: The id of the response that is inserted.
        ended: The id of the response that ends, and its last_seq.
    """

    n: int
    key: SessionKey
    epoch: int
    kind: Kind
    fence: str
    messages: str = ""
    opens: str = ""
    ends: str = ""
    costs: str = ""
    announces: str = ""
    opened: str | None = None
    ended: tuple[str, int] | None = None

    @property
    def weight(self) -> int:
        """Characters to send."""
        return len(self.fence) + len(self.messages) + len(self.opens) + len(self.ends)


def accept(
    key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: Sequence[Message]
) -> Write:
    """The input of a turn and its response."""
    n = next(_numbers)
    positions = [item.position for item in items]
    response = {
        "n": n,
        "id": record.id,
        "status": record.status,
        "model": record.model,
        "agent": record.agent,
        "created_at": record.created_at,
        "item_id": record.item_id,
        "epoch": epoch,
        "input_from": min(positions, default=None),
        "input_to": max(positions, default=None),
        "client_id": record.client_id,
        "user_name": record.user,
        "previous_response_id": record.previous_response_id,
        "instructions": record.instructions,
        "temperature": record.temperature,
        "top_p": record.top_p,
        "max_output_tokens": record.max_output_tokens,
        "background": record.background,
        "metadata": record.metadata,
        "decision": record.decision,
        "replaces": record.replaces,
    }
    opened = {"opened": record.id, "client_id": record.client_id, "item_id": record.replaces}
    return Write(
        n,
        key,
        epoch,
        "turn",
        _fence(n, key, epoch, seq=seq, items=items, first=min(positions, default=None), **opened),
        messages=_messages(n, items),
        opens=_json(response),
        opened=record.id,
    )


def finish(
    key: SessionKey,
    epoch: int,
    seq: int,
    record: ResponseRecord,
    answer: Message | None,
    hooks: Sequence[Hook] = (),
) -> Write:
    """The end of a turn and its answer, and word of it for the hooks that want it.

    What no database can hold is taken out of the text.
    """
    n = next(_numbers)
    text, cuts = storable_cuts(record.text, record.cuts)
    said = [] if answer is None else [answer._replace(text=storable(answer.text))]
    usage = record.usage
    response = {
        "n": n,
        "org_id": key.org_id,
        "id": record.id,
        "status": record.status,
        "model": record.model,
        "agent": record.agent,
        "item_id": record.item_id,
        "text": text,
        "cuts": cuts,
        "legs": [tuple(leg) for leg in record.legs],
        "charges": [tuple(charge) for charge in record.charges],
        "attempts": record.attempts,
        "epoch": record.epoch,
        "accepted_seq": record.accepted_seq,
        "first_seq": record.first_seq,
        "last_seq": record.last_seq,
        "answer_at": None if answer is None else answer.position,
        "decision": record.decision,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cached_tokens": usage and usage.cached_tokens,
        "error": record.error,
        "incomplete_reason": record.incomplete_reason,
        "completed_at": record.completed_at,
    }
    # Whoever cancels a turn says nothing of the agent, nor does one that never spoke.
    spoke = record.chosen if text else None
    failed = None if record.status == "cancelled" else record.status == "failed"
    outcome = {"ended": record.id, "agent": spoke, "failed": failed, "nano": record.nano}
    return Write(
        n,
        key,
        epoch,
        "turn",
        _fence(n, key, epoch, seq=seq, items=said, **outcome),
        messages=_messages(n, said),
        ends=_json(response),
        costs=_costs(n, record) if record.nano else "",
        announces=_announces(n, record, hooks) if hooks else "",
        ended=(record.id, record.last_seq),
    )


def add_items(key: SessionKey, epoch: int, seq: int, items: Sequence[Message]) -> Write:
    """Messages that belong to no turn; `seq` is that of the event that tells of them."""
    n = next(_numbers)
    first = min((item.position for item in items), default=None)
    return Write(
        n,
        key,
        epoch,
        "turn",
        _fence(n, key, epoch, seq=seq, items=items, first=first),
        messages=_messages(n, items, seq=seq, epoch=epoch),
    )


def delete_item(key: SessionKey, epoch: int, item_id: str) -> Write:
    n = next(_numbers)
    return Write(n, key, epoch, "delete", _fence(n, key, epoch, item_id=item_id))


def update_metadata(key: SessionKey, epoch: int, metadata: dict[str, str]) -> Write:
    n = next(_numbers)
    return Write(n, key, epoch, "metadata", _fence(n, key, epoch, metadata=metadata))


def keep_summary(
    key: SessionKey, epoch: int, summary: Summary, agent: str, usage: Usage | None
) -> Write:
    """A summary. What no database can hold is taken out of its text."""
    n = next(_numbers)
    row: dict[str, Any] = {
        "covers_to": summary.covers_to,
        "text": storable(summary.text),
        "agent": agent,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
    }
    return Write(n, key, epoch, "summary", _fence(n, key, epoch, **row))


def drop(key: SessionKey, epoch: int) -> Write:
    n = next(_numbers)
    return Write(n, key, epoch, "drop", _fence(n, key, epoch))


def _fence(
    n: int, key: SessionKey, epoch: int, *, items: Sequence[Message] = (), **fields: Any
) -> str:
    row = {"n": n, "org_id": key.org_id, "session_id": key.session_id, "epoch": epoch}
    if items:
        row["position"] = max(item.position for item in items)
    return _json({**row, "at": time.time(), **fields})


def _costs(n: int, record: ResponseRecord) -> str:
    day = day_of(record.completed_at or time.time()).isoformat()
    return _json({"n": n, "user_name": record.user or None, "day": day, "nano": record.nano})


def _announces(n: int, record: ResponseRecord, hooks: Sequence[Hook]) -> str:
    event = {
        "n": n,
        "id": new_id(WEBHOOK_EVENT),
        "response_id": record.id,
        "type": f"response.{record.status}",
        "created_at": record.completed_at or time.time(),
    }
    return ",".join(
        _json({**event, "endpoint": hook.endpoint}) for hook in hooks if hook.wants(record)
    )


def _messages(
    n: int, items: Sequence[Message], seq: int | None = None, epoch: int | None = None
) -> str:
    return ",".join(
        _json(
            {
                "n": n,
                "position": item.position,
                "id": item.id,
                "role": item.role,
                "content": item.text,
                "response_id": item.response_id,
                "created_at": item.created_at,
                "seq": seq,
                "epoch": epoch,
            }
        )
        for item in items
    )


def _json(row: dict[str, Any]) -> str:
    try:
        return orjson.dumps(row).decode()
    except TypeError as error:
        # A lone surrogate or a number past 64 bits: no JSON, so no row either.
        raise InvalidRequest("A value cannot be stored.", code="invalid_data") from error
