"""The outermost layer: every request gets an id, a door, a bounded body and one line in the log.

Plain ASGI, so that a WebSocket passes none of the web framework's layers. In the order in which
a request meets them: headers that would steer Ray Serve are taken off, the id is set, the door is
passed, the body is read whole up to its limit, the application runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import Busy, TooLarge, TroupeError
from gateway.auth import Doors
from gateway.errors import OUR_FAULT, HttpProblem, Internal, error_response
from gateway.presence import ClientGone
from gateway.scope import RequestContext, enter, header

log = logging.getLogger("troupe.gateway")
access = logging.getLogger("troupe.access")

# Serve would let any caller lengthen its own time limit, or keep its work after it has left.
_SERVE_HEADERS = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})
_BEHIND_THE_DOOR = "/v1/"
_FOR_OPERATORS = "/admin/v1/"
_PAGE_POLICY = (
    b"default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; "
    b"script-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    b"form-action 'self'"
)
_COMMON_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _PAGE_POLICY),
)

SocketApp = Callable[[RequestContext, "Busy | None", Scope, Receive, Send], Awaitable[None]]


class Edge:
    """The ASGI application that everything else is behind.

    Args:
        app: The HTTP application.
        sockets: What answers WebSockets; it is also told why one must be refused.
        doors: Who may come in.
        body_bytes: The largest request body.
        body_timeout_s: How long a body may take to arrive.
        open_requests: Requests and sockets served at once.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: SocketApp,
        doors: Doors,
        *,
        body_bytes: int,
        body_timeout_s: float,
        open_requests: int,
    ) -> None:
        self._app = app
        self._sockets = sockets
        self._doors = doors
        self._body_bytes = body_bytes
        self._body_timeout_s = body_timeout_s
        self._max_open = open_requests
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _SERVE_HEADERS]
        context = enter(scope)
        self._open += 1
        try:
            if scope["type"] == "websocket":
                await self._socket(context, scope, receive, send)
            else:
                await self._http(context, scope, receive, send)
        finally:
            self._open -= 1

    def _full(self) -> Busy | None:
        if self._open <= self._max_open:
            return None
        return Busy("The gateway serves as many as it can.", code="gateway_full", retry_after=1)

    async def _socket(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        began = time.perf_counter()
        try:
            await self._sockets(context, self._full(), scope, receive, send)
        except Exception:
            log.exception("%s: the socket failed", context.request_id)
            raise
        finally:
            self._note(context, scope, "WS", 101, began)

    async def _http(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        began = time.perf_counter()
        status = 0
        added = [*_COMMON_HEADERS, (b"x-request-id", context.request_id.encode())]
        if scope["path"].startswith((_BEHIND_THE_DOOR, _FOR_OPERATORS)):
            added.append((b"cache-control", b"no-store"))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                given = {name for name, _ in headers}
                headers += [pair for pair in added if pair[0] not in given]
                message = {**message, "headers": headers}
            await send(message)

        try:
            if scope["path"].startswith(_BEHIND_THE_DOOR):
                context.principal = self._doors.admit(scope)
                if full := self._full():
                    raise full
            elif scope["path"].startswith(_FOR_OPERATORS):
                self._doors.admit_operator(scope)
            await self._app(scope, await self._body(scope, receive), sending)
        except TroupeError as error:
            await error_response(error, context.request_id)(scope, receive, sending)
        except ClientGone:
            status = 499
        except Exception:
            log.exception("%s: the request failed", context.request_id)
            if status == 0:
                await error_response(Internal(OUR_FAULT), context.request_id)(
                    scope, receive, sending
                )
            elif status != 500:  # a 500 is the framework's, sent before it raised this again
                raise
        finally:
            self._note(context, scope, scope["method"], status, began)

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """Read the whole body, at most `body_bytes`; what comes after it is the connection's end.

        Raises:
            TooLarge: as soon as it is known; the rest is not read.
        """
        too_large = TooLarge(
            f"The body is over the limit of {self._body_bytes} bytes.",
            code="request_too_large",
            details={"limit": self._body_bytes},
        )
        declared = header(scope, b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > self._body_bytes:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        more = True
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > self._body_bytes:
                        raise too_large
                    chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise HttpProblem(408, "The body took too long to arrive.", "body_timeout") from None
        first: list[Message] = [
            {"type": "http.request", "body": b"".join(chunks), "more_body": False}
        ]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return replay

    def _note(
        self, context: RequestContext, scope: Scope, method: str, status: int, began: float
    ) -> None:
        # The raw path is percent-encoded: no caller can forge a line of the log.
        path = scope.get("raw_path") or scope["path"].encode("unicode_escape")
        client = scope.get("client") or ("-", 0)
        access.info(
            "%s %s %d %.1f ms %s %s",
            method,
            path.decode("ascii", "backslashreplace"),
            status,
            (time.perf_counter() - began) * 1000,
            client[0],
            context.request_id,
        )
