"""The native WebSocket: one session, live, for one device.

The endpoint speaks ASGI itself, since every token passes here. It accepts first and refuses by a
close code after an error frame, because a browser shows a page nothing of a refused handshake.

One task serves a socket: it takes the client's frames. Another sends the session's, for as long as
a turn speaks; a socket that is silent costs none. They share `send`; frames do not interleave,
since each is one ASGI message. A client that does not read fills its transport, then its `Reader`,
which the link cuts: it comes back with its cursor.

Close codes: 1000 normal, 1008 refused, 1012 the session cannot be found or this gateway is about to
stop (come back with the cursor), 1013 too slow (likewise), 1011 our fault, 4404 no such
conversation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from pydantic import ValidationError

from contracts.commands import Attached, SessionKey
from contracts.errors import (
    Busy,
    InvalidRequest,
    NotFound,
    RequestError,
    TroupeError,
    Unauthenticated,
    Unavailable,
)
from contracts.events import Event
from contracts.tasks import spawn, stop
from gateway.auth import Principal
from gateway.errors import error_body
from gateway.frames import CancelFrame, OpenFrame, event_frame, opened_frame, parse, refuse
from gateway.options import Services
from gateway.patience import Patience
from gateway.reader import Reader
from gateway.turns import turn_from_frame

log = logging.getLogger("troupe.gateway.socket")

Receive = Any
Send = Any


async def websocket_endpoint(
    services: Services,
    principal: Principal | TroupeError,
    session_id: str,
    request_id: str,
    receive: Receive,
    send: Send,
) -> None:
    """Serve one socket until either side closes it.

    Args:
        principal: Who is at the door, or why nobody is let in.
        session_id: From the path; checked here.
    """
    await receive()
    await send({"type": "websocket.accept"})
    socket = _Socket(services, session_id, request_id, receive, send)
    try:
        if isinstance(principal, TroupeError):
            raise principal
        await socket.serve(SessionKey(principal.org_id, session_id))
    except TroupeError as error:
        await socket.refuse(error)
    except OSError:
        return  # the client has left
    except Exception:
        log.exception("socket %s failed", request_id)
        await socket.refuse(TroupeError("The server failed.", code="internal_error"))


_REFUSAL_S = 1.0
_LAST_WORDS = frozenset({"ended", "item"})
"""Events after which nothing needs to follow."""


class _Left(OSError):
    """The client closed its side; what a send says of it, by ASGI, is an `OSError` too."""


class _Socket:
    __slots__ = (
        "_fault", "_pump", "_reader", "_receive", "_request_id", "_send", "_services",
        "_session_id", "_task",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        session_id: str,
        request_id: str,
        receive: Receive,
        send: Send,
    ) -> None:
        self._services = services
        self._session_id = session_id
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._pump: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._fault: BaseException | None = None

    async def serve(self, key: SessionKey) -> None:
        """Serve until the client leaves or its reader ends, whichever comes first."""
        drain = self._services.drain
        drain.admit()
        self._reader = await self._open(key)
        self._task = asyncio.current_task()
        try:
            drain.enter(self)
            self._reader.on_arrival(self._arrived)
            self._arrived()
            await self._listen(key)
        except asyncio.CancelledError:
            if self._fault is None or self._task is None:
                raise
            self._task.uncancel()
            raise self._fault from None
        finally:
            self._task = None
            drain.exit(self)
            self._reader.close()
            await stop(self._pump)

    def leave(self, error: TroupeError) -> None:
        """Say what there is to say, then close because of `error`."""
        self._reader.fail(error)

    def _arrived(self) -> None:
        if self._pump is None:
            self._pump = spawn(
                self._tell(), name=f"socket-out-{self._request_id}", on_error=self._fail
            )

    def _fail(self, error: BaseException) -> None:
        """End the listening, which has no end of its own, by the error that ended the telling."""
        if self._task is not None and self._fault is None:
            self._fault = error
            self._task.cancel()

    async def _open(self, key: SessionKey) -> Reader:
        """The client's first frame opens the session; anything else is answered and waited on."""
        try:
            async with asyncio.timeout(self._services.options.open_timeout_s):
                opening = await self._opening_frame()
        except TimeoutError:
            raise InvalidRequest(
                "No session.open came in time.", param="type", code="session_not_open"
            ) from None
        return await self._services.link.attach(key, after=opening.after())

    async def _opening_frame(self) -> OpenFrame:
        while True:
            try:
                frame = parse(_text_of(await self._receive()), self._services.options.body_bytes)
                if frame["type"] != "session.open":
                    raise InvalidRequest(
                        "The first frame must be session.open.",
                        param="type",
                        code="session_not_open",
                    )
                return OpenFrame.model_validate(frame)
            except ValidationError as error:
                await self._error(refuse(error), None)
            except InvalidRequest as error:
                await self._error(error, None)

    async def _tell(self) -> None:
        """Send what there is, and wait for more only while a turn speaks."""
        try:
            with Patience(self._services.options.send_timeout_s) as patience:
                await self._tell_within(patience)
        except TimeoutError:
            raise Busy("The client took nothing for too long.", code="slow_reader") from None

    async def _tell_within(self, patience: Patience) -> None:
        reader, speaking = self._reader, False
        while True:
            opening, events = reader.opening(), reader.take()
            if opening is None and not events:
                if not speaking:
                    self._pump = None
                    return
                await reader.wait()
                continue
            patience.begin()
            await self._show(opening, events)
            patience.end()
            if events:
                speaking = events[-1][1].kind not in _LAST_WORDS

    async def _show(self, opening: Attached | None, events: list[tuple[int, Event]]) -> None:
        if opening is not None:
            await self._text(opened_frame(opening))
        for epoch, event in events:
            text = event_frame(epoch, event)
            if text is not None:
                await self._text(text)

    async def _listen(self, key: SessionKey) -> None:
        while True:
            frame: dict[str, Any] = {}
            try:
                # In one piece, since what an idle socket waits in is what it costs.
                frame = parse(_text_of(await self._receive()), self._services.options.body_bytes)
                await self._obey(key, frame)
            except ValidationError as error:
                await self._error(refuse(error), frame)
            except (RequestError, Unavailable) as error:
                await self._error(error, frame)

    async def _obey(self, key: SessionKey, frame: dict[str, Any]) -> None:
        link = self._services.link
        match frame["type"]:
            case "response.create":
                await link.submit(key, turn_from_frame(self._services.options, frame))
            case "response.cancel":
                await link.cancel(key, CancelFrame.model_validate(frame).response_id)
            case "session.open":
                raise InvalidRequest(
                    "The session is open already.", param="type", code="session_already_open"
                )
            case other:
                raise InvalidRequest(
                    f"There is no frame of type {other[:64]!r}.", param="type", code="unknown_frame"
                )

    # -- frames ---------------------------------------------------------------------------------

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _error(self, error: TroupeError, frame: dict[str, Any] | None) -> None:
        body = {"type": "error", **error_body(error, self._request_id)}
        client_id = frame.get("id") if frame else None
        if isinstance(client_id, str) and len(client_id) <= 256:
            body["id"] = client_id
        await self._text(orjson.dumps(body).decode())

    async def refuse(self, error: TroupeError) -> None:
        """Say why, then close. A client that takes nothing is not waited for."""
        close = {
            "type": "websocket.close",
            "code": _close_code(error),
            "reason": error.cause_code,
        }
        with suppress(OSError):
            async with asyncio.timeout(_REFUSAL_S):
                await self._error(error, None)
                await self._send(close)


def _text_of(message: Mapping[str, Any]) -> str | None:
    """What a client's frame says. Raises `_Left`."""
    if message["type"] == "websocket.disconnect":
        raise _Left
    return message.get("text")


def _close_code(error: TroupeError) -> int:
    if isinstance(error, NotFound):
        return 4404
    if isinstance(error, Unauthenticated):
        return 1008
    if isinstance(error, Busy):
        return 1013
    if isinstance(error, Unavailable):
        return 1012
    return 1008 if isinstance(error, RequestError) else 1011
