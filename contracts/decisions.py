"""Which agent answers a message, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from contracts.messages import FailurePolicy
from contracts.money import Charge


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of routing one message; shown on the response and kept with it.

    Args:
        agent: Who was chosen. Who answered in the end, the response's own `agent` says.
        rule: The name of the rule that matched, or `model` where the caller named an agent.
        reason: A sentence that a person can check against the message.
        version: Of the rules that were asked, as `base.3` or `base.3+org.7`; 0 stands for settings.
        on_failure: The rule's own word on failover; None: the agent's holds.
        kept: The rule left the conversation with the agent it had.
        asked: What a model said that was asked to route: `{"kind": "semantic", "label", "score"}`
            or `{"kind": "classifier", "label"}`, and `"fallback": why` where nobody knew.
        candidates: The chosen agent's endpoints as they stood, each `{"endpoint", "state",
            "expected_ms", "running"}`. Which of them was taken first, the response adds.
    """

    agent: str
    rule: str
    reason: str
    version: str = ""
    on_failure: FailurePolicy | None = None
    kept: bool = False
    asked: Mapping[str, Any] | None = None
    candidates: tuple[Mapping[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As it is stored and shown; what says nothing is left out."""
        told: dict[str, Any] = {"agent": self.agent, "rule": self.rule, "reason": self.reason}
        for name in ("version", "on_failure", "kept", "asked", "candidates"):
            value = getattr(self, name)
            if value:
                told[name] = list(value) if name == "candidates" else value
        return told


@dataclass(frozen=True, slots=True)
class RoutingInput:
    """What rules may look at: facts of one message and of the conversation it is said in.

    Args:
        text: The message.
        metadata: The conversation's, overlaid by the request's.
        user: The caller's own id of the person, if it gave one.
        now: Unix seconds.
        org_id: The organization.
        org_tier: What the operators call its kind; empty where they do not.
        session_id: The conversation.
        turn: The number of this turn in it, from 1.
        messages: Places of messages before this one; what was deleted had one, and an answer that
            never came may have had.
        agent: Who was chosen for the last answer, even if another stood in; None: there is none.
        failures: Turns that failed in a row until now.
        attachments: What comes with the message besides text, each with a `type`; nothing as yet.
        background: The caller does not wait.
        regenerate: The turn answers the last message anew.
    """

    text: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    now: float = 0.0
    org_id: str = ""
    org_tier: str = ""
    session_id: str = ""
    turn: int = 1
    messages: int = 0
    agent: str | None = None
    failures: int = 0
    attachments: tuple[Mapping[str, Any], ...] = ()
    background: bool = False
    regenerate: bool = False


class Semantic(NamedTuple):
    """A question to an embedder: which of these examples is the message nearest to?

    `examples` are pairs of label and text; below `min_score` (cosine, -1 to 1) it is none.
    """

    embedder: str
    examples: tuple[tuple[str, str], ...]
    min_score: float
    timeout_s: float


class Classifier(NamedTuple):
    """A question to an agent with a closed set of answers: pairs of label and what it means."""

    agent: str
    answers: tuple[tuple[str, str], ...]
    instructions: str | None
    timeout_s: float


class Found(NamedTuple):
    """The label that fits, None if none does; `score` where there is one.

    `charges`: what it cost to find out, as far as that is known.
    """

    label: str | None
    score: float | None = None
    charges: tuple[Charge, ...] = ()


class Oracle(Protocol):
    """What needs a model to route; in a cluster, the Router deployment.

    Raises a `TroupeError` where it cannot tell in time, with what it has cost as its `charges`; the
    caller then takes the rule's `else`.
    """

    async def nearest(self, question: Semantic, text: str) -> Found: ...

    async def classify(self, question: Classifier, text: str) -> Found: ...
