"""What is done without anybody at a socket: schedules, and word of a turn's end to others' servers.

Shared by the store that keeps them, the gateway that shows them and the errands that run them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from contracts.commands import SessionKey, TurnRequest
from contracts.messages import ResponseRecord


class Hook(NamedTuple):
    """A webhook endpoint as the store knows it: which ends of turns are kept for it."""

    endpoint: str
    statuses: frozenset[str]
    only_background: bool

    def wants(self, record: ResponseRecord) -> bool:
        """Whether the endpoint is to hear of this ended turn."""
        return record.status in self.statuses and (record.background or not self.only_background)


class Delivery(NamedTuple):
    """Word of one turn's end, owed to one endpoint.

    `id` is the event's, `attempts` counts this one, and `type` is OpenAI's, such as
    `response.completed`.
    """

    org_id: str
    id: str
    endpoint: str
    response_id: str
    type: str
    created_at: float
    attempts: int


OutcomeKind = Literal["ran", "skipped", "failed"]


class Outcome(NamedTuple):
    """What became of one due time of a schedule. `error`: `code` and `message`."""

    due_at: float
    kind: OutcomeKind
    response_id: str | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A turn that its session begins by itself: once (`at`) or by the clock (`cron`, `timezone`).

    `turn` is what is asked each time; a run gives it its ids. `due_at` is the next time, None where
    none will come. `skipped` counts times that passed without a run. Times are Unix seconds.
    """

    key: SessionKey
    id: str
    created_at: float
    turn: TurnRequest
    at: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    due_at: float | None = None
    last: Outcome | None = None
    skipped: int = 0


class Expired(NamedTuple):
    """One page of an organization's conversations: those to delete, and where to go on."""

    keys: list[SessionKey]
    after: str | None
