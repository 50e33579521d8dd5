"""A client of the Responses API that reads server-sent events and resumes by `starting_after`.

`EventClient` is what a careful program does around any HTTP library; `HttpSource` is that library
here. `stock` puts the openai SDK in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

import aiohttp
import orjson

from chaos.record import Message
from chaos.talk import Talk, now
from chaos.view import View

_CONNECT_TIMEOUT_S = 5.0
_RETRYABLE = frozenset({404, 408, 429})
"""404: of a response that was acknowledged; it is looked for until the run is over."""


class Refused(Exception):
    """An answer that is no stream."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(f"{status} {error.get('code')}")
        self.status = status
        self.code = error.get("code")
        self.response_id: str | None = error.get("response_id")


class Broken(Exception):
    """The connection failed, or ended before the answer; the text says how."""


class Source(Protocol):
    """Streams of API events as dictionaries. Raise `Refused` and `Broken`."""

    def ask(self, session_id: str, message: Message) -> AsyncGenerator[dict[str, Any]]: ...

    def resume(self, response_id: str, after: int) -> AsyncGenerator[dict[str, Any]]: ...


class EventClient:
    """One conversation, one request or stream at a time."""

    def __init__(self, talk: Talk, source: Source, *, takes_over: bool = False) -> None:
        self._talk = talk
        self._source = source
        self._view = View(talk.record, takes_over=takes_over)
        self._after = -1

    async def run(self) -> None:
        """Talk until told to stop and the last answer is there."""
        while True:
            await asyncio.sleep(self._talk.think_s())
            if self._talk.stopped:
                return
            await self._turn(self._talk.say())

    async def _turn(self, message: Message) -> None:
        self._after = -1
        while message.refused is None:
            try:
                if await self._read(message):
                    return
                self._talk.record.trouble("ended early")
            except Broken as error:
                self._talk.record.trouble(str(error))
            except Refused as error:
                self._refused(message, error)
            await asyncio.sleep(self._talk.backoff.next_s())

    async def _read(self, message: Message) -> bool:
        """Read one stream; whether it came to the answer's end."""
        if message.response_id is None:
            message.sent += 1
            events = self._source.ask(self._talk.record.session_id, message)
        else:
            events = self._source.resume(message.response_id, self._after)
        async with aclosing(events):
            async for event in events:
                if event["type"] == "error":
                    raise Broken(f"error: {event.get('code')}")
                self._after, ended = self._view.event(event, self._after, now())
                self._talk.backoff.reset()
                if event["type"] == "response.created":
                    message.acknowledged = True
                    message.response_id = event["response"]["id"]
                if ended is not None:
                    return True
        return False

    def _refused(self, message: Message, error: Refused) -> None:
        if error.code == "duplicate_id" and error.response_id is not None:
            message.acknowledged = True
            message.response_id = error.response_id
        elif error.status >= 500 or error.status in _RETRYABLE:
            self._talk.record.trouble(f"refused: {error.code}")
        else:
            message.refused = str(error)


class HttpSource:
    """The streams, over aiohttp."""

    def __init__(self, http: aiohttp.ClientSession, url: str, model: str, silence_s: float) -> None:
        self._http = http
        self._url = f"{url}/v1/responses"
        self._model = model
        self._limits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=silence_s
        )

    async def ask(self, session_id: str, message: Message) -> AsyncGenerator[dict[str, Any]]:
        body = {
            "model": self._model,
            "conversation": session_id,
            "input": message.text,
            "stream": True,
        }
        headers = {"Idempotency-Key": message.key}
        async with aclosing(self._stream("POST", self._url, json=body, headers=headers)) as events:
            async for event in events:
                yield event

    async def resume(self, response_id: str, after: int) -> AsyncGenerator[dict[str, Any]]:
        query = {"stream": "true", "starting_after": str(after)}
        address = f"{self._url}/{response_id}"
        async with aclosing(self._stream("GET", address, params=query)) as events:
            async for event in events:
                yield event

    async def _stream(
        self, method: str, url: str, **request: Any
    ) -> AsyncGenerator[dict[str, Any]]:
        try:
            async with self._http.request(method, url, timeout=self._limits, **request) as answer:
                if answer.status != 200:
                    raise Refused(answer.status, _error_in(await answer.read()))
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        yield orjson.loads(line[6:])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Broken(type(error).__name__) from error


def _error_in(body: bytes) -> dict[str, Any]:
    """The error object; something in front of Troupe may answer with a page instead."""
    try:
        return orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
