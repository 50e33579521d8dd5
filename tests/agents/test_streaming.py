"""What a well-behaved server never does, and what goes over the wire, seen byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from agents import streaming
from agents.registry import build
from agents.spec import AgentSpec
from agents.streaming import StreamingAgent
from contracts.agents import End, ModelRequest
from contracts.errors import (
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tests.agents.canned import LAST, CannedServer, Script, chunk, head, stream, whole
from tests.agents.conformance import KEY, PATIENCE_S, check_error, collect, failure, said, until

HELLO = ModelRequest("m", said(("user", "Hi.")))


def word(text: str, reason: str | None = None) -> str:
    choice = {"delta": {"content": text}, "finish_reason": reason}
    return orjson.dumps({"choices": [choice]}).decode()


def data(event: str) -> bytes:
    return chunk(f"data: {event}\n\n")


GOOD = stream(word("a"), word("b", "stop"), "[DONE]")
END = End("stop", None)


@asynccontextmanager
async def talking_to(
    *scripts: Script, **changes: Any
) -> AsyncIterator[tuple[StreamingAgent, CannedServer]]:
    """An agent on OpenAI's chat wire, and the server it talks to."""
    async with CannedServer(*scripts) as server:
        values: dict[str, Any] = {
            "provider": "openai", "base_url": server.url, "api_key": KEY, **changes
        }  # fmt: skip
        agent = cast(StreamingAgent, build(AgentSpec("a", model="m", **values)))
        try:
            yield agent, server
        finally:
            await agent.aclose()


async def answer(agent: StreamingAgent) -> tuple[str, End]:
    texts, [end] = await collect(agent, HELLO)
    return "".join(texts), end


async def test_what_is_sent() -> None:
    cookie = [head("Set-Cookie: a=b; Path=/"), data(word("a", "stop")), data("[DONE]"), LAST]
    async with talking_to(cookie) as (agent, server):
        await answer(agent)
        await answer(agent)
        for line, headers, body in server.requests:
            assert line == "POST /chat/completions HTTP/1.1"
            assert headers["host"] == f"127.0.0.1:{server.port}"
            assert headers["authorization"] == f"Bearer {KEY}"
            assert headers["content-type"] == "application/json"
            assert headers["accept-encoding"] == "identity"
            assert headers["content-length"] == str(len(body))
            assert "cookie" not in headers
            assert not [name for name in headers if name.startswith("x-stainless")]


@pytest.mark.parametrize(
    ("own", "field"), [("https://api.openai.com/v1", "max_completion_tokens"), (None, "max_tokens")]
)
async def test_the_limit_goes_by_the_name_that_the_server_knows(
    own: str | None, field: str
) -> None:
    base_url = own or "http://127.0.0.1:1/v1"
    agent = cast(Any, build(AgentSpec("a", "openai", "m", api_key=KEY, base_url=base_url)))
    body = orjson.loads(agent._wire.ask(ModelRequest("m", (), max_output_tokens=9)).body)
    await agent.aclose()
    assert {name: value for name, value in body.items() if "max" in name} == {field: 9}


async def test_no_key_means_none_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "sk-of-the-environment")
    async with talking_to(GOOD, api_key=None) as (agent, server):
        await answer(agent)
        assert server.requests[0][1]["authorization"] == "Bearer none"
    async with talking_to([head(), LAST], provider="gemini", api_key=None) as (agent, server):
        await failure(agent, HELLO)
        assert server.requests[0][1]["x-goog-api-key"] == "none"


async def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with talking_to(GOOD) as (agent, _):
        assert await answer(agent) == ("ab", END)


async def test_a_large_request() -> None:
    async with talking_to(GOOD) as (agent, server):
        long = "ä" * 1_000_000
        await collect(agent, ModelRequest("m", said(("user", long))))
        assert orjson.loads(server.requests[0][2])["messages"][0]["content"] == long


async def test_characters_torn_over_reads() -> None:
    raw = f"data: {word('Grüße 🦊 日本')}\r\n\r\ndata: {word('', 'stop')}\n\ndata: [DONE]\n\n"
    pieces = [bytes([byte]) for byte in raw.encode()]
    async with talking_to([head(), *map(chunk, pieces), LAST]) as (agent, _):
        assert await answer(agent) == ("Grüße 🦊 日本", END)


async def test_what_arrives_together_is_one_delta() -> None:
    both = chunk(f"data: {word('a')}\n\ndata: {word('b')}\n\n")
    async with talking_to([head(), both, data(word("", "stop")), LAST]) as (agent, _):
        texts, _ = await collect(agent, HELLO)
        assert texts == ["ab"]


async def test_a_body_that_ends_with_its_connection() -> None:
    body = f"data: {word('a', 'stop')}\n\ndata: [DONE]\n\n".encode()
    async with talking_to([head(chunked=False), body, "close"]) as (agent, _):
        assert await answer(agent) == ("a", END)


async def test_a_body_that_ends_before_its_length() -> None:
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + f"data: {word('a')}\n\n".encode()
    async with talking_to([short, "close"]) as (agent, _):
        text, error = await failure(agent, HELLO)
        assert (text, type(error)) == ("a", ProviderInterrupted)


