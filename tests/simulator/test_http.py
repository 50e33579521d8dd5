"""HTTP itself, byte by byte: what a provider's front door has to stand."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from simulator.http import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES
from tests.simulator.raw import Wire, connect, counted, once_more, post, request, unchunked
from tests.support.simulator import SimulatorProcess

KEY = {"authorization": "Bearer any"}


async def test_a_connection_serves_one_request_after_another(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        for n in range(3):
            wire.send(post("chat", f"tokens={n + 1}"))
            assert (await wire.head())[0] == 200
            content = unchunked(await wire.until(b"\r\n0\r\n\r\n"))
            assert f"t{n} ".encode() in content
        wire.send(post("chat", "tokens=1", stream=False))
        assert (await wire.answer())[0] == 200


async def test_pipelined_requests_are_answered_in_order(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(
            post("chat", "ttft_ms=40;tokens=2;gap_ms=20")
            + request("GET", "/v1/models/second", KEY)
            + post("gemini", "tokens=3", stream=False)
            + request("GET", "/_sim/health", {})
        )
        assert (await wire.head())[1]["content-type"].startswith("text/event-stream")
        assert b"t1 " in unchunked(await wire.until(b"\r\n0\r\n\r\n"))
        assert json.loads((await wire.answer())[2])["id"] == "second"
        assert b"t0 t1 t2 " in (await wire.answer())[2]
        assert json.loads((await wire.answer())[2]) == {"status": "ok"}


async def test_a_long_pipeline_neither_nests_nor_loses(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(b"".join(request("GET", f"/v1/models/m{n}", KEY) for n in range(2000)))
        for n in range(2000):
            assert json.loads((await wire.answer())[2])["id"] == f"m{n}"


async def test_a_body_may_come_in_chunks_and_drops(simulator: SimulatorProcess) -> None:
    head, _, body = post("chat", "tokens=1").partition(b"\r\n\r\n")
    head = b"\r\n".join(
        line for line in head.split(b"\r\n") if not line.startswith(b"content-length")
    )
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7])
                      for i in range(0, len(body), 7))  # fmt: skip
    async with connect(simulator.port) as wire:
        for byte in head + b"\r\ntransfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n":
            wire.send(bytes([byte]))
            await wire.writer.drain()
        assert (await wire.head())[0] == 200


async def test_expect_100_continue(simulator: SimulatorProcess) -> None:
    head, _, body = post("chat", "tokens=1", stream=False).partition(b"\r\n\r\n")
    async with connect(simulator.port) as wire:
        wire.send(head + b"\r\nexpect: 100-continue\r\n\r\n")
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused_and_the_refusal_can_be_read(
    simulator: SimulatorProcess, announced: bool
) -> None:
    framing = {"content-length": str(BODY_LIMIT_BYTES + 1)} if announced else {
        "transfer-encoding": "chunked"
    }  # fmt: skip
    async with connect(simulator.port) as wire:
        wire.send(request("POST", "/v1/responses", {**KEY, **framing, "expect": "100-continue"}))
        if not announced:
            assert b" 100 " in await wire.until(b"\r\n\r\n")
            wire.send(b"%x\r\n" % (BODY_LIMIT_BYTES + 1))
        wire.send(b" " * (BODY_LIMIT_BYTES + 1))
        status, headers, body = await wire.answer()
        assert status == 413
        assert headers["connection"] == "close"
        assert str(BODY_LIMIT_BYTES) in json.loads(body)["error"]["message"]
        assert await wire.rest() == b""


async def test_a_body_of_the_limit_is_taken(http: httpx2.AsyncClient) -> None:
    body = b'{"model":"scripted.tokens-1","input":"%b"}'
    body = body % (b"x" * (BODY_LIMIT_BYTES - len(body) + 2))
    assert len(body) == BODY_LIMIT_BYTES
    assert (await http.post("/v1/responses", content=body)).status_code == 200


async def test_an_endless_head_is_refused(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(b"GET /v1/models HTTP/1.1\r\nx-long: ")
        for _ in range(HEAD_LIMIT_BYTES // 1024 + 2):
            wire.send(b"x" * 1024)
        status, _, body = await wire.answer()
        assert status == 431
        assert "header" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so(simulator: SimulatorProcess, data: bytes) -> None:
    async with connect(simulator.port) as wire:
        wire.send(data)
        status, headers, body = await wire.answer()
        assert status == 400
        assert headers["connection"] == "close"
        assert "not HTTP" in json.loads(body)["error"]["message"]
        assert await wire.rest() == b""


async def test_a_broken_request_waits_for_its_turn(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        wire.send(post("chat", "ttft_ms=30;tokens=1", stream=False) + b"BROKEN\r\n\r\n")
        assert b"t0 " in (await wire.answer())[2]
        assert (await wire.answer())[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/v1/nothing", 404, None),
        ("POST", "/v1/models/m:countTokens", 404, None),
        ("GET", "/v1/responses/resp_1", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/responses", 405, "POST"),
        ("GET", "/v1beta/models/m:generateContent", 405, "POST"),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("POST", "/_sim/health", 405, "GET, HEAD"),
        ("POST", "/_sim/requests", 405, "GET, HEAD, DELETE"),
        ("GET", "/_sim/nothing", 404, None),
        ("GET", "/_sim/requests?limit=x", 400, None),
        ("GET", "/_sim/requests?limit=-1", 400, None),
    ],
)
async def test_wrong_paths_and_methods(
    http: httpx2.AsyncClient, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    error = answer.json()["error"]
    assert error["message"]
    if path.startswith("/v1beta") or ":" in path:
        assert error["code"] == status


async def test_head_is_get_without_a_body(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        for path in ("/v1/models", "/_sim/health", "/nowhere"):
            wire.send(request("GET", path, KEY))
            expected, headers, _ = await wire.answer()
            wire.send(request("HEAD", path, KEY))
            status, without = await wire.head()
            assert status == expected
            assert without["content-length"] == headers["content-length"]
        wire.send(request("GET", "/_sim/health", {}))
        assert (await wire.answer())[2] == b'{"status":"ok"}'


async def test_http_1_0_gets_an_unframed_stream_and_a_close(simulator: SimulatorProcess) -> None:
    data = post("chat", "tokens=3").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    async with connect(simulator.port) as wire:
        wire.send(data)
        status, headers = await wire.head()
        assert status == 200
        assert "transfer-encoding" not in headers
        assert headers["connection"] == "close"
        content = await wire.rest()
    assert content.endswith(b"data: [DONE]\n\n")
    assert content.startswith(b"data: ")


async def test_connection_close_is_kept(simulator: SimulatorProcess) -> None:
    async with connect(simulator.port) as wire:
        data = post("chat", "tokens=2").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
        wire.send(data + request("GET", "/v1/models", KEY))
        assert (await wire.head())[1]["connection"] == "close"
        assert unchunked(await wire.rest()).endswith(b"data: [DONE]\n\n")


async def test_an_offer_to_upgrade_is_passed_over(simulator: SimulatorProcess) -> None:
    offer = {**KEY, "connection": "upgrade, http2-settings", "upgrade": "h2c"}
    async with connect(simulator.port) as wire:
        wire.send(request("GET", "/v1/models/one", offer) + request("GET", "/v1/models/two", KEY))
        assert json.loads((await wire.answer())[2])["id"] == "one"
        assert json.loads((await wire.answer())[2])["id"] == "two"


@pytest.mark.parametrize("script", ["tokens=100000;gap_ms=10", "ttft_ms=600000;tokens=1"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_its_reply(
    simulator: SimulatorProcess, http: httpx2.AsyncClient, script: str, stream: bool
) -> None:
    before = await counted(http, "aborted")
    async with connect(simulator.port) as wire:
        wire.send(post("chat", script, stream=stream))
        await once_more(http, "active", 0)
    await once_more(http, "aborted", before)
    assert await counted(http, "active") == 0
    shown = (await http.get("/_sim/requests?limit=1")).json()["requests"]
    assert shown[0]["outcome"] == "aborted"


async def test_a_client_that_only_stops_sending_counts_as_gone(
    simulator: SimulatorProcess, http: httpx2.AsyncClient
) -> None:
    before = await counted(http, "aborted")
    async with connect(simulator.port) as wire:
        wire.send(post("chat", "tokens=9;ttft_ms=600000"))
        wire.writer.write_eof()
        await once_more(http, "aborted", before)


async def test_a_slow_reader_is_held_back_alone_and_loses_nothing(
    simulator: SimulatorProcess, http: httpx2.AsyncClient
) -> None:
    count = 30_000
    finished = await counted(http, "finished")
    async with connect(simulator.port, receive_buffer=4096) as slow:
        slow.writer.transport.pause_reading()
        slow.send(post("gemini", f"tokens={count}"))
        await once_more(http, "active", 0)
        # One that began later and reads is through; the one that does not read cannot be.
        async with connect(simulator.port) as fast:
            fast.send(post("gemini", f"tokens={count}"))
            await fast.head()
            assert texts_in(await _everything(fast)) == texts_of(count)
        assert await counted(http, "finished") == finished + 1
        slow.writer.transport.resume_reading()
        await slow.head()
        assert texts_in(await _everything(slow)) == texts_of(count)


def texts_of(count: int) -> list[bytes]:
    return [b"t%d " % k for k in range(count)] + [b""]


def texts_in(body: bytes) -> list[bytes]:
    lines = unchunked(body).splitlines()
    return [line.split(b'"text":"')[1].split(b'"')[0] for line in lines if line]


async def _everything(wire: Wire) -> bytes:
    content = bytearray()
    while not content.endswith(b"\r\n0\r\n\r\n"):
        content += await wire.some()
    return bytes(content)


async def test_many_streams_at_once_keep_their_tokens_apart(simulator: SimulatorProcess) -> None:
    async def one(n: int) -> bytes:
        async with connect(simulator.port) as wire:
            wire.send(post("chat", f"ttft_ms=50;gap_ms=5;tokens={n + 1};jitter_ms=3"))
            await wire.head()
            return unchunked(await wire.until(b"\r\n0\r\n\r\n"))

    for n, content in enumerate(await asyncio.gather(*(one(n) for n in range(200)))):
        for k in range(n + 1):
            assert content.count(b'"t%d "' % k) == 1
        assert b'"t%d "' % (n + 1) not in content
