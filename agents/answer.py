"""What comes for a request: a status, headers, and a body that is read as it comes. No I/O.

An answer's bytes lie with it until its reader takes them, all at once, and no more lie there than
`HELD_BYTES`: then the provider waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from multidict import CIMultiDict

HELD_BYTES = 1 << 18
"""What an answer holds for a reader that does not come."""


class TransportError(Exception):
    """What went wrong below the provider's protocol. Its text is ours: no address, no key."""


class NoConnection(TransportError):
    """Nothing was sent."""


class NotHttp(TransportError):
    """What came is no HTTP, or more of it than there may be."""


class Broken(TransportError):
    """The connection ended before the answer did, or was ended from here."""


class Source(Protocol):
    """The connection that an answer comes on, as far as it is the answer's own."""

    def close(self) -> None:
        """End it: the answer breaks off."""
        ...

    def pause(self) -> None:
        """Read no more until `resume`."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...

    def rest(self, rest_s: float, over: Callable[[], None]) -> bool:
        """Let bytes gather, have `over` called after about so long; whether that can be done."""
        ...

    def rested(self) -> None:
        """Take what has gathered, and each byte as it comes."""
        ...


class Answer:
    """What came for one request: status, headers, and a body that is read as it comes."""

    __slots__ = (
        "_broken",
        "_chunks",
        "_connection",
        "_held",
        "_on_complete",
        "_resting",
        "_waiter",
        "begun",
        "complete",
        "fields",
        "status",
    )

    def __init__(self, connection: Source) -> None:
        self._connection: Source | None = connection
        self._chunks: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._resting = False
        self._broken: TransportError | None = None
        self._on_complete: Callable[[], None] | None = None
        self.begun = False
        """The head is there."""
        self.complete = False
        """The last byte has come, and the connection is no longer this answer's."""
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        """Of the head, as they came."""

    @property
    def headers(self) -> CIMultiDict[str]:
        """Built anew with each call."""
        return CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.fields
        )

    def header(self, name: bytes) -> str:
        """The first of this name, in lower case; empty if there is none."""
        for field, value in self.fields:
            if field.lower() == name:
                return value.decode("latin-1")
        return ""

    async def head(self) -> None:
        """Wait for status and headers.

        Raises:
            TransportError: they do not come.
        """
        while not self.begun:
            if self._broken is not None:
                raise self._broken
            await self._wait()

    async def read(self, rest_s: float = 0.0) -> bytes:
        """What has come since the last read, empty at the end of the body.

        Args:
            rest_s: Leave what comes to the kernel for about so long first: a read for each token
                is what a stream costs. Only a connection that ends is noticed meanwhile.

        Raises:
            TransportError: there is no more, and it was not the end.
        """
        if rest_s > 0 and not self._resting and self._connection is not None:
            self._resting = self._connection.rest(rest_s, self._rested)
        while self._resting or not self._chunks:
            if not self._resting:
                if self.complete:
                    return b""
                if self._broken is not None:
                    raise self._broken
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._held > HELD_BYTES and self._connection is not None:
            self._connection.resume()
        self._held = 0
        return data

    def on_complete(self, call: Callable[[], None]) -> None:
        """Have `call` made once the last byte is there; at once if it is."""
        if self.complete:
            call()
        else:
            self._on_complete = call

    def close(self) -> None:
        """End the connection, if it is still this answer's. Whoever reads gets `Broken`."""
        if self._connection is not None:
            self._connection.close()

    # -- told by the connection -----------------------------------------------------------------

    def begin(self, status: int) -> None:
        self.status, self.begun = status, True
        self._wake()

    def take(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > HELD_BYTES and self._connection is not None:
            self._connection.pause()
        self._wake()

    def end(self) -> None:
        self._connection = None
        self.complete = True
        self._wake()
        if self._on_complete is not None:
            self._on_complete()

    def break_off(self, error: TransportError) -> None:
        self._connection = None
        if self._broken is None:
            self._broken = error
        self._resting = False
        self._wake()

    # -- waiting --------------------------------------------------------------------------------

    def _rested(self) -> None:
        if not self._resting:
            return
        self._resting = False
        if self._connection is not None:
            self._connection.rested()
        if self._chunks or self.complete:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._resting and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
