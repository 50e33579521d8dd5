"""One response's events, also across the loss of the host that said them.

A host that dies takes its readers with it, not the session: another host takes the session over,
rebuilds the events from the store, and the reader goes on after the last number it was given.
"""

from __future__ import annotations

import asyncio
import logging

from contracts.commands import SessionKey
from contracts.errors import Deposed, HostUnavailable, TroupeError, Unavailable
from contracts.events import Event
from contracts.messages import ResponseRecord
from gateway.link import Link, Reader
from gateway.projection import last_number

log = logging.getLogger("troupe.gateway.follow")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


class Follower:
    """Reads one response to its end.

    Args:
        link: The way to the session.
        reader: Attached to the response's session, at or before `number`.
        response_id: Whose events to give.
        number: The last `sequence_number` the client has; -1: none.
        reattach_s: How long to look for the session after its host is gone; None: a session that
            cannot be found again, because nothing of it is kept.
    """

    def __init__(
        self,
        link: Link,
        reader: Reader,
        response_id: str,
        *,
        number: int,
        reattach_s: float | None,
    ) -> None:
        self._link = link
        self._reader: Reader | None = reader
        self._key: SessionKey = reader.key
        self._response_id = response_id
        self._number = number
        self._reattach_s = reattach_s

    async def next(self) -> list[Event]:
        """Events of the response that are there, at least one. The last one is its `ended`.

        Raises:
            TroupeError: the reader was too slow, or the session is nowhere to be found.
        """
        while True:
            if self._reader is None:
                self._reader = await self._reattach(self._reattach_s or 0)
            try:
                batch = await self._reader.next()
            except (HostUnavailable, Deposed) as error:  # it is gone, or has let the session go
                if self._reattach_s is None:
                    raise
                log.info("%s: following again after: %s", self._response_id, error.message)
                self.close()
                continue
            events = [event for _, event in batch if event.response_id == self._response_id]
            if events:
                self._number = max(self._number, last_number(events[-1]))
                return events

    async def ended(self) -> ResponseRecord:
        """Wait for the end; what was said on the way is in the record."""
        while True:
            last = (await self.next())[-1]
            if last.kind == "ended":
                record: ResponseRecord = last.data
                return record

    def close(self) -> None:
        """Stop reading. The turn goes on. Idempotent."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    async def _reattach(self, within_s: float) -> Reader:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._link.attach(
                    self._key, response_id=self._response_id, number=self._number
                )
            except Unavailable as error:
                if loop.time() + pause_s > deadline:
                    raise _lost(error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _lost(error: TroupeError) -> HostUnavailable:
    return HostUnavailable(
        "The session cannot be reached now; the response goes on, come back for it.",
        code="stream_interrupted",
        retry_after=error.retry_after or 1,
    )
