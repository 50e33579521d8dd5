"""The native WebSocket: one session, live, for one device.

The endpoint speaks ASGI itself, since every token passes here. It accepts first and refuses by a
close code after an error frame, because a browser shows a page nothing of a refused handshake.

Two tasks serve a socket: this one takes the client's frames, the other sends the session's. They
share `send`; frames do not interleave, since each is one ASGI message. A client that does not
read fills its transport, then its `Reader`, which the link cuts: it comes back with its cursor.

Close codes: 1000 normal, 1008 refused, 1012 the session moved (come back with the cursor),
1013 too slow (likewise), 1011 our fault, 4404 no such conversation.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from pydantic import ValidationError

from contracts.commands import SessionKey
from contracts.errors import (
    Busy,
    InvalidRequest,
    NotFound,
    RequestError,
    TroupeError,
    Unauthenticated,
    Unavailable,
)
from contracts.tasks import spawn, stop
from gateway.auth import Principal
from gateway.errors import error_body
from gateway.frames import CancelFrame, OpenFrame, event_frame, opened_frame, parse, refuse
from gateway.link import Reader
from gateway.options import Services
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
    except _Left:
        return
    except TroupeError as error:
        await socket.refuse(error)
    except Exception:
        log.exception("socket %s failed", request_id)
        await socket.refuse(TroupeError("The server failed.", code="internal_error"))


class _Left(Exception):
    """The client closed its side."""


class _Socket:
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

    async def serve(self, key: SessionKey) -> None:
        reader = await self._open(key)
        try:
            await self._text(opened_frame(reader.attached))
            await self._both_ways(key, reader)
        finally:
            reader.close()

    async def _both_ways(self, key: SessionKey, reader: Reader) -> None:
        """Serve until the client leaves or the reader ends; whichever comes first ends both."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def fail(error: BaseException) -> None:
            if not ended.done():
                ended.set_exception(error)

        tasks = [
            spawn(self._tell(reader), name=f"socket-out-{self._request_id}", on_error=fail),
            spawn(self._listen(key), name=f"socket-in-{self._request_id}", on_error=fail),
        ]
        try:
            await ended
        finally:
            await stop(*tasks)

    async def _open(self, key: SessionKey) -> Reader:
        """The client's first frame opens the session; anything else is answered and waited on."""
        async with asyncio.timeout(self._services.options.open_timeout_s):
            while True:
                try:
                    frame = await self._frame()
                    if frame["type"] != "session.open":
                        raise InvalidRequest(
                            "The first frame must be session.open.",
                            param="type",
                            code="session_not_open",
                        )
                    opening = OpenFrame.model_validate(frame)
                except ValidationError as error:
                    await self._error(refuse(error), None)
                except InvalidRequest as error:
                    await self._error(error, None)
                else:
                    return await self._services.link.attach(key, after=opening.after())

    async def _tell(self, reader: Reader) -> None:
        while True:
            for epoch, event in await reader.next():
                text = event_frame(epoch, event)
                if text is not None:
                    await self._text(text)

    async def _listen(self, key: SessionKey) -> None:
        while True:
            frame: dict[str, Any] = {}
            try:
                frame = await self._frame()
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

    async def _frame(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Left
        return parse(message.get("text"), self._services.options.body_bytes)

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _error(self, error: TroupeError, frame: dict[str, Any] | None) -> None:
        body = {"type": "error", **error_body(error, self._request_id)}
        client_id = frame.get("id") if frame else None
        if isinstance(client_id, str) and len(client_id) <= 256:
            body["id"] = client_id
        await self._text(orjson.dumps(body).decode())

    async def refuse(self, error: TroupeError) -> None:
        """Say why, then close."""
        await self._error(error, None)
        await self._send(
            {"type": "websocket.close", "code": _close_code(error), "reason": error.cause_code}
        )


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
