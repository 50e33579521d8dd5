"""One HTTP/1.1 connection: bytes in, `Request`s out, replies back in the same order.

Written on `asyncio.Protocol` because a benchmark's 100,000 tokens a second pass through here on
the cores it measures. No task per connection and none per request: the parser calls the
handler, and a reply that takes time is moved on by the wheel.

One reply runs at a time. A request that arrives meanwhile (pipelining) waits in `_waiting`, and
reading stops until it is served, so a client can hold no more here than one read brings in.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 8 * 1024 * 1024
LINGER_S = 1.0
RESET = struct.pack("ii", 1, 0)
OUT_QUEUE = struct.Struct("i")


class Request:
    """A complete request, or one that is refused already: then `refused` is (status, message)."""

    __slots__ = (
        "body",
        "headers",
        "keep_alive",
        "method",
        "refused",
        "target",
        "version",
    )

    def __init__(self) -> None:
        self.method = "GET"
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep_alive = True
        self.refused: tuple[int, str] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first header of this lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Reply(Protocol):
    """A reply that takes time. The connection tells it what happens to its client."""

    def gone(self) -> None:
        """The client left; nothing more can be sent."""
        ...

    def resume(self) -> None:
        """The transport takes bytes again after `Connection.full`."""
        ...


class Connection(asyncio.Protocol):
    """What handlers and replies write to.

    Args:
        handle: Called with each request and this connection; must lead to exactly one of
            `respond`, `begin` … `finish`, `reset` or `close`, now or later.
        living: Every open connection; this one adds and removes itself.
        body_limit_bytes: A larger request body is refused with 413.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_busy",
        "_chunked",
        "_deaf",
        "_handle",
        "_head",
        "_head_bytes",
        "_in_head",
        "_keep_alive",
        "_limit",
        "_living",
        "_parser",
        "_request",
        "_transport",
        "_waiting",
        "full",
        "reply",
    )

    def __init__(
        self,
        handle: Callable[[Request, Connection], None],
        living: set[Connection],
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self._handle = handle
        self._living = living
        self._limit = body_limit_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._request = Request()
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_head = True
        self._head_bytes = 0
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._deaf = False
        self._chunked = True
        self._keep_alive = True
        self._head = False
        self.full = False
        """The client reads too slowly: a reply must wait for `resume` before it sends more."""
        self.reply: Reply | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._living.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer that we do not take up: the request itself was served, HTTP/1.1 goes on.
            self._parser = httptools.HttpRequestParser(self)
            self.data_received(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            raise  # A mistake of ours in a handler, not the client's.
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(400, f"This is not HTTP: {error}.")
        if self._in_head and self._head_bytes > HEAD_LIMIT_BYTES and not self._deaf:
            self._refuse(431, f"The header is over {HEAD_LIMIT_BYTES} bytes.")

    def eof_received(self) -> None:
        """A client that will send no more is taken as gone: returning None closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._living.discard(self)
        self._deaf = True
        self._waiting.clear()
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.gone()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self.reply is not None:
            self.reply.resume()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._request = Request()
        self._in_head = True
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._deaf:
            return
        request = self._request
        self._in_head = False
        self._head_bytes = 0
        request.method = self._parser.get_method().decode("latin-1")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        declared = request.header(b"content-length")
        if declared is not None and int(declared) > self._limit:
            self._refuse(413, f"The body is over {self._limit} bytes.")
            return
        expect = request.header(b"expect")
        if expect is not None and expect.lower() == b"100-continue" and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limit:
            self._refuse(413, f"The body is over {self._limit} bytes.")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        if self._deaf:
            return
        body = self._body
        self._request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._arrived(self._request)

    # One reply at a time, in order.

    def _refuse(self, status: int, message: str) -> None:
        request = self._request
        request.refused = (status, message)
        request.keep_alive = False
        self._deaf = True
        self._body = []
        self._arrived(request)

    def _arrived(self, request: Request) -> None:
        if self._busy:
            self._waiting.append(request)
            self._transport.pause_reading()
        else:
            self._serve(request)

    def _serve(self, request: Request) -> None:
        self._busy = True
        self._head = request.method == "HEAD"
        self._keep_alive = request.keep_alive
        self._chunked = request.version == "1.1"
        self._handle(request, self)

    def _done(self) -> None:
        self.reply = None
        self._busy = False
        if not self._keep_alive:
            self._linger()
        elif self._waiting:
            # Not at once: a long pipeline must neither nest calls nor hold the loop.
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        request = self._waiting.popleft()
        if not self._waiting:
            self._transport.resume_reading()
        self._serve(request)

    def _linger(self) -> None:
        """Close so that the client can still read the answer while it sends a body we refused."""
        self._deaf = True
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    # What handlers and replies use.

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        peer = self._transport.get_extra_info("peername")
        return bool(peer) and ipaddress.ip_address(peer[0]).is_loopback

    def respond(self, status: int, body: bytes, media: bytes, extra: bytes = b"") -> None:
        """Answer in one piece. `extra` is further header lines, each ended by CRLF."""
        self._transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                status,
                REASONS.get(status, b"Unknown"),
                media,
                len(body),
                b"" if self._keep_alive else b"connection: close\r\n",
                extra,
                b"" if self._head else body,
            )
        )
        self._done()

    def begin(self, media: bytes, extra: bytes, first: bytes) -> None:
        """Start a streamed 200, with its first bytes if there are any yet."""
        if not self._chunked:
            self._keep_alive = False
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        if not self._keep_alive:
            framing += b"connection: close\r\n"
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncache-control: no-cache\r\n%b%b\r\n%b"
            % (media, framing, extra, self._framed(first) if first else b"")
        )

    def send(self, data: bytes) -> None:
        """Send a piece of a streamed answer. `data` must not be empty: that would end it."""
        # `_framed`, written out for the sake of every token.
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece, if any, and end the streamed answer."""
        if self._chunked:
            self._transport.write((self._framed(data) if data else b"") + b"0\r\n\r\n")
        elif data:
            self._transport.write(data)
        self._done()

    def promise(self, length: int, media: bytes, extra: bytes, part: bytes) -> None:
        """Announce a body of `length` bytes and send `part` of it; the rest never comes."""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (media, length, extra, part)
        )

    def unsent(self) -> int:
        """Bytes that the client's kernel has not confirmed: a reset would lose them."""
        waiting = self._transport.get_write_buffer_size()
        sock = self._socket()
        if waiting or sock is None:
            return waiting
        return OUT_QUEUE.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]

    def reset(self) -> None:
        """Drop the connection with a TCP reset; what is unsent is lost."""
        self.reply = None
        sock = self._socket()
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def close(self) -> None:
        """Close without another word; what was written is still delivered."""
        self.reply = None
        self._transport.close()

    def _socket(self) -> socket.socket | None:
        return cast("socket.socket | None", self._transport.get_extra_info("socket"))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
