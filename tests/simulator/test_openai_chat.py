"""Chat completions, as OpenAI's SDK reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.simulator.raw import ENDPOINTS, post
from tests.support.simulator import SimulatorProcess

SAY_HI: list[Any] = [{"role": "user", "content": "hi"}]


async def texts(stream: AsyncIterator[ChatCompletionChunk]) -> list[str]:
    return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]


async def test_numbered_tokens_arrive_one_by_one_and_end_with_stop(
    gpt: openai.AsyncOpenAI,
) -> None:
    stream = await gpt.chat.completions.create(
        model="scripted.tokens-5", messages=SAY_HI, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert [c.choices[0].delta.content or "" for c in chunks] == [
        "", "t0 ", "t1 ", "t2 ", "t3 ", "t4 ", "",
    ]  # fmt: skip
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * 6 + ["stop"]
    assert {c.id for c in chunks} == {chunks[0].id}
    assert {c.object for c in chunks} == {"chat.completion.chunk"}
    assert {c.model for c in chunks} == {"scripted.tokens-5"}


async def test_usage_comes_last_and_only_on_request(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="scripted.tokens-3",
        messages=SAY_HI,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    usage = chunks[-1].usage
    assert chunks[-1].choices == []
    assert usage is not None
    assert usage.completion_tokens == 3
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + 3
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 5


async def test_two_replies_have_different_ids(gpt: openai.AsyncOpenAI) -> None:
    first = await gpt.chat.completions.create(model="scripted.tokens-1", messages=SAY_HI)
    second = await gpt.chat.completions.create(model="scripted.tokens-1", messages=SAY_HI)
    assert first.id != second.id
    assert first._request_id != second._request_id


async def test_not_streamed_is_the_same_text_in_one_piece(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.chat.completions.create(model="scripted.tokens-4", messages=SAY_HI)
    assert whole.object == "chat.completion"
    assert whole.choices[0].message.content == "t0 t1 t2 t3 "
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_callers_limit_cuts_the_answer(
    gpt: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    options: dict[str, Any] = {name: 2, "stream": stream}
    answer: Any = await gpt.chat.completions.create(
        model="scripted.tokens-9", messages=SAY_HI, **options
    )
    if stream:
        chunks = [chunk async for chunk in answer]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        finish = chunks[-1].choices[0].finish_reason
    else:
        text, finish = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert (text, finish) == ("t0 t1 ", "length")


async def test_a_script_may_choose_the_finish(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.chat.completions.create(
        model="m",
        messages=SAY_HI,
        extra_headers={"x-simulator": "tokens=1;finish=content_filter"},
    )
    assert whole.choices[0].finish_reason == "content_filter"


async def test_a_reply_of_no_tokens_is_a_reply(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="scripted.tokens-0", messages=SAY_HI, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ""
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_jitter_changes_when_and_never_what(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="scripted.tokens-20.gap_ms-1.jitter_ms-8.seed-3", messages=SAY_HI, stream=True
    )
    assert "".join(await texts(stream)) == "".join(f"t{k} " for k in range(20))


async def test_a_conversation_is_remembered_and_quoting_is_exact(
    gpt: openai.AsyncOpenAI,
) -> None:
    asked = 'Say "früh" \\ 日本 🦦\n{"json": [1]}'
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "My name is Anna."}]},
        {"role": "assistant", "content": "Hello Anna!"},
        {"role": "user", "content": "What is my name?"},
    ]
    stream = await gpt.chat.completions.create(model="gpt", messages=messages, stream=True)
    assert "**Anna**" in "".join(await texts(stream))
    stream = await gpt.chat.completions.create(
        model="gpt", messages=[{"role": "user", "content": f"repeat: {asked}"}], stream=True
    )
    said = "".join(await texts(stream))
    assert "".join(said.split()) == "".join(asked.split())


async def test_models(gpt: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in gpt.models.list()]
    assert "simulated" in listed
    assert (await gpt.models.retrieve("anything")).id == "anything"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eDp5"}, {"x-goog-api-key": "k"}])
async def test_no_key_is_refused_in_openais_words(
    simulator: SimulatorProcess, path: str, headers: dict[str, str]
) -> None:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        answer = await client.post(path, json={}, headers=headers)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": SAY_HI}, "model"),
        ({"model": "", "messages": SAY_HI}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": "hi"}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages[0]"),
        ({"model": "m", "messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": [3]}]}, "messages[0].content"),
        ({"model": "m", "messages": SAY_HI, "max_tokens": 0}, "max_tokens"),
        ({"model": "m", "messages": SAY_HI, "max_tokens": True}, "max_tokens"),
        ({"model": "m", "messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ],
)
async def test_a_wrong_request_is_refused_by_field(
    http: httpx2.AsyncClient, body: dict[str, Any], param: str
) -> None:
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"", b"\xff\xfe", b'{"model":"\\ud800"}'])
async def test_a_body_that_is_no_json_object_is_refused(
    http: httpx2.AsyncClient, body: bytes
) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1beta/models/m:generateContent"):
        answer = await http.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_mistaken_script_is_refused_before_anything_starts(
    http: httpx2.AsyncClient, endpoint: str
) -> None:
    head, _, body = post(endpoint, "").partition(b"\r\n\r\n")
    path = head.split()[1].decode()
    answer = await http.post(path, content=body, headers={"x-simulator": "fault=explode"})
    assert answer.status_code == 400
    assert "unknown fault 'explode'" in answer.json()["error"]["message"]