@pytest.mark.parametrize("what", ["reset", "close", "hang"])
async def test_nothing_takes_an_end_back(what: Any) -> None:
    """The model said that it is done: what becomes of the connection does not matter."""
    script = [head(), data(word("a", "stop")), what]
    async with talking_to(script, timeout_s=1.0) as (agent, _):
        assert await answer(agent) == ("a", END)


async def test_done_without_a_reason() -> None:
    async with talking_to(stream(word("a"), "[DONE]")) as (agent, _):
        text, error = await failure(agent, HELLO)
        assert (text, type(error)) == ("a", ProviderInterrupted)


async def test_a_connection_is_used_again() -> None:
    """Also where the last chunk of the framing comes after the end of the answer."""
    async with talking_to(GOOD) as (agent, server):

        async def free() -> bool:
            return agent.running == 0

        for _ in range(5):
            assert await answer(agent) == ("ab", END)
            await until(free)
        assert len(server.requests) == 5
        assert server.connections == 1


async def test_a_body_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_LINGER_S", 0.05)
    script = [head(), data(word("a", "stop")), data("[DONE]"), "hang"]
    async with talking_to(script) as (agent, server):
        assert await answer(agent) == ("a", END)
        assert agent.running == 1, "its connection is not free yet"
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()
        assert agent.running == 0


async def test_closing_does_not_wait_for_a_body_that_never_ends() -> None:
    script = [head(), data(word("a", "stop")), data("[DONE]"), "hang"]
    async with talking_to(script) as (agent, server):
        assert await answer(agent) == ("a", END)
        await agent.aclose()
        assert agent.running == 0
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()


async def test_a_fault_does_not_return_its_connection() -> None:
    async with talking_to(stream(word("a"), "{"), GOOD) as (agent, server):
        await failure(agent, HELLO)
        assert await answer(agent) == ("ab", END)
        assert server.connections == 2


async def test_bytes_keep_a_stream_alive() -> None:
    """The limit is on silence, and a comment is not silence."""
    pings = [chunk(": ping\n\n")] * 1600  # at least two milliseconds apart
    script = [head(), *pings, *GOOD[1:]]
    async with talking_to(script, timeout_s=3.0) as (agent, _):
        assert await answer(agent) == ("ab", END)


async def test_a_caller_that_takes_its_time_is_not_the_providers_silence() -> None:
    async with talking_to(GOOD, timeout_s=0.5) as (agent, _):
        items = []
        async for item in agent.stream(HELLO):
            await asyncio.sleep(0.8)
            items.append(item)
        assert items[-1] == END


async def test_no_stream_lasts_for_ever() -> None:
    pings = [chunk(": ping\n\n")] * 5000
    script = [head(), data(word("a")), *pings]
    async with talking_to(script, total_timeout_s=2.0) as (agent, _):
        text, error = await failure(agent, HELLO)
        assert (text, type(error)) == ("a", ProviderTimeout)
        assert "not complete in time" in error.message


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 X", "308 X"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with CannedServer(GOOD) as other:
        away = whole("", f"Location: {other.url}/v1/chat/completions", status=status)
        async with talking_to(away) as (agent, _):
            _, error = await failure(agent, HELLO)
            assert type(error) is ProviderRejected
            assert "base_url" in error.message
        assert other.requests == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error": {"code": "rate_limit_exceeded", "message": "x"}}', ProviderRateLimited),
        ('{"choices": [{"message": {"content": "whole"}}]}', ProviderProtocol),
        ("[", ProviderProtocol),
    ],
)
async def test_an_answer_that_is_no_stream(body: str, kind: type[ProviderError]) -> None:
    async with talking_to(whole(body, status="200 OK")) as (agent, _):
        _, error = await failure(agent, HELLO)
        assert type(error) is kind


async def test_a_compressed_answer_is_refused() -> None:
    """A stream would wait for its compressor."""
    async with talking_to([head("Content-Encoding: gzip"), chunk("\x1f"), LAST]) as (agent, _):
        _, error = await failure(agent, HELLO)
        assert type(error) is ProviderProtocol
        assert "'gzip'" in error.message


async def test_an_answer_may_say_that_it_is_not_compressed() -> None:
    plain = head("Content-Encoding: identity")
    whole = head("Content-Encoding: identity", media="application/json")
    async with talking_to([plain, *GOOD[1:]], [whole, chunk("{}"), LAST]) as (agent, _):
        assert await answer(agent) == ("ab", END)
        _, error = await failure(agent, HELLO)
        assert type(error) is ProviderProtocol
        assert "does not stream" in error.message


async def test_a_server_that_speaks_no_http() -> None:
    async with talking_to([b"SSH-2.0-OpenSSH_9.9\r\n", "hang"]) as (agent, _):
        _, error = await failure(agent, HELLO)
        assert type(error) is ProviderProtocol


async def test_broken_framing_within_the_answer() -> None:
    async with talking_to([head(), data(word("a")), b"nonsense\r\n", "hang"]) as (agent, _):
        text, error = await failure(agent, HELLO)
        assert (text, type(error)) == ("a", ProviderInterrupted)


