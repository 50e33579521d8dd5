"""Gemini's two methods, as Google's SDK reads them, and as they look on the wire."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tests.simulator.raw import connect, post, unchunked
from tests.support.simulator import SimulatorProcess

SAY_HI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


async def test_a_stream_counts_up_and_ends_with_its_reason(gemini: genai.Client) -> None:
    stream = await gemini.aio.models.generate_content_stream(
        model="scripted.tokens-4", contents="hi"
    )
    chunks: list[Any] = [chunk async for chunk in stream]
    assert [chunk.text or "" for chunk in chunks] == ["t0 ", "t1 ", "t2 ", "t3 ", ""]
    reasons = [chunk.candidates[0].finish_reason for chunk in chunks]
    assert reasons == [None] * 4 + [types.FinishReason.STOP]
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks]
    assert counts == [1, 2, 3, 4, 4]
    last = chunks[-1].usage_metadata
    assert last.total_token_count == last.prompt_token_count + 4
    assert chunks[-1].model_version == "scripted.tokens-4"


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_the_default_transport_reads_it_too(simulator: SimulatorProcess) -> None:
    """With aiohttp importable the SDK takes that; the frames must suit both."""
    client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=simulator.url))
    try:
        stream = await client.aio.models.generate_content_stream(
            model="scripted.tokens-3", contents="hi"
        )
        assert "".join([chunk.text or "" async for chunk in stream]) == "t0 t1 t2 "
    finally:
        await client.aio.aclose()


async def test_not_streamed(gemini: genai.Client) -> None:
    answer: Any = await gemini.aio.models.generate_content(model="scripted.tokens-2", contents="hi")
    assert answer.text == "t0 t1 "
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.candidates_token_count == 2


async def test_a_limit_and_a_filter_are_reasons(gemini: genai.Client) -> None:
    cut: Any = await gemini.aio.models.generate_content(
        model="scripted.tokens-9",
        contents="hi",
        config=types.GenerateContentConfig(max_output_tokens=2),
    )
    assert (cut.text, cut.candidates[0].finish_reason) == ("t0 t1 ", types.FinishReason.MAX_TOKENS)
    filtered: Any = await gemini.aio.models.generate_content(
        model="scripted.tokens-1.finish-content_filter", contents="hi"
    )
    assert filtered.candidates[0].finish_reason == types.FinishReason.SAFETY


async def test_history_and_system_instruction_are_read(gemini: genai.Client) -> None:
    turns: list[Any] = [
        types.Content(role="user", parts=[types.Part(text="My name is Anna.")]),
        types.Content(role="model", parts=[types.Part(text="Hello!")]),
        types.Content(role="user", parts=[types.Part(text="What is my name?")]),
    ]
    answer = await gemini.aio.models.generate_content(model="gemini", contents=turns)
    assert "**Anna**" in (answer.text or "")
    answer = await gemini.aio.models.generate_content(
        model="gemini",
        contents="What are your instructions?",
        config=types.GenerateContentConfig(system_instruction="Speak like a heron."),
    )
    assert "Speak like a heron." in (answer.text or "")


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("name", ["system_instruction", "systemInstruction"])
async def test_every_version_and_both_casings(
    http: httpx2.AsyncClient, version: str, name: str
) -> None:
    limit = {"maxOutputTokens": 3} if "I" in name else {"max_output_tokens": 3}
    config = "generationConfig" if "I" in name else "generation_config"
    body = {
        "contents": [{"parts": {"text": "your instructions?"}}],
        name: {"parts": [{"text": "abc def ghi"}]},
    }
    answer = await http.post(f"/{version}/models/m:generateContent", json=body)
    assert "abc def ghi" in answer.text
    answer = await http.post(f"/{version}/models/m:generateContent", json={**body, config: limit})
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"


async def test_the_wire_has_data_lines_and_nothing_else(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post("gemini", "tokens=3"))
        status, headers = await wire.head()
        assert status == 200
        assert headers["content-type"].startswith("text/event-stream")
        content = unchunked(await wire.until(b"\r\n0\r\n\r\n"))
    frames = content.split(b"\r\n\r\n")
    assert frames.pop() == b""
    assert len(frames) == 4
    for frame in frames:
        assert frame.startswith(b"data: {")
        assert b"\n" not in frame
        json.loads(frame.removeprefix(b"data: "))


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"x-goog-api-key": "k"}, ""), ({"authorization": "Bearer k"}, ""), ({}, "?key=k")],
)
async def test_any_way_to_bring_a_key(
    simulator: SimulatorProcess, headers: dict[str, str], query: str
) -> None:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        answer = await client.post(
            f"/v1/models/m:generateContent{query}", json=SAY_HI, headers=headers
        )
    assert answer.status_code == 200


async def test_no_key_is_refused_in_googles_words(simulator: SimulatorProcess) -> None:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        answer = await client.post("/v1beta/models/m:generateContent", json=SAY_HI)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")


async def test_the_sdk_understands_a_refusal(gemini: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await gemini.aio.models.generate_content(model="scripted.tokns-1", contents="hi")
    assert caught.value.code == 400
    assert caught.value.status == "INVALID_ARGUMENT"
    assert "unknown key 'tokns'" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": []},
        {"contents": "hi"},
        {"contents": ["hi"]},
        {"contents": [{"role": "boss", "parts": []}]},
        {"contents": [{"role": {}, "parts": []}]},
        {"contents": [{"role": "user", "parts": 3}]},
        {**SAY_HI, "system_instruction": 3},
        {**SAY_HI, "generationConfig": {"maxOutputTokens": -1}},
    ],
)
async def test_a_wrong_request_is_refused(http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    answer = await http.post("/v1beta/models/m:generateContent", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


async def test_a_stream_is_asked_for_with_alt_sse(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1beta/models/m:streamGenerateContent", json=SAY_HI)
    assert answer.status_code == 400
    assert "alt=sse" in answer.json()["error"]["message"]
    answer = await http.post("/v1beta/models/m:streamGenerateContent?x=1&alt=sse", json=SAY_HI)
    assert answer.status_code == 200


async def test_models_are_listed_in_googles_shape(gemini: genai.Client) -> None:
    listed = [model.name async for model in await gemini.aio.models.list()]
    assert "models/simulated" in listed
    assert (await gemini.aio.models.get(model="anything")).name == "models/anything"
