"""What is said in a session, and the record of what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from contracts.money import Charge
from contracts.pickled import pickled_by_fields

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


FailurePolicy = Literal["continue", "restart", "stop"]
"""What becomes of a begun answer whose host or provider is lost: another goes on from what was
said, begins anew, or the turn fails and keeps what was said."""

OnBusy = Literal["queue", "interrupt", "reject"]
"""What becomes of a message that comes while a turn runs: it waits, ends it, or is refused."""


class Leg(NamedTuple):
    """Where a turn went on after it had lost its host or its provider; one that lost none has none.

    `cuts` is how many deltas came before, `position` how many characters of the text stand: a
    reader that shows more cuts its copy there. `epoch` is that of the activation that went on.
    `number` grows from leg to leg but may leave some out: see `contracts.events`. `source` and
    `target` are endpoints, as `agent/endpoint`; None where a host was lost, or nobody went on.
    """

    cuts: int
    position: int
    policy: FailurePolicy
    reason: str
    epoch: int
    number: int
    source: str | None = None
    target: str | None = None


class Usage(NamedTuple):
    """Tokens as the provider counted them; where it did not say, a charge's are estimated."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@pickled_by_fields
@dataclass(slots=True)
class ResponseRecord:
    """One turn as the API shows it and Postgres keeps it. Times are Unix seconds.

    `cuts` are the lengths, in characters, of the text deltas in which `text` was streamed: with
    `first_seq` and `epoch` they give back every event of an ended turn, so a cursor can be
    answered long after the events themselves are gone. What a restarted turn had said before has
    cuts of length 0: the events keep their numbers, their text is gone.

    `replaces` is the item whose place this turn's answer takes, if it answers something anew.
    `epoch` is that of the activation that accepted the turn; each of the `legs` has its own.
    `attempts` counts the activations that have run it. `charges` are what its requests to providers
    cost, in their order; `usage` is the sum of their tokens.
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
    legs: list[Leg] = field(default_factory=list[Leg])
    attempts: int = 1
    replaces: str | None = None
    charges: list[Charge] = field(default_factory=list[Charge])

    @property
    def nano(self) -> int:
        """Nano-dollars that the turn has cost so far, as far as its models have prices."""
        return sum(charge.nano or 0 for charge in self.charges)

    @property
    def chosen(self) -> str:
        """The agent that the conversation is with; `agent` may be one that stands in for it."""
        return self.decision.get("agent", self.agent)

    def snapshot(self) -> ResponseRecord:
        """A copy that later changes of this record do not reach."""
        return replace(self, cuts=list(self.cuts), legs=list(self.legs), charges=list(self.charges))
