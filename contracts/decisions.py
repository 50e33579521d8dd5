"""Which agent answers a message, and why."""

from __future__ import annotations

from typing import Any, NamedTuple


class Decision(NamedTuple):
    """The outcome of routing one message; shown on the response and written to the log.

    `rule` is the name of the rule that matched, or `model` where the caller named an agent;
    `reason` is a sentence that a person can check against the message.
    """

    agent: str
    rule: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"agent": self.agent, "rule": self.rule, "reason": self.reason}


class RoutingInput(NamedTuple):
    """What rules may look at. `metadata` is the conversation's overlaid by the request's."""

    text: str
    metadata: dict[str, str]
    user: str | None
