"""The yardstick: what a chat turn costs with no state at all.

One process. A WebSocket comes in (uvicorn on uvloop), each turn is one streamed chat completion
of the provider (aiohttp), each token leaves as one frame. It speaks Troupe's native frames, so
that one load generator drives both, and remembers nothing: no conversation, no log, no store, no
second reader, no resume.

It is meant to be hard to beat, since Troupe's cost is stated as a multiple of it: a bare ASGI
application, no framework, no task for each turn, no timer for each read, no log line, and frames
that go to the transport as bytes (`LeanSocket`). Half of what is left is the kernel's: one read
and one write for each token. Copying a token's JSON string in place of parsing it was tried and
saves less than 1 %, so it is parsed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import orjson
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from yarl import URL

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_OPENED = '{"type":"session.opened","epoch":1,"seq":0,"recovered":true}'


class UpstreamError(Exception):
    """The provider refused the request, or its stream ended without the terminal marker."""


class LeanSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with text messages framed by hand: 0.2 CPU-ms less for each turn."""

    async def send(self, message: Any) -> None:
        if (
            message["type"] == "websocket.send"
            and self.writable.is_set()
            and not (self.disconnected or self.close_sent)
        ):
            data = message["text"].encode()
            size = len(data)
            if size < 126:
                self.transport.write(b"\x81%c%b" % (size, data))
                return
            if size < 65536:
                self.transport.write(b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data))
                return
        await super().send(message)


class Proxy:
    """The ASGI application.

    Args:
        provider: Base URL of an OpenAI-compatible provider, with its `/v1`.
        key: The provider's key.
        model: The provider's model, whatever the client asks for.
    """

    def __init__(self, provider: str, key: str, model: str) -> None:
        self._url = URL(f"{provider.rstrip('/')}/chat/completions")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._model = model
        self._ids = itertools.count(1)
        self._provider: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._socket(receive, send)
        else:
            # Any request: enough for "are you up?".
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=self._headers,
        ) as self._provider:
            gc.collect()
            gc.freeze()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _socket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        seq = 0
        while (message := await receive())["type"] == "websocket.receive":
            frame = orjson.loads(message["text"])
            if frame["type"] == "session.open":
                await send({"type": "websocket.send", "text": _OPENED})
            elif frame["type"] == "response.create":
                seq = await self._turn(frame, seq, send)

    async def _turn(self, frame: dict[str, Any], seq: int, send: Send) -> int:
        """One turn, from the request to its last event; the `seq` of that event."""
        response_id = f"resp_{next(self._ids):032x}"
        place = f'"epoch":1,"response_id":"{response_id}","seq":'
        quoted = orjson.dumps(frame["id"]).decode()
        await send(_text(f'{{"type":"response.accepted","id":{quoted},{place}{seq + 1}}}'))
        seq += 2
        response: dict[str, Any] = {"id": response_id, "object": "response", "output": []}
        await send(_event("response.created", place, seq, {**response, "status": "in_progress"}))
        head = f'{{"type":"response.output_text.delta",{place}'
        tokens: list[str] = []
        kind, status = "response.completed", "completed"
        try:
            # aclosing: a client that leaves in mid-answer must drop the provider's stream at once.
            async with contextlib.aclosing(self._tokens(frame["input"])) as stream:
                async for token in stream:
                    tokens.append(token)
                    seq += 1
                    text = f'{head}{seq},"delta":{orjson.dumps(token).decode()}}}'
                    await send({"type": "websocket.send", "text": text})
        except (UpstreamError, aiohttp.ClientError, ValueError, LookupError):
            kind, status = "response.failed", "failed"
        part: dict[str, Any] = {"type": "output_text", "text": "".join(tokens), "annotations": []}
        item: dict[str, Any] = {
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [part],
        }
        seq += 1
        await send(_event(kind, place, seq, {**response, "status": status, "output": [item]}))
        return seq

    async def _tokens(self, question: str) -> AsyncGenerator[str]:
        assert self._provider is not None
        messages = [{"role": "user", "content": question}]
        body = orjson.dumps({"model": self._model, "stream": True, "messages": messages})
        async with self._provider.post(self._url, data=body) as reply:
            if reply.status != 200:
                raise UpstreamError(f"status {reply.status}")
            rest, finished = b"", False
            read = reply.content.readany
            while data := await read():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event == b"data: [DONE]":
                        finished = True
                    elif event.startswith(b"data: "):
                        for choice in orjson.loads(event[6:])["choices"]:
                            if token := choice["delta"].get("content"):
                                yield token
            if not finished:
                raise UpstreamError("the stream ended without its terminal marker")


def _text(text: str) -> Message:
    return {"type": "websocket.send", "text": text}


def _event(kind: str, place: str, seq: int, response: dict[str, Any]) -> Message:
    shown = orjson.dumps(response).decode()
    return _text(f'{{"type":"{kind}",{place}{seq},"response":{shown}}}')


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m bench.proxy")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--provider", required=True, help="base URL with its /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--key", default="bench")
    options = parser.parse_args()
    uvicorn.run(
        Proxy(options.provider, options.key, options.model),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws=LeanSocket,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        interface="asgi3",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        backlog=4096,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
