"""What the gateway is given by its composition root: plain values and ports, nothing read here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from contracts.limits import Reports
from gateway.drain import Drain
from gateway.link import Link
from gateway.ports import Records, Routed, Schedules, Spending
from gateway.rulebook import Rulebook

AUTO = "auto"
"""The `model` that leaves the choice of the agent to the rules."""


@dataclass(frozen=True, slots=True)
class InputLimits:
    """The most that one request may hold. All texts are counted in characters.

    Args:
        message_chars: One message.
        instructions_chars: The instructions of one turn.
        input_items: Messages in one request.
        metadata_pairs, metadata_key_chars, metadata_value_chars: Of one object.
        id_chars: Names that callers choose: users, idempotency keys.
        page_items: Rows of a list where the caller does not say.
        max_page_items: Rows of a list where it does.
    """

    message_chars: int = 100_000
    instructions_chars: int = 32_000
    input_items: int = 200
    metadata_pairs: int = 16
    metadata_key_chars: int = 64
    metadata_value_chars: int = 512
    id_chars: int = 128
    page_items: int = 20
    max_page_items: int = 100


@dataclass(frozen=True, slots=True)
class ScheduleLimits:
    """What may be scheduled.

    Args:
        in_session, in_organization: Schedules that are to come at once.
        min_interval_s: Between two times of one schedule.
    """

    in_session: int = 20
    in_organization: int = 10_000
    min_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """The gateway's settings.

    Args:
        open_doors: Let callers on loopback in without a key; for development only, and only
            where nothing but loopback reaches whatever proxy stands before the gateway.
        api_keys: Bearer keys that are let in from anywhere.
        organization: Whom those callers act for.
        admin_key: Bearer key of operators; None: closed, unless the doors are open.
        cors_origins: Origins whose pages may call the API; empty means none.
        ticket_ttl_s: How long a WebSocket ticket opens the door.
        open_requests: WebSockets, streams and requests open at once.
        body_bytes: The largest request body or WebSocket frame.
        body_timeout_s: How long a request body may take to arrive.
        open_timeout_s: How long a WebSocket's `session.open` may take to arrive.
        keepalive_s: A stream that has nothing to say sends a comment this often.
        send_timeout_s: A client that takes nothing for this long is cut.
    """

    open_doors: bool = False
    api_keys: tuple[str, ...] = ()
    organization: str = "org_default"
    admin_key: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    ticket_ttl_s: float = 60.0
    open_requests: int = 8_000
    body_bytes: int = 1_048_576
    body_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    keepalive_s: float = 15.0
    send_timeout_s: float = 20.0
    limits: InputLimits = field(default_factory=InputLimits)
    schedules: ScheduleLimits = field(default_factory=ScheduleLimits)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes work with.

    `rulebook` knows the agents, `drain` what is open. `health` names each dependency (`postgres`,
    `redis`, `hosts`) and says `ok` or, in a few words that may be shown to anybody, what is wrong.
    """

    link: Link
    records: Records
    rulebook: Rulebook
    health: Callable[[], Awaitable[dict[str, str]]]
    options: GatewayOptions
    schedules: Schedules
    drain: Drain
    routed: Routed
    spending: Spending
    reports: Reports

    def knows_agent(self, name: str) -> bool:
        """Whether `name` may stand in `model`."""
        return name == AUTO or any(card.name == name for card in self.rulebook.standing.cards)
