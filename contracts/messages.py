"""What is said in a session, and the record of what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Role = Literal["user", "assistant", "system", "developer"]
Status = Literal["queued", "in_progress", "completed", "failed", "incomplete", "cancelled"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "incomplete", "cancelled"})


class Message(NamedTuple):
    """One item of a conversation.

    `position` orders a session's items, from 1. It has gaps: a turn's answer keeps the place after
    its input from the start, whether or not it comes to say something. `created_at` is in Unix
    seconds.
    """

    id: str
    position: int
    role: Role
    text: str
    created_at: float
    response_id: str | None = None


class Usage(NamedTuple):
    """Tokens as the provider counted them; None where it did not say."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(slots=True)
class ResponseRecord:
    """One turn as the API shows it and Postgres keeps it. Times are Unix seconds.

    `cuts` are the lengths, in characters, of the text deltas in which `text` was streamed: with
    `first_seq` and `epoch` they give back every event of an ended turn, so a cursor can be
    answered long after the events themselves are gone.
    """

    id: str
    session_id: str
    status: Status
    model: str
    agent: str
    created_at: float
    item_id: str
    text: str = ""
    cuts: list[int] = field(default_factory=list)
    epoch: int = 0
    accepted_seq: int = 0
    first_seq: int = 0
    last_seq: int = 0
    client_id: str | None = None
    user: str | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    background: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    incomplete_reason: str | None = None
    completed_at: float | None = None

    def snapshot(self) -> ResponseRecord:
        """A copy that later changes of this record do not reach."""
        return replace(self, cuts=list(self.cuts))
