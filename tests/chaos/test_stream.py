"""The client of server-sent events against a server that breaks off, refuses and repeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from aiohttp import web

from chaos.record import SessionRecord
from chaos.stock import SdkSource
from chaos.stream import EventClient, HttpSource
from chaos.talk import Manner
from tests.chaos.one_message import OneMessage

PART = {"type": "output_text", "text": "t0 t1 ", "annotations": []}
ITEM = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [PART],
}
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": [ITEM]}


def delta(text: str) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    return {"type": "response.output_text.delta", "delta": text, **place}


CREATED = {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}}
RESUMED = {"type": "response.resumed", "response_id": "resp_1", "policy": "continue", "position": 3}
COMPLETED = {"type": "response.completed", "response": RESPONSE}


class Api:
    """Answers the nth request with the nth thing: events with their numbers, or an error."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.queries: list[dict[str, str]] = []
        self._answers = iter(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        self.asked.append((request.method, request.path, key))
        self.queries.append(dict(request.query))
        match next(self._answers):
            case (int(status), dict(error)):
                headers = {"x-should-retry": "false"}  # the SDK would hide it otherwise
                return web.json_response({"error": error}, status=status, headers=headers)
            case (int(first), list(events)):
                return await self._stream(request, first, events)
            case other:
                raise AssertionError(other)

    async def _stream(
        self, request: web.Request, first: int, events: list[dict]
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number, event in enumerate(events, first):
            body = orjson.dumps({**event, "sequence_number": number}).decode()
            await answer.write(f"event: {event['type']}\ndata: {body}\n\n".encode())
        if events[-1] is not COMPLETED:
            assert request.transport is not None
            request.transport.abort()
        return answer


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def run(api: Api, kind: str) -> SessionRecord:
    """One message through one client."""
    async with (
        served(api) as url,
        aiohttp.ClientSession() as http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as sdk,
    ):
        stock = kind == "stock"
        talk = OneMessage(
            SessionRecord("conv_1", "stock" if stock else "stream"),
            Manner(url, "gpt", think_s=0.001, stall_s=30.0),
            Random(1),
        )
        source = SdkSource(sdk, "gpt") if stock else HttpSource(http, url, "gpt", 30.0)
        async with asyncio.timeout(20):
            await EventClient(talk, source, takes_over=stock).run()
    return talk.record


both = pytest.mark.parametrize("kind", ["stream", "stock"])


@both
async def test_a_broken_stream_is_resumed_after_the_last_number(kind: str) -> None:
    api = Api(
        (0, [CREATED, delta("t0 "), delta("t9 ")]), (1_000_000, [RESUMED, delta("t1 "), COMPLETED])
    )
    record = await run(api, kind)
    assert api.asked == [
        ("POST", "/v1/responses", "conv_1-1"),
        ("GET", "/v1/responses/resp_1", None),
    ]
    assert api.queries == [{}, {"stream": "true", "starting_after": "2"}]
    answer = record.answers["resp_1"]
    assert (answer.text, answer.status, answer.differed) == ("t0 t1 ", "completed", False)
    assert answer.legs == ([] if kind == "stock" else ["continue"])
    assert record.gaps == []
    assert sum(record.troubles.values()) == 1
    assert record.messages[0].acknowledged


@both
async def test_what_may_have_arrived_is_asked_again_with_its_key(kind: str) -> None:
    taken = {"code": "duplicate_id", "message": "taken", "response_id": "resp_1"}
    api = Api(
        (503, {"code": "host_unavailable", "message": "away"}),
        (409, taken),
        (0, [CREATED, delta("t0 "), delta("t1 "), COMPLETED]),
    )
    record = await run(api, kind)
    assert [asked[0] for asked in api.asked] == ["POST", "POST", "GET"]
    assert api.asked[0][2] == api.asked[1][2] == "conv_1-1"
    assert record.messages[0].response_id == "resp_1"
    assert record.messages[0].acknowledged
    assert record.answers["resp_1"].text == "t0 t1 "
    assert record.troubles == {"refused: host_unavailable": 1}


@both
async def test_a_refusal_for_good_is_not_tried_again(kind: str) -> None:
    api = Api((400, {"code": "invalid_value", "message": "no"}))
    record = await run(api, kind)
    assert len(api.asked) == 1
    assert record.messages[0].refused == "400 invalid_value"
    assert not record.messages[0].acknowledged
