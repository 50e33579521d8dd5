"""Every fault, on every endpoint: what is on the wire, and what the SDKs make of it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx2
import openai
import pytest
from google import genai
from google.genai import errors

from simulator.script import STATUS_FAULTS
from tests.simulator.raw import ENDPOINTS, connect, counted, once_more, post, unchunked
from tests.support.simulator import SimulatorProcess

TERMINAL = {"chat": b"[DONE]", "responses": b"response.completed", "gemini": b'"finishReason"'}
SHAPES = {
    "rate_limit": ("rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
    "overloaded": ("service_unavailable", "UNAVAILABLE"),
    "server_error": (None, "INTERNAL"),
    "unauthorized": ("invalid_api_key", "UNAUTHENTICATED"),
    "bad_request": ("invalid_request", "INVALID_ARGUMENT"),
}


def tokens_in(content: bytes) -> list[int]:
    """The numbers of the tokens that came as deltas, in order; repetitions at the end apart."""
    return [int(n) for n in re.findall(rb'"(?:content|delta|text)":"t(\d+) "', content)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", sorted(STATUS_FAULTS))
async def test_a_status_comes_in_the_providers_own_shape(
    simulator: SimulatorProcess, endpoint: str, stream: bool, fault: str
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, f"fault={fault}", stream=stream))
        status, headers, body = await wire.answer()
        assert status == STATUS_FAULTS[fault]
        error = json.loads(body)["error"]
        code, word = SHAPES[fault]
        if endpoint == "gemini":
            assert (error["code"], error["status"]) == (status, word)
        else:
            assert error["code"] == code
            assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert headers.get("retry-after") == ("1" if fault == "rate_limit" else None)
        # A refusal is an answer: the connection lives on.
        wire.send(post(endpoint, "tokens=1"))
        assert (await wire.head())[0] == 200


async def test_retry_after_is_the_scripts_to_choose(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        for fault in ("rate_limit", "overloaded"):
            wire.send(post("chat", f"fault={fault};retry_after_s=7"))
            assert (await wire.answer())[1]["retry-after"] == "7"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("at", [0, 1, 3, 4])
async def test_truncate_ends_cleanly_without_a_terminal_marker(
    simulator: SimulatorProcess, endpoint: str, at: int
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, f"tokens=4;fault=truncate;at={at}"))
        assert (await wire.head())[0] == 200
        content = unchunked(await wire.until(b"0\r\n\r\n"))
    assert tokens_in(content) == list(range(at))
    assert TERMINAL[endpoint] not in content


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("at", [0, 2, 4])
async def test_abort_resets_after_every_promised_token_arrived(
    simulator: SimulatorProcess, endpoint: str, at: int
) -> None:
    content = b""
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, f"tokens=4;fault=abort;at={at}"))
        await wire.head()
        with pytest.raises(ConnectionResetError):
            while True:
                content += await wire.some()
    assert tokens_in(content) == list(range(at))
    assert b"\r\n0\r\n\r\n" not in content


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_in_band_error_ends_the_stream_with_an_error(
    simulator: SimulatorProcess, endpoint: str
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "tokens=4;fault=in_band_error;at=2"))
        await wire.head()
        content = unchunked(await wire.until(b"0\r\n\r\n"))
    assert tokens_in(content) == [0, 1]
    assert TERMINAL[endpoint] not in content
    last = json.loads(content.strip().rpartition(b"data: ")[2])
    if endpoint == "responses":
        assert (last["type"], last["code"]) == ("error", "service_unavailable")
    elif endpoint == "chat":
        assert last["error"]["code"] == "service_unavailable"
    else:
        assert next(iter(last)) == "error"
        assert last["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_malformed_spoils_one_token_and_goes_on_as_if_nothing_were(
    simulator: SimulatorProcess, endpoint: str
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "tokens=4;fault=malformed;at=2"))
        await wire.head()
        content = unchunked(await wire.until(b"\r\n0\r\n\r\n"))
    assert tokens_in(content)[:3] == [0, 1, 3]
    assert TERMINAL[endpoint] in content
    data = [line[6:] for line in content.splitlines() if line.startswith(b"data: {")]
    broken = [line for line in data if not _is_json(line)]
    assert len(broken) == 1
    assert b"t2 " in broken[0]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("at", [0, 4])
async def test_oversize_sends_one_token_that_is_too_long_for_anybody(
    simulator: SimulatorProcess, endpoint: str, at: int
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, f"tokens=4;fault=oversize;at={at}"))
        await wire.head()
        content = b""
        while TERMINAL[endpoint] not in content:
            content += await wire.some()
    lengths = [len(line) for line in content.splitlines()]
    assert max(lengths) > 1 << 20
    assert sum(length > 1 << 20 for length in lengths) == 1
    assert tokens_in(content)[:4] == [k for k in range(4) if k != at]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_stall_sends_its_tokens_and_then_nothing(
    simulator: SimulatorProcess, http: httpx2.AsyncClient, endpoint: str
) -> None:
    faulted = await counted(http, "faulted")
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "tokens=4;fault=stall;at=2"))
        await wire.head()
        content = b""
        while tokens_in(content) != [0, 1]:
            content += await wire.some()
        # Once it counts as a fault, the two tokens are all that will ever come.
        await once_more(http, "faulted", faulted)
        more = asyncio.ensure_future(wire.some())
        await counted(http, "active")
        assert not more.done()
        more.cancel()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_hang_never_answers(
    simulator: SimulatorProcess, http: httpx2.AsyncClient, endpoint: str, stream: bool
) -> None:
    faulted = await counted(http, "faulted")
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "fault=hang", stream=stream))
        await once_more(http, "faulted", faulted)
        more = asyncio.ensure_future(wire.some())
        await counted(http, "active")
        assert not more.done()
        more.cancel()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_reset_and_close_say_nothing(
    simulator: SimulatorProcess, endpoint: str, stream: bool
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "fault=close", stream=stream))
        assert await wire.rest() == b""
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "fault=reset", stream=stream))
        with pytest.raises(ConnectionResetError):
            await wire.rest()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_whole_answers_break_in_the_middle_of_their_body(
    simulator: SimulatorProcess, endpoint: str
) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "tokens=40;fault=malformed", stream=False))
        status, _, body = await wire.answer()
        assert status == 200
        assert not _is_json(body)
        wire.send(post(endpoint, "tokens=40;fault=in_band_error", stream=False))
        status, _, body = await wire.answer()
        assert status == 200
        assert "error" in json.loads(body)
        wire.send(post(endpoint, "tokens=40;fault=truncate", stream=False))
        _, headers = await wire.head()
        assert 0 < len(await wire.rest()) < int(headers["content-length"])
    async with connect(simulator.port) as wire:
        wire.send(post(endpoint, "tokens=40;fault=abort", stream=False))
        await wire.head()
        with pytest.raises(ConnectionResetError):
            while True:
                await wire.some()


async def test_abort_waits_until_a_slow_reader_has_its_tokens(
    simulator: SimulatorProcess, http: httpx2.AsyncClient
) -> None:
    count = 20_000
    faulted = await counted(http, "faulted")
    content = bytearray()
    async with connect(simulator.port, receive_buffer=4096) as wire:
        wire.writer.transport.pause_reading()
        wire.send(post("chat", f"tokens={count};fault=abort;at={count}"))
        await once_more(http, "active", 0)
        for _ in range(50):
            assert await counted(http, "faulted") == faulted
        wire.writer.transport.resume_reading()
        await wire.head()
        with pytest.raises(ConnectionResetError):
            while True:
                content += await wire.some()
    assert tokens_in(bytes(content)) == list(range(count))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ["rate_limit", "hang", "reset"])
async def test_a_client_may_leave_before_its_fault(
    simulator: SimulatorProcess, http: httpx2.AsyncClient, fault: str, stream: bool
) -> None:
    aborted = await counted(http, "aborted")
    async with connect(simulator.port) as wire:
        wire.send(post("chat", f"fault={fault};ttft_ms=600000", stream=stream))
        await once_more(http, "active", 0)
    await once_more(http, "aborted", aborted)


@pytest.mark.parametrize("script", ["fault=hang", "tokens=2;fault=stall"])
@pytest.mark.parametrize("stream", [True, False])
async def test_even_a_hang_has_an_end(script: str, stream: bool) -> None:
    with SimulatorProcess(args=("--hold-ms", "50")) as simulator:
        async with connect(simulator.port) as wire:
            wire.send(post("chat", script, stream=stream))
            answer = await wire.rest()
    assert (b"200 OK" in answer) == ("stall" in script)
    assert not answer.endswith(b"\r\n0\r\n\r\n")


async def test_times_lets_the_fault_strike_only_so_often(simulator: SimulatorProcess) -> None:
    script = "tokens=1;fault=overloaded;times=2;seed=4711"
    async with connect(simulator.port) as wire:
        seen: list[int] = []
        for _ in range(4):
            wire.send(post("chat", script, stream=False))
            seen.append((await wire.answer())[0])
    assert seen == [503, 503, 200, 200]


async def test_a_fault_without_at_strikes_in_the_middle(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post("chat", "tokens=6;fault=truncate"))
        await wire.head()
        assert tokens_in(unchunked(await wire.until(b"0\r\n\r\n"))) == [0, 1, 2]


async def test_a_conversational_reply_can_fault_too(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post("chat", "fault=truncate;at=100000", text="count to 3"))
        await wire.head()
        content = unchunked(await wire.until(b"0\r\n\r\n"))
    assert b"Done!" in content
    assert b"[DONE]" not in content


async def openai_text(client: openai.AsyncOpenAI, script: str) -> str:
    stream = await client.chat.completions.create(
        model=f"scripted.tokens-4.{script}",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def test_openais_sdk_meets_each_fault(gpt: openai.AsyncOpenAI) -> None:
    cases: list[tuple[str, type[BaseException]]] = [
        ("fault-rate_limit", openai.RateLimitError),
        ("fault-overloaded", openai.InternalServerError),
        ("fault-server_error", openai.InternalServerError),
        ("fault-unauthorized", openai.AuthenticationError),
        ("fault-bad_request", openai.BadRequestError),
        ("fault-in_band_error.at-2", openai.APIError),
        ("fault-abort.at-2", openai.APIConnectionError),
        ("fault-reset", openai.APIConnectionError),
        ("fault-close", openai.APIConnectionError),
        ("fault-malformed.at-2", json.JSONDecodeError),
    ]
    for script, kind in cases:
        with pytest.raises(kind):
            await openai_text(gpt, script)
    impatient = gpt.with_options(timeout=0.3)
    for script in ("fault-hang", "fault-stall.at-1"):
        with pytest.raises(openai.APITimeoutError):
            await openai_text(impatient, script)
    # The SDK takes a clean end for a success: whoever uses it must look for the marker.
    assert await openai_text(gpt, "fault-truncate.at-2") == "t0 t1 "


async def test_openais_sdk_retries_as_it_is_told(simulator: SimulatorProcess) -> None:
    async with openai.AsyncOpenAI(
        base_url=simulator.openai_url, api_key="k", max_retries=2
    ) as client:
        script = "fault-rate_limit.times-1.seed-99"
        assert await openai_text(client, script) == "t0 t1 t2 t3 "


async def gemini_text(client: genai.Client, script: str) -> str:
    stream = await client.aio.models.generate_content_stream(
        model=f"scripted.tokens-4.{script}", contents="hi"
    )
    return "".join([chunk.text or "" async for chunk in stream])


async def test_googles_sdk_meets_each_fault(gemini: genai.Client) -> None:
    cases: list[tuple[str, type[BaseException]]] = [
        ("fault-rate_limit", errors.ClientError),
        ("fault-overloaded", errors.ServerError),
        ("fault-server_error", errors.ServerError),
        ("fault-unauthorized", errors.ClientError),
        ("fault-bad_request", errors.ClientError),
        ("fault-in_band_error.at-2", errors.ServerError),
        ("fault-abort.at-2", httpx2.ReadError),
        ("fault-reset", httpx2.ReadError),
        ("fault-close", httpx2.RemoteProtocolError),
        ("fault-malformed.at-2", errors.UnknownApiResponseError),
    ]
    for script, kind in cases:
        with pytest.raises(kind):
            await gemini_text(gemini, script)
    assert await gemini_text(gemini, "fault-truncate.at-2") == "t0 t1 "


async def test_faults_and_successes_are_counted_apart(http: httpx2.AsyncClient) -> None:
    before = (await http.get("/_sim/stats")).json()
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    for model in ("scripted.tokens-1", "scripted.tokens-1.fault-truncate", "scripted.fault-close"):
        try:
            await http.post("/v1/chat/completions", json={"model": model, **body})
        except httpx2.RemoteProtocolError:
            assert model == "scripted.fault-close"
    after = (await http.get("/_sim/stats")).json()
    grown = {name: after[name] - before[name] for name in ("started", "finished", "faulted")}
    assert grown == {"started": 3, "finished": 1, "faulted": 2}
    shown = (await http.get("/_sim/requests")).json()["requests"]
    assert [record["outcome"] for record in shown] == ["finished", "faulted", "faulted"]
