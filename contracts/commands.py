"""What a gateway asks of a session host, and how the host answers.

Commands travel in batches, one Ray call each; what comes back (replies and events) travels in
parcels down the gateway's one pipe, so that the order in which a session says things is the order
in which every reader hears them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.errors import TroupeError
from contracts.events import Cursor, Event
from contracts.messages import Message, OnBusy, Role
from contracts.pickled import pickled_by_fields


class SessionKey(NamedTuple):
    """A session's address: organizations are walls, so the id alone is never enough."""

    org_id: str
    session_id: str


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class InputItem:
    """One message as a caller gives it."""

    role: Role
    text: str


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class TurnRequest:
    """Everything a caller may say about one turn. `model` is an agent's name or `auto`."""

    response_id: str
    model: str
    input: tuple[InputItem, ...]
    client_id: str | None = None
    user: str | None = None
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    background: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    on_busy: OnBusy | None = None
    """What if a turn is running; None: as the agent's settings say."""
    regenerate: str | None = None
    """The session's last response, to be answered anew: its answer is removed, `input` is empty."""
    stateless: bool = False
    """True: nothing is read or kept; `input` is the whole conversation (chat completions)."""


@dataclass(frozen=True, slots=True)
class Command:
    """`call` is unique within one gateway; the reply carries it back."""

    call: int
    key: SessionKey


@dataclass(frozen=True, slots=True)
class Attach(Command):
    """Subscribe the gateway to the session's events and replay what a reader missed.

    `after` None: from now on. `response_id` with `number`: what that response's reader has not
    seen, by the Responses API's `sequence_number` (-1: all of it). Replied with `Attached`.
    """

    after: Cursor | None = None
    response_id: str | None = None
    number: int = -1


@dataclass(frozen=True, slots=True)
class Detach(Command):
    """The gateway has no reader of this session left. Never replied to."""


@dataclass(frozen=True, slots=True)
class AwaitWake(Command):
    """The gateway holds readers of this session, which sleeps as far as it knows. Never activates.

    Answered with `Woke` if the session is active here; never replied to.
    """


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class Submit(Command):
    """Begin a turn. Replied with `Accepted` once the input is durable."""

    turn: TurnRequest


@dataclass(frozen=True, slots=True)
class Cancel(Command):
    """End the running or queued turn. Replied with its `ResponseRecord`, or NotFound."""

    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddItems(Command):
    """Append items without a turn. Replied with the `Message`s."""

    items: tuple[InputItem, ...]


@dataclass(frozen=True, slots=True)
class DeleteItem(Command):
    """Remove one item. Replied with None."""

    item_id: str


@dataclass(frozen=True, slots=True)
class UpdateSession(Command):
    """Replace the session's metadata. Replied with None."""

    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class DropSession(Command):
    """Delete the session with all it holds, everywhere. Replied with None.

    `unused_since` (Unix seconds): only if nothing has been said in it since then; else it is
    refused with Conflict (code `conversation_in_use`).
    """

    unused_since: float | None = None


class Attached(NamedTuple):
    """Where the log stands, and what the reader missed.

    `recovered` False: the cursor could not be honoured; `snapshot` then holds the conversation's
    newest messages and `events` those of the running turn, to be shown in place of what was.
    """

    epoch: int
    seq: int
    recovered: bool
    events: tuple[Event, ...]
    snapshot: tuple[Message, ...] | None = None


class Accepted(NamedTuple):
    """The input is durable and the turn will run, whatever becomes of the caller."""

    response_id: str
    epoch: int
    seq: int
    record: Any


class Reply(NamedTuple):
    """The answer to the command of this `call`: `error` if set, else `value`."""

    call: int
    value: Any
    error: TroupeError | None = None


class EventBatch(NamedTuple):
    """Consecutive events of one session."""

    key: SessionKey
    epoch: int
    events: tuple[Event, ...]


class Moved(NamedTuple):
    """This host holds the session no more; readers must attach again, wherever it lives now."""

    key: SessionKey


class Slept(NamedTuple):
    """This host let the session go, since nothing happens in it; its readers need do nothing.

    They stay where they are and attach with their cursors once the session is active again:
    because of a command of their own gateway, or when some host says `Woke`.
    """

    key: SessionKey


class Woke(NamedTuple):
    """A session is active on this host; whoever holds readers of it attaches them here."""

    key: SessionKey


Parcel = list["Reply | EventBatch | Moved | Slept | Woke"]
"""One item of a pipe: what a host has to say, in the order in which it came to be.

An empty parcel is a keep-alive: a pipe that stays silent longer than its interval is suspect.
"""
