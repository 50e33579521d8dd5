"""One response's events, for a protocol that shows one response."""

from __future__ import annotations

from contracts.errors import TroupeError
from contracts.events import Event
from contracts.messages import ResponseRecord
from gateway.reader import Reader


class Follower:
    """Reads one response to its end.

    Args:
        reader: Attached to the response's session.
        response_id: Whose events to give.
    """

    def __init__(self, reader: Reader, response_id: str) -> None:
        self._reader = reader
        self._response_id = response_id

    async def next(self) -> list[Event]:
        """Events of the response that are there, at least one. The last one is its `ended`.

        Raises:
            TroupeError: the reader was too slow, or the session is nowhere to be found.
        """
        while True:
            batch = await self._reader.next()
            events = [event for _, event in batch if event.response_id == self._response_id]
            if events:
                return events

    async def ended(self) -> ResponseRecord:
        """Wait for the end; what was said on the way is in the record."""
        while True:
            last = (await self.next())[-1]
            if last.kind == "ended":
                record: ResponseRecord = last.data
                return record

    def leave(self, error: TroupeError) -> None:
        """Have `next` raise this, once it has given what is there."""
        self._reader.fail(error)

    def close(self) -> None:
        """Stop reading. The turn goes on. Idempotent."""
        self._reader.close()
