"""One HTTP/1.1 connection to a provider: a request goes out, its answer is read as it comes.

Ours, since a stream is what a turn costs: a general client spends more on one answer than the
answer's own tokens do. What HTTP is, httptools knows (Node's parser); what is here is when
bytes are worth a wake-up and when another request may follow. `agents.answer` is who waits.

A connection serves one answer at a time and is free again when that is complete, unless either side
said that it ends there. What follows an answer that nobody asked for ends it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import httptools

from agents.answer import Answer, Broken, NotHttp, TransportError
from agents.rests import Rests

_GATHERED_BYTES = 1 << 15
"""Of a stream whose reader rests: more than that wakes it."""
HEAD_BYTES = 1 << 16
"""The largest head of an answer."""


class Connection(asyncio.Protocol):
    """One connection. `on_free` is told when it can be used again, `on_lost` when never again."""

    __slots__ = (
        "_answer",
        "_ends_with_eof",
        "_fields",
        "_gathers",
        "_head_bytes",
        "_keep",
        "_on_free",
        "_on_lost",
        "_parser",
        "_paused",
        "_rests",
        "_socket",
        "_transport",
    )

    def __init__(
        self,
        rests: Rests,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._rests = rests
        self._socket: socket.socket | None = None
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: Answer | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._keep = False
        self._ends_with_eof = False
        self._paused = False
        self._gathers = False

    @property
    def usable(self) -> bool:
        """A request can be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._answer is None

    def send(self, request: bytes) -> Answer:
        """Send one request; what comes next is its answer. Only while `usable`.

        The whole request lies with the transport until the peer takes it; its time is bounded by
        whoever waits for the answer.
        """
        assert self._transport is not None
        self._answer = answer = Answer(self)
        self._head_bytes = 0
        self._transport.write(request)
        return answer

    def abort(self) -> None:
        """End it now: that is what tells a provider to stop. Idempotent."""
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it; an answer under way is `Broken`. Idempotent."""
        self._give_up(Broken("it was closed"))

    def rest(self, rest_s: float, over: Callable[[], None]) -> bool:
        """Let bytes gather in the kernel and have `over` called then; whether that can be done.

        The kernel is told how many bytes are worth a wake-up, which leaves the transport as it is:
        to pause it would cost a wake-up by the next byte, and two calls for its place in the poll.
        The end of the connection wakes in any case.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        if self._socket is not None:
            self._gathers = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _GATHERED_BYTES)
        else:
            self.pause()
        self._rests.begin(rest_s, over)
        return True

    def rested(self) -> None:
        """Take what has gathered, and each byte as it comes."""
        if self._socket is None:
            self.resume()
        elif self._gathers and self._transport is not None and not self._transport.is_closing():
            self._gathers = False
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def pause(self) -> None:
        """Read no more until `resume`."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and not self._paused:
            self._paused = True
            transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            transport = self._transport
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    # -- called by the transport ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket = transport.get_extra_info("socket")
        self._parser = parser = httptools.HttpResponseParser(self)
        # What servers are known to get wrong, and what can be read all the same.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._parser is None:
            # Nobody asked: whatever it is, the next answer could be taken for it.
            self.abort()
            return
        if not answer.begun:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._give_up(NotHttp("what it sends is no HTTP"))
            return
        except httptools.HttpParserUpgrade:
            self._give_up(NotHttp("it changes the protocol"))
            return
        if not answer.begun and self._head_bytes > HEAD_BYTES:
            self._give_up(NotHttp(f"a head of more than {HEAD_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        answer, self._answer = self._answer, None
        # The parser holds this object's methods: a circle that would wait for the collector.
        self._transport = self._parser = self._socket = None
        if answer is not None:
            if answer.begun and self._ends_with_eof and exc is None:
                answer.end()
            else:
                answer.break_off(Broken("it ended before its answer did"))
        self._on_lost(self)

    # -- called by the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._fields = []
        if self._answer is None:
            self.abort()  # it says more than it was asked

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the body come trailers, which nobody reads and nothing bounds.
        if self._answer is not None and not self._answer.begun:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        fields, self._fields = self._fields, []
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            return
        status = parser.get_status_code()
        if status < 200:
            return  # an interim one, by which some say that they are still at it
        # Now, since after the message the parser has forgotten both.
        self._keep = parser.should_keep_alive()
        self._ends_with_eof = not self._keep and not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields
        )
        answer.fields = fields
        answer.begin(status)

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.take(data)

    def on_message_complete(self) -> None:
        answer = self._answer
        if answer is None or not answer.begun:
            return
        self._answer = None
        transport = self._transport
        if transport is None or transport.is_closing():
            pass
        elif self._keep and transport.get_write_buffer_size() == 0:
            self.rested()
            self.resume()
            self._on_free(self)
        else:
            transport.abort()
        answer.end()

    def _give_up(self, error: TransportError) -> None:
        answer = self._answer
        self.abort()
        if answer is not None:
            answer.break_off(error)
