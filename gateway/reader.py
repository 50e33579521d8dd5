"""One reader's share of a session's events: bounded, never blocking the link.

A reader outlives the host that its session lives on. It knows how far it was given, so the link
attaches it again wherever the session is active next, and whoever reads does not notice. While
the session sleeps the reader is dormant: it holds its place and nothing at any host.

A reader that does not keep up is cut with `Busy` (code `slow_reader`); it may come back with its
cursor and will get what it missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from contracts.commands import Attached, SessionKey
from contracts.errors import Busy, TroupeError
from contracts.events import Cursor, Event
from gateway.line import Line
from gateway.projection import last_number

log = logging.getLogger("troupe.gateway.reader")


class ReaderLimits(NamedTuple):
    """How much may wait in a reader before it is cut."""

    events: int
    bytes: int


class Asking(NamedTuple):
    """An attachment on its way: where, by which call, and where to go back to if it was wrong."""

    line: Line
    call: int
    future: asyncio.Future[Any]
    before: Line | None


class Reader:
    """See the module.

    Args:
        key: Whose events.
        limits: What a reader may hold of what comes live; what it missed it is given whole.
        close: Called by `close`.
        response_id: Read one response: it is found again by number, not by cursor.
        number: The last of its numbers that the client has.
        after: The cursor that the client has; None: from now on.
        from_now_on: The response is about to begin: the first attachment cannot name it.
        lasting: Whether the session can be found again; of a stateless one nothing is kept.

    Attributes:
        attached: How the session was opened, until that is taken: the first time, and whenever
            the place could not be found again.
        line: Where its events come from, while they do. The link's, like `asking`, `seeking`.
    """

    __slots__ = (
        "_arrived", "_begun", "_bytes", "_close", "_count", "_error", "_events", "_from_now_on",
        "_limits", "_on_arrival", "after", "asking", "attached", "key", "lasting", "line",
        "number", "response_id", "seeking",
    )  # fmt: skip

    def __init__(
        self,
        key: SessionKey,
        limits: ReaderLimits,
        close: Callable[[Reader], None],
        *,
        response_id: str | None = None,
        number: int = -1,
        after: Cursor | None = None,
        from_now_on: bool = False,
        lasting: bool = True,
    ) -> None:
        self.key = key
        self.response_id = response_id
        self.number = number
        self.after = after
        self.lasting = lasting
        self.attached: Attached | None = None
        self.line: Line | None = None
        self.seeking: asyncio.Task[None] | None = None
        self._limits = limits
        self._close = close
        self.asking: Asking | None = None
        self._from_now_on = from_now_on
        self._begun = False
        self._events: list[tuple[int, Event]] = []
        self._count = 0
        self._bytes = 0
        self._arrived: asyncio.Future[None] | None = None
        self._on_arrival: Callable[[], None] | None = None
        self._error: TroupeError | None = None

    # -- what the link calls ----------------------------------------------------------------------

    def place(self) -> tuple[Cursor | None, str | None, int]:
        """Where to attach: `after`, `response_id` and `number` of an `Attach`."""
        if self.response_id is None or (self._from_now_on and not self._begun):
            return self.after, None, -1
        return None, self.response_id, self.number

    def begin(self, attached: Attached) -> None:
        """Take in the answer to an `Attach`, before any live event."""
        if not self._begun or not attached.recovered:
            # A snapshot stands in place of all that was, also of what nobody has read yet.
            self._begun = True
            self._events = []
            self._count = self._bytes = 0
            self.attached = attached._replace(events=())
        self._take(attached.epoch, attached.events)
        self.after = Cursor(attached.epoch, attached.seq)
        self._wake()

    def push(self, epoch: int, events: Sequence[Event]) -> None:
        """Take in live events."""
        if self._error is not None:
            return
        self._count += len(events)
        self._bytes += sum([_weight(event) for event in events])
        if self._count > self._limits.events or self._bytes > self._limits.bytes:
            self.fail(Busy("The reader did not keep up with the session.", code="slow_reader"))
            return
        self._take(epoch, events)
        self.after = Cursor(epoch, events[-1].seq)
        self._wake()

    def fail(self, error: TroupeError) -> None:
        """End the reader with `error`, after what it already holds has been read."""
        if self._error is None:
            self._error = error
            self._wake()

    def fail_with(self, error: BaseException) -> None:
        """End the reader because of something unforeseen."""
        log.error("a reader of %s failed", self.key.session_id, exc_info=error)
        self.fail(TroupeError("The server failed."))

    def _take(self, epoch: int, events: Sequence[Event]) -> None:
        self._events.extend([(epoch, event) for event in events])
        if self.response_id is not None:
            for event in events:
                if event.response_id == self.response_id:
                    self.number = max(self.number, last_number(event))

    def _wake(self) -> None:
        if self._arrived is not None:
            if not self._arrived.done():
                self._arrived.set_result(None)
        elif self._on_arrival is not None:
            self._on_arrival()

    # -- what whoever reads calls -----------------------------------------------------------------

    def on_arrival(self, call: Callable[[], None]) -> None:
        """Call when something has come and nobody waits for it in `next`."""
        self._on_arrival = call

    def opening(self) -> Attached | None:
        """What to show before the next events, if there is something new to say of it."""
        attached, self.attached = self.attached, None
        return attached

    async def next(self) -> list[tuple[int, Event]]:
        """All events that are there, at least one, each with its epoch.

        Raises:
            TroupeError: the reader was cut, or its session is nowhere to be found.
        """
        while not self._events and self._error is None:
            await self._arrival()
        return self.take()

    async def _arrival(self) -> None:
        self._arrived = asyncio.get_running_loop().create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    def take(self) -> list[tuple[int, Event]]:
        """All events that are there, perhaps none. Raises like `next` when it has come to that."""
        if not self._events and self._error is not None:
            raise self._error
        events, self._events = self._events, []
        self._count = self._bytes = 0
        return events

    async def of(self, response_id: str) -> AsyncIterator[tuple[int, Event]]:
        """The events of one response, up to and including its end."""
        while True:
            for epoch, event in await self.next():
                if event.response_id == response_id:
                    yield epoch, event
                    if event.kind == "ended":
                        return

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._close(self)


def _weight(event: Event) -> int:
    """About how many bytes of text an event holds."""
    data: Any = event.data
    if event.kind == "delta":
        return len(data) if data.isascii() else len(data.encode())
    if event.kind == "accepted":
        return sum([len(message.text) for message in data["input"]])
    if event.kind == "item":
        return sum([len(message.text) for message in data["items"]])
    return len(data.text) if event.kind == "ended" else 0