@pytest.mark.parametrize("media", ["text/html", "application/json"])
async def test_an_error_page_of_any_size(media: str) -> None:
    page = [head(status="502 Bad Gateway", media=media), *[chunk(b"x" * 65536)] * 40, "hang"]
    async with talking_to(page) as (agent, _):
        _, error = await failure(agent, HELLO)
        assert type(error) is ProviderUnavailable
        assert len(error.message) < 200


async def test_an_error_whose_body_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_ERROR_BODY_S", 0.1)
    async with talking_to([head("Retry-After: 3", status="429 X"), "hang"]) as (agent, _):
        _, error = await failure(agent, HELLO)
        assert (type(error), error.retry_after) == (ProviderRateLimited, 3.0)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("provider", ["openai", "gemini"])
async def test_a_provider_that_quotes_the_key(provider: str, status: int) -> None:
    quoted = f"Bad key {KEY}, or {KEY[:12]}, in Authorization: Bearer {KEY} or ?key={KEY}"
    body = orjson.dumps({"error": {"message": quoted, "code": status, "status": KEY}}).decode()
    refusal = whole(body, f"X-Key: {KEY}", status=f"{status} {KEY}")
    async with talking_to(refusal, provider=provider) as (agent, _):
        _, error = await failure(agent, HELLO)
        check_error(error, KEY[:12])
    async with talking_to([head(), chunk(f"data: {body}\r\n\r\n")], provider=provider) as (a, _):
        _, error = await failure(a, HELLO)
        check_error(error, KEY[:12])


def test_one_loop_only() -> None:
    agent = build(AgentSpec("a", "openai", "m", api_key=KEY, base_url="http://127.0.0.1:9"))

    async def ask() -> None:
        with pytest.raises(ProviderUnavailable):
            await collect(agent, HELLO)

    async def ask_again() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            await collect(agent, HELLO)
        await agent.aclose()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(ask())
        second.run(ask_again())


async def test_gemini_model_names_and_the_address() -> None:
    async with talking_to([head(), LAST], provider="gemini") as (agent, server):
        for model in ("m", "models/m", "tunedModels/mine", "ä b?c", "m"):
            await failure(agent, ModelRequest(model, said(("user", "Hi."))))
    verb = ":streamGenerateContent?alt=sse HTTP/1.1"
    paths = ["models/m", "models/m", "tunedModels/mine", "models/%C3%A4%20b%3Fc", "models/m"]
    assert [line for line, _, _ in server.requests] == [f"POST /v1/{p}{verb}" for p in paths]


async def test_gemini_leaves_out_what_has_no_text() -> None:
    async with talking_to([head(), LAST], provider="gemini") as (agent, server):
        turns = said(("user", "Hi."), ("assistant", ""), ("user", "Still there?"))
        await failure(agent, ModelRequest("m", turns))
    contents = orjson.loads(server.requests[0][2])["contents"]
    assert [content["parts"][0]["text"] for content in contents] == ["Hi.", "Still there?"]


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_frees_the_place_at_once(how: str) -> None:
    """What a stream that ended may wait for, one that is left may not."""
    async with talking_to([head(), data(word("a")), "hang"]) as (agent, server):
        heard = asyncio.Event()

        async def listen() -> None:
            async with aclosing(agent.stream(HELLO)) as items:
                async for _ in items:
                    heard.set()
                    if how == "close":
                        return

        task = asyncio.ensure_future(listen())
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
            if how == "cancel":
                task.cancel()
            await asyncio.wait([task])
            assert agent.running == 0
            await server.left.wait()


BEGUN = replace(HELLO, said="Once upon a time there was a fox")


async def test_what_a_continuation_repeats_is_taken_out() -> None:
    twice = stream(word("there was"), word(" a fox"), word(" who sang."), word("", "stop"))
    async with talking_to(twice) as (agent, server):
        texts, [end] = await collect(agent, BEGUN)
        assert "".join(texts) == " who sang."
        assert end == END
        body = orjson.loads(server.requests[0][2])
        assert [said["role"] for said in body["messages"]] == ["user", "assistant", "user"]
        assert body["messages"][1]["content"] == BEGUN.said


async def test_without_a_begun_answer_nothing_is_taken_out() -> None:
    async with talking_to(stream(word("there was a fox"), word("", "stop"))) as (agent, _):
        texts, _ = await collect(agent, HELLO)
        assert "".join(texts) == "there was a fox"


async def test_what_looked_like_a_repetition_comes_out_when_the_stream_is_over() -> None:
    whole = stream(word("there was a"), word("", "stop"))
    torn = [head(), data(word("there was a")), "close"]
    broken = stream(word("there was a"), "{")
    async with talking_to(whole, torn, broken) as (agent, _):
        texts, [end] = await collect(agent, BEGUN)
        assert ("".join(texts), end) == ("there was a", END)
        for kind in (ProviderInterrupted, ProviderProtocol):
            text, error = await failure(agent, BEGUN)
            assert (text, type(error)) == ("there was a", kind)
