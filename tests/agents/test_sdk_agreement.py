"""Our bodies and our readings are those of the providers' own SDKs, over the same sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import openai
import orjson
import pytest
from google import genai
from google.genai import types

from agents.registry import build
from agents.sdk import caught
from agents.spec import AgentSpec
from contracts.agents import End, ModelRequest
from contracts.messages import Usage
from tests.agents.canned import LAST, CannedServer, chunk, head
from tests.agents.conformance import KEY, collect, said
from tests.agents.samples import ENDED, SAID, STREAMS
from tests.agents.simulated import SIMULATED
from tests.support.simulator import SimulatorProcess

Reading = tuple[str, End]
TURNS = (("user", "My name is Zoë."), ("assistant", "Hello!"), ("user", "What is my name?"))
FULL = ModelRequest(
    "m", said(*TURNS), "Be brief.", temperature=0.5, top_p=0.25, max_output_tokens=99
)
BARE = ModelRequest("m", said(*TURNS))


async def chat_as_the_sdk_reads(base_url: str, model: str) -> Reading:
    text, reason, usage = "", None, None
    async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say something."}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for event in stream:
            for choice in event.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
            usage = event.usage or usage
    assert usage is not None
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens if details else 0) or 0
    return text, End(reason, Usage(usage.prompt_tokens, usage.completion_tokens, cached))  # type: ignore[arg-type]


async def responses_as_the_sdk_reads(base_url: str, model: str) -> Reading:
    last: Any = None
    async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
        async for event in await client.responses.create(
            model=model, input="Say something.", stream=True
        ):
            last = getattr(event, "response", last)
    reasons = {"max_output_tokens": "length", "content_filter": "content_filter"}
    details = last.incomplete_details
    reason: Any = "stop" if details is None else reasons[details.reason]
    usage = last.usage
    cached = usage.input_tokens_details.cached_tokens
    return last.output_text, End(reason, Usage(usage.input_tokens, usage.output_tokens, cached))


async def gemini_as_the_sdk_reads(base_url: str, model: str) -> Reading:
    text, reason, usage = "", None, None
    async with httpx2.AsyncClient(trust_env=False) as http:
        options = types.HttpOptions(base_url=base_url, httpx_async_client=http)
        client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
        async for event in await client.aio.models.generate_content_stream(
            model=model, contents="Say something."
        ):
            for candidate in event.candidates or []:
                text += "".join(
                    part.text or ""
                    for part in (candidate.content.parts if candidate.content else None) or []
                    if not part.thought
                )
                reason = candidate.finish_reason or reason
            usage = event.usage_metadata or usage
    reasons: dict[Any, Any] = {
        types.FinishReason.STOP: "stop",
        types.FinishReason.MAX_TOKENS: "length",
        types.FinishReason.SAFETY: "content_filter",
    }
    assert usage is not None
    made = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    cached = usage.cached_content_token_count or 0
    return text, End(reasons[reason], Usage(usage.prompt_token_count or 0, made, cached))


SDK: dict[str, Callable[[str, str], Awaitable[Reading]]] = {
    "openai": chat_as_the_sdk_reads,
    "openai-responses": responses_as_the_sdk_reads,
    "gemini": gemini_as_the_sdk_reads,
}


async def as_we_read(spec: AgentSpec, model: str) -> Reading:
    agent = build(spec)
    try:
        texts, [end] = await collect(agent, ModelRequest(model, said(("user", "Say something."))))
    finally:
        await agent.aclose()
    return "".join(texts), end


@pytest.mark.parametrize("kind", SDK)
@pytest.mark.parametrize(
    "model",
    [
        "scripted.tokens-40.seed-1",
        "scripted.tokens-40.gap_ms-2.jitter_ms-3.seed-1",
        "scripted.tokens-1.finish-length",
        "scripted.tokens-0",
        "scripted.tokens-3.finish-content_filter",
        "simulated",
    ],
)
async def test_of_the_simulator(kind: str, model: str, agents_simulator: SimulatorProcess) -> None:
    provider = SIMULATED[kind](agents_simulator)
    assert provider.spec.base_url is not None
    theirs = await SDK[kind](provider.spec.base_url, model)
    assert await as_we_read(provider.spec, model) == theirs
    assert theirs[0] or model.endswith("tokens-0")


@pytest.fixture(params=SDK)
async def canned(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, CannedServer]]:
    """A server that plays the sample stream of one provider, in pieces that tear characters."""
    kind: str = request.param
    raw = STREAMS[kind]
    if kind == "gemini":
        pieces = [raw[n : n + 37] for n in range(0, len(raw), 37)]
    else:
        pieces = [raw[n : n + 61] for n in range(0, len(raw), 61)]
    async with CannedServer([head(), *map(chunk, pieces), LAST]) as server:
        yield kind, server


async def test_of_the_sample(canned: tuple[str, CannedServer]) -> None:
    kind, server = canned
    assert await SDK[kind](server.url, "m") == (SAID, ENDED)
    provider, _, api = kind.partition("-")
    spec = AgentSpec("a", provider, "m", api_key=KEY, base_url=server.url, api=api or None)
    assert await as_we_read(spec, "m") == (SAID, ENDED)


def chat_as_the_sdk_asks(http: httpx2.Client, request: ModelRequest) -> None:
    client = openai.OpenAI(api_key=KEY, http_client=http, base_url="https://api.openai.com/v1")
    system = [{"role": "system", "content": request.instructions}]
    settings = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_completion_tokens": request.max_output_tokens,
    }
    messages: Any = system if request.instructions else []
    messages = messages + [{"role": m.role, "content": m.text} for m in request.messages]
    list(
        client.chat.completions.create(
            model=request.model,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            **{name: value for name, value in settings.items() if value is not None},  # type: ignore[arg-type]
        )
    )


def responses_as_the_sdk_asks(http: httpx2.Client, request: ModelRequest) -> None:
    client = openai.OpenAI(api_key=KEY, http_client=http, base_url="https://api.openai.com/v1")
    settings = {
        "instructions": request.instructions,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_output_tokens,
    }
    turns: Any = [{"role": m.role, "content": m.text} for m in request.messages]
    list(
        client.responses.create(
            model=request.model,
            input=turns,
            stream=True,
            store=False,
            **{name: value for name, value in settings.items() if value is not None},  # type: ignore[arg-type]
        )
    )


def gemini_as_the_sdk_asks(http: httpx2.Client, request: ModelRequest) -> None:
    unused = httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport())
    options = types.HttpOptions(httpx_client=http, httpx_async_client=unused)
    client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    roles = {"user": "user", "assistant": "model"}
    contents: Any = [
        types.Content(role=roles[m.role], parts=[types.Part(text=m.text)]) for m in request.messages
    ]
    config = types.GenerateContentConfig(
        system_instruction=request.instructions,
        temperature=request.temperature,
        top_p=request.top_p,
        max_output_tokens=request.max_output_tokens,
    )
    list(
        client.models.generate_content_stream(model=request.model, contents=contents, config=config)
    )


ASKS: dict[str, tuple[Callable[[httpx2.Client, ModelRequest], None], bytes]] = {
    "openai": (chat_as_the_sdk_asks, b"data: [DONE]\n\n"),
    "openai-responses": (responses_as_the_sdk_asks, b"data: [DONE]\n\n"),
    "gemini": (gemini_as_the_sdk_asks, b"data: {}\r\n\r\n"),
}


@pytest.mark.parametrize("request_", [FULL, BARE], ids=["full", "bare"])
@pytest.mark.parametrize("kind", ASKS)
async def test_of_the_request(
    kind: str, request_: ModelRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, credentials and body, at the provider's own address."""
    for name in ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    ask, reply = ASKS[kind]
    theirs = caught(lambda http: ask(http, request_), reply)
    provider, _, api = kind.partition("-")
    agent: Any = build(AgentSpec("a", provider, "m", api_key=KEY, api=api or None))
    try:
        ours = agent._wire.ask(request_)
    finally:
        await agent.aclose()
    assert str(ours.url) == str(theirs.url)
    body = orjson.loads(theirs.content)
    if body.get("generationConfig") == {}:
        del body["generationConfig"]  # says as much as nothing
    assert orjson.loads(ours.body) == body
    for name in ("authorization", "x-goog-api-key", "content-type", "user-agent"):
        assert agent.client.template.headers.get(name) == theirs.headers.get(name)
    assert KEY in str(dict(agent.client.template.headers))
