"""The native WebSocket: one session, live, for one device.

The endpoint speaks ASGI itself, since every token passes here. It accepts first and refuses by a
close code after an error frame, because a browser shows a page nothing of a refused handshake.

One task serves a socket: it takes the client's frames. The session's go out as they come, all that
there are in one write (`gateway.sink`); only when the client is slow, or the server has no short
way, does a second task send them, until nothing waits. Frames do not interleave, since each is one
message. A client that does not read fills its transport, then its `Reader`, which the link cuts: it
comes back with its cursor.

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
from gateway.options import Services
from gateway.patience import Patience
from gateway.reader import Reader
from gateway.sink import Sink
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
    sink: Sink | None = None,
) -> None:
    """Serve one socket until either side closes it.

    Args:
        principal: Who is at the door, or why nobody is let in.
        session_id: From the path; checked here.
        sink: The short way to the client, if there is one.
    """
    await receive()
    await send({"type": "websocket.accept"})
    socket = _Socket(services, session_id, request_id, receive, send, sink)
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
_AT_ONCE_BYTES = 65_536
"""What goes out in one write; a client that is behind by more is sent it at its own pace."""


class _Left(OSError):
    """The client closed its side; what a send says of it, by ASGI, is an `OSError` too."""


class _Socket:
    __slots__ = (
        "_due", "_fault", "_pump", "_reader", "_receive", "_request_id", "_send", "_services",
        "_session_id", "_sink", "_task",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        session_id: str,
        request_id: str,
        receive: Receive,
        send: Send,
        sink: Sink | None,
    ) -> None:
        self._services = services
        self._session_id = session_id
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._sink = sink
        self._due = False
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
        # Not here: whatever else has come by now goes along, and the link does not wait for it.
        if not self._due and self._pump is None:
            self._due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what there is, as far as the client takes it at once; a task sends the rest."""
        self._due = False
        if self._task is None:
            return
        try:
            texts = self._texts()
            while texts and self._take(texts):
                texts = self._texts()
        except Exception as error:  # noqa: BLE001 - the listening task raises it
            self._fail(error)
            return
        if texts:
            self._pump = spawn(
                self._tell(texts), name=f"socket-out-{self._request_id}", on_error=self._fail
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

    def _texts(self) -> list[bytes]:
        """The frames of what has come. Raises, once there are none, what ended the reader."""
        opening, events = self._reader.opening(), self._reader.take()
        texts = [] if opening is None else [opened_frame(opening)]
        texts += [event_frame(epoch, event) for epoch, event in events]
        return texts

    def _take(self, texts: list[bytes]) -> bool:
        """Whether these went out, all of them and at once."""
        sink = self._sink
        return sink is not None and sum(map(len, texts)) <= _AT_ONCE_BYTES and sink.put(texts)

    async def _tell(self, texts: list[bytes]) -> None:
        """Send these and whatever comes meanwhile, as slowly as the client takes them."""
        try:
            with Patience(self._services.options.send_timeout_s) as patience:
                while texts:
                    for text in texts:
                        patience.begin()
                        await self._text(text)
                        patience.end()
                    texts = self._texts()
        except TimeoutError:
            raise Busy("The client took nothing for too long.", code="slow_reader") from None
        self._pump = None

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

    async def _text(self, text: bytes) -> None:
        await self._send({"type": "websocket.send", "text": text.decode()})

    async def _error(self, error: TroupeError, frame: dict[str, Any] | None) -> None:
        body = {"type": "error", **error_body(error, self._request_id)}
        client_id = frame.get("id") if frame else None
        if isinstance(client_id, str) and len(client_id) <= 256:
            body["id"] = client_id
        await self._text(orjson.dumps(body))

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
