"""What one session's client said and shows, and what the store holds of it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["native", "stream", "stock"]
DONE = frozenset({"completed", "failed", "incomplete", "cancelled"})
"""The states in which a response has ended."""


@dataclass(slots=True)
class Message:
    """One message of a client; its text is unique, so the store can be asked for it.

    `acknowledged`: Troupe said that it has it, in whichever way the protocol does.
    """

    number: int
    key: str
    text: str
    response_id: str | None = None
    acknowledged: bool = False
    sent: int = 0
    refused: str | None = None


@dataclass(slots=True)
class Answer:
    """One answer as the client shows it. Times are CLOCK_MONOTONIC seconds."""

    response_id: str
    text: str = ""
    status: str = "in_progress"
    legs: list[str] = field(default_factory=list[str])
    times: list[float] = field(default_factory=list[float])
    ended: float = 0.0
    differed: bool = False
    """What had been streamed was not what the end said."""


@dataclass(slots=True)
class SessionRecord:
    """All that a client knows of its session when the run is over."""

    session_id: str
    kind: Kind
    messages: list[Message] = field(default_factory=list[Message])
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    gaps: list[str] = field(default_factory=list[str])
    """Places where the protocol's numbering broke."""
    troubles: dict[str, int] = field(default_factory=dict[str, int])
    """Why connections ended or requests had to be repeated, and how often."""

    def trouble(self, what: str) -> None:
        """Count one."""
        self.troubles[what] = self.troubles.get(what, 0) + 1


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the stored conversation."""

    role: str
    text: str
    response_id: str | None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A response as the store has it."""

    status: str
    text: str
    error: str | None = None


@dataclass(slots=True)
class Stored:
    """A session as the public API gives it."""

    items: list[Item] = field(default_factory=list[Item])
    answers: dict[str, StoredAnswer] = field(default_factory=dict[str, StoredAnswer])
