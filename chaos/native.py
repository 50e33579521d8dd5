"""A client of the native WebSocket, as a chat page is one: cursor, backoff, the same key again.

One loop serves a socket: it takes the next frame, or, when none comes by then, does what is due:
say the next message, say one again that was refused, or give the socket up for dead.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chaos.record import DONE, Message
from chaos.talk import Talk, now
from chaos.view import View

_OPEN_TIMEOUT_S = 5.0
_RETRYABLE = frozenset({"server_error", "rate_limit_error"})


class _Stalled(Exception):
    """Nothing came for an answer that is running."""


class NativeClient:
    """One conversation over one socket at a time."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._view = View(talk.record)
        base = talk.manner.url.replace("http", "ws", 1)
        self._url = f"{base}/v1/conversations/{talk.record.session_id}/ws"
        self._message: Message | None = None
        self._waiting = False
        """Whether the message has been sent, and its answer is what comes next."""
        self._due = now() + talk.think_s()

    async def run(self) -> None:
        """Talk until told to stop and the last answer is there."""
        while not (self._talk.stopped and self._message is None):
            try:
                async with connect(
                    self._url, compression=None, open_timeout=_OPEN_TIMEOUT_S, close_timeout=1
                ) as socket:
                    await self._serve(socket)
                    return
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else "no close frame"
                self._talk.record.trouble(f"closed: {code}")
            except (OSError, WebSocketException, TimeoutError, _Stalled) as error:
                self._talk.record.trouble(_reason(error))
            await asyncio.sleep(self._talk.backoff.next_s())

    async def _serve(self, socket: ClientConnection) -> None:
        """One socket, until there is nothing left to say."""
        cursor = self._view.cursor
        opening: dict[str, Any] = {"type": "session.open"}
        if cursor is not None:
            opening["cursor"] = {"epoch": cursor[0], "seq": cursor[1]}
        await socket.send(orjson.dumps(opening).decode())
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            while not self._hear(orjson.loads(await socket.recv())):
                pass
        self._talk.backoff.reset()
        if self._message is not None:
            # Whether it arrived is not known; its key makes saying it again safe.
            self._wait() if self._message.acknowledged else self._say_again(0.0)
        while not (self._talk.stopped and self._message is None):
            try:
                async with asyncio.timeout(max(0.0, self._due - now())):
                    text = await socket.recv()
            except TimeoutError:
                await self._act(socket)
            else:
                self._hear(orjson.loads(text))

    async def _act(self, socket: ClientConnection) -> None:
        """What is due because nothing came."""
        if self._waiting:
            raise _Stalled
        if self._message is None:
            if self._talk.stopped:
                return
            self._message = self._talk.say()
        message = self._message
        message.sent += 1
        self._wait()
        frame = {
            "type": "response.create",
            "id": message.key,
            "model": self._talk.manner.model,
            "input": message.text,
        }
        await socket.send(orjson.dumps(frame).decode())

    def _wait(self) -> None:
        self._waiting = True
        self._due = now() + self._talk.manner.stall_s

    def _say_again(self, in_s: float) -> None:
        self._waiting = False
        self._due = now() + in_s

    def _next(self) -> None:
        self._message = None
        self._waiting = False
        self._due = now() + self._talk.think_s()

    def _hear(self, frame: dict[str, Any]) -> bool:
        """Take a frame; whether it is the one that opens the session."""
        kind = frame["type"]
        if kind == "error":
            self._refused(frame["error"], frame.get("id"))
            return False
        if kind == "session.opened":
            restored = self._view.opened(frame, now())
            if self._message is not None and self._message.response_id in restored:
                self._next()
            return True
        ended = self._view.frame(frame, now())
        if self._message is not None:
            if ended is not None and ended == self._message.response_id:
                self._next()
            elif self._message.acknowledged:
                self._wait()
        return False

    def _refused(self, error: dict[str, Any], key: str | None) -> None:
        message = self._message
        code = error.get("code")
        if message is None or key != message.key:
            self._talk.record.trouble(f"error: {code}")
            return
        if code == "duplicate_id":
            message.acknowledged = True
            message.response_id = error["response_id"]
            answer = self._talk.record.answers.get(error["response_id"])
            if answer is not None and answer.status in DONE:
                self._next()
            else:
                self._wait()
        elif error.get("type") in _RETRYABLE:
            self._talk.record.trouble(f"refused: {code}")
            self._say_again(self._talk.backoff.next_s())
        else:
            message.refused = str(code)
            self._next()


def _reason(error: BaseException) -> str:
    """A short name of it, without addresses or ids, so that like things are counted together."""
    return type(error).__name__.strip("_").lower()
