"""Chat completions as the stock client uses them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from contracts.agents import End
from contracts.errors import (
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from contracts.messages import Usage
from tests.gateway.house import House, Stores, eventually, open_house

HELLO: list[Any] = [{"role": "user", "content": "hi"}]


async def collect(house: House, **fields: Any) -> list[Any]:
    stream = await house.client.chat.completions.create(
        model="echo", messages=HELLO, stream=True, **fields
    )
    return [chunk async for chunk in stream]


async def test_an_answer_comes_whole(house: House) -> None:
    house.agent.say("Hel", "lo", End("stop", Usage(5, 2, 1)))
    answer = await house.client.chat.completions.create(
        model="echo", messages=HELLO, temperature=0.5, max_tokens=9, user="ann"
    )
    [choice] = answer.choices
    assert (choice.message.content, choice.message.role) == ("Hello", "assistant")
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (5, 7)
    assert answer.model == "echo"
    [request] = house.agent.requests
    assert (request.temperature, request.max_output_tokens) == (0.5, 9)


async def test_an_answer_comes_in_chunks(house: House) -> None:
    house.agent.answer("Hel", "l%d ", '"\n\u2028🙂')
    chunks = await collect(house)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == 'Hell%d "\n\u2028🙂'
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert {chunk.choices[0].finish_reason for chunk in chunks[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_comes_last_where_it_is_asked_for(house: House) -> None:
    house.agent.say("x", End("stop", Usage(5, 2)))
    chunks = await collect(house, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 7
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_stream_ends_with_its_marker(house: House) -> None:
    house.agent.answer("x")
    body = {"model": "echo", "messages": HELLO, "stream": True}
    answer = await house.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    for line in answer.text.splitlines()[:-2]:
        assert not line or json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize(("reason", "finish"), [("length", "length"), ("content_filter",) * 2])
async def test_why_it_ended(house: House, reason: Any, finish: str) -> None:
    for _ in range(2):
        house.agent.say("x", End(reason, None))
    whole = await house.client.chat.completions.create(model="echo", messages=HELLO)
    assert whole.choices[0].finish_reason == finish
    # The provider did not say, so it was estimated.
    assert whole.usage is not None and whole.usage.completion_tokens >= 1
    chunks = await collect(house)
    assert chunks[-1].choices[0].finish_reason == finish


async def test_the_whole_conversation_comes_along_and_nothing_is_kept(house: House) -> None:
    house.agent.answer("4")
    await house.client.chat.completions.create(
        model="auto",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": t} for t in ("2+", "2?")]},
            {"role": "assistant", "content": "5"},
            {"role": "user", "content": "Sure?"},
        ],
    )
    said = [(message.role, message.text) for message in house.agent.requests[0].messages]
    assert said == [
        ("developer", "Be brief."),
        ("user", "2+2?"),
        ("assistant", "5"),
        ("user", "Sure?"),
    ]
    assert await house.data() == [[], [], [], []]
    await eventually(house.runtime.load, 0)


FAILURES = [
    (ProviderRejected("No."), 502),
    (ProviderUnauthorized("No."), 502),
    (ProviderRateLimited("Slow."), 429),
    (ProviderUnavailable("Away."), 502),
    (ProviderTimeout("Late."), 504),
]


@pytest.mark.parametrize(("error", "status"), FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_token_is_an_http_error(
    house: House, error: Any, status: int, stream: bool
) -> None:
    house.agent.say(error, error)  # the turn itself tries twice where that makes sense
    with pytest.raises(openai.APIStatusError) as caught:
        await house.client.chat.completions.create(model="echo", messages=HELLO, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.code == error.cause_code
    assert caught.value.response.headers["x-should-retry"] == str(error.retryable).lower()
    await eventually(house.runtime.load, 0)


async def test_a_failure_after_it_is_told_in_band(house: House) -> None:
    house.agent.say("so far", ProviderUnavailable("Away."), ProviderUnavailable("Away."))
    said = ""
    with pytest.raises(openai.APIError) as caught:
        async for chunk in await house.client.chat.completions.create(
            model="echo", messages=HELLO, stream=True
        ):
            said += chunk.choices[0].delta.content or ""
    assert said == "so far"
    body: Any = caught.value.body
    assert body["code"] == "provider_unavailable"
    assert body["request_id"].startswith("req_")


async def test_a_failure_after_some_text_is_an_error_of_the_whole(house: House) -> None:
    house.agent.say("so far", ProviderUnavailable("Away."), ProviderUnavailable("Away."))
    with pytest.raises(openai.InternalServerError):
        await house.client.chat.completions.create(model="echo", messages=HELLO)


async def test_a_caller_that_leaves_a_stream_ends_its_turn(house: House) -> None:
    house.agent.say("one ")
    stream = await house.client.chat.completions.create(model="echo", messages=HELLO, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert house.agent.open == 1
    await stream.close()
    await eventually(lambda: house.agent.open, 0)
    await eventually(house.runtime.load, 0)
    assert house.readers() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_before_the_first_token_too(house: House, stream: bool) -> None:
    body = {"model": "echo", "messages": HELLO, "stream": stream}
    asking = asyncio.ensure_future(house.client.chat.completions.create(**body))  # type: ignore[call-overload]
    await eventually(lambda: len(house.agent.requests), 1)
    assert house.agent.open == 1
    asking.cancel()
    await asyncio.wait([asking])
    await eventually(lambda: house.agent.open, 0)
    await eventually(house.runtime.load, 0)


async def test_a_host_that_is_lost_is_told_in_band(house: House) -> None:
    house.agent.say("one ")
    stream = await house.client.chat.completions.create(model="echo", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                await house.break_pipes()
    body: Any = caught.value.body
    assert body["code"] == "host_unavailable"


async def test_a_silent_stream_shows_signs_of_life(stores: Stores) -> None:
    async with open_house(stores, keepalive_s=0.05) as house:
        house.agent.say("one ")
        body = {"model": "echo", "messages": HELLO, "stream": True}
        text = ""
        async with (
            asyncio.timeout(20),
            house.http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            async for chunk in answer.aiter_text():
                text += chunk
                if text.endswith(": keep-alive\n" * 2):
                    house.agent.answer("two")
        assert text.endswith("data: [DONE]\n\n")


async def test_an_unknown_model_is_a_404(house: House) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await house.client.chat.completions.create(model="nobody", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert house.agent.requests == []
