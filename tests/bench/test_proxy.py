"""The yardstick and the load generator with real processes, sockets and the real simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from bench import conductor, servers, stats
from bench.generator import GeneratorError, generators
from bench.plan import Plan

FAST = Plan(
    counts=(6,),
    targets=("proxy",),
    window_s=1.5,
    warm_s=0.5,
    drain_s=10.0,
    idle_s=0.2,
    think_s=0.2,
    ttft_ms=20,
    gap_ms=2,
    tokens=12,
)


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[str]:
    async with servers.simulator() as (url, _):
        yield url


def scripted(model: str) -> Plan:
    """A plan whose provider follows `model`."""

    class Scripted(Plan):
        @property
        def provider_model(self) -> str:
            return model

    return Scripted(targets=("proxy",))


async def ask(socket: ClientConnection, text: str = "hello") -> list[dict[str, Any]]:
    """One turn; all its events."""
    request = {"type": "response.create", "id": "k1", "model": "gpt", "input": text}
    await socket.send(orjson.dumps(request).decode())
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not events or events[-1]["type"] not in ("response.completed", "response.failed"):
            events.append(orjson.loads(await socket.recv()))
    return events


async def test_a_turn_has_one_frame_for_each_token(provider: str, tmp_path: Path) -> None:
    async with servers.server("proxy", FAST, provider, tmp_path / "log") as proxy:
        address = proxy.url.replace("http", "ws") + "/v1/conversations/any/ws"
        async with connect(address, compression=None) as socket:
            await socket.send('{"type":"session.open"}')
            assert orjson.loads(await socket.recv())["type"] == "session.opened"
            first, second = await ask(socket), await ask(socket)
    kinds = [event["type"] for event in first]
    assert kinds == [
        "response.accepted",
        "response.created",
        *["response.output_text.delta"] * FAST.tokens,
        "response.completed",
    ]
    assert "".join(event["delta"] for event in first[2:-1]) == stats.numbered(FAST.tokens)
    assert first[0]["id"] == "k1"
    assert len({event["response_id"] for event in first}) == 1
    assert first[0]["response_id"] != second[0]["response_id"]
    seqs = [event["seq"] for event in first + second]
    assert seqs == list(range(1, len(seqs) + 1))
    text = first[-1]["response"]["output"][0]["content"][0]["text"]
    assert text == stats.numbered(FAST.tokens)


@pytest.mark.parametrize(
    ("fault", "tokens_seen"),
    [("rate_limit", 0), ("abort.at-3", 3), ("truncate.at-3", 3), ("malformed.at-3", 3)],
)
async def test_a_provider_that_fails_fails_the_turn(
    provider: str, tmp_path: Path, fault: str, tokens_seen: int
) -> None:
    plan = scripted(f"scripted.ttft_ms-0.gap_ms-1.tokens-9.fault-{fault}")
    async with servers.server("proxy", plan, provider, tmp_path / "log") as proxy:
        address = proxy.url.replace("http", "ws") + "/v1/conversations/any/ws"
        async with connect(address, compression=None) as socket:
            events = await ask(socket)
    assert events[-1]["type"] == "response.failed"
    assert "".join(e["delta"] for e in events[2:-1]) == stats.numbered(tokens_seen)


async def test_a_whole_run(tmp_path: Path) -> None:
    said: list[str] = []
    results = [one async for one in conductor.run(FAST, tmp_path, said.append)]
    (one,) = results
    assert (one.errors, one.damaged) == ({}, 0)
    assert one.turns > 6
    assert one.added_ms["count"] == one.turn_ms["count"] > 6
    assert set(one.cpu_ms_by_kind) == {"proxy"} and one.cpu_ms > 0
    assert one.idle["base_mb"] > 10
    assert one.generator["cpu_ms"] > 0
    assert said[0] == "[1/1] proxy, 6 sessions: starting" and "CPU-ms a turn" in said[-1]


@pytest.mark.parametrize(
    ("fault", "outcome"), [("abort.at-3", "failed"), ("stall.at-3", "timeout after token")]
)
async def test_the_generator_sees_what_goes_wrong(
    provider: str, tmp_path: Path, fault: str, outcome: str
) -> None:
    plan = scripted(f"scripted.ttft_ms-0.gap_ms-1.tokens-9.fault-{fault}")
    async with (
        servers.server("proxy", plan, provider, tmp_path / "log") as proxy,
        generators(proxy.url, plan) as load,
    ):
        await load.open(["/v1/conversations/a/ws"], at_once=1, timeout_s=20)
        once = await load.once(spread_s=0, timeout_s=3 if "stall" in fault else 20)
    assert once["outcomes"] == {outcome: 1}


async def test_a_wrong_text_is_not_taken_for_right(provider: str, tmp_path: Path) -> None:
    sent, expected = FAST, Plan(**{**_fields(FAST), "tokens": FAST.tokens + 1})
    async with (
        servers.server("proxy", sent, provider, tmp_path / "log") as proxy,
        generators(proxy.url, expected) as load,
    ):
        await load.open(["/v1/conversations/a/ws"], at_once=1, timeout_s=20)
        raw = await load.run(expected, begin=0.0 + asyncio.get_running_loop().time())
    turns = raw["outcomes"]["ok"]
    assert turns > 0
    assert (raw["lost"], raw["doubled"], raw["seq_gaps"]) == (turns, 0, 0)


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


async def test_sockets_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{servers.free_port()}"
    async with generators(url, FAST) as load:
        opened = await load.open(["/a", "/b"], at_once=2, timeout_s=5)
        assert opened["opened"] == 0 and sum(opened["failed"].values()) == 2
        await load.close()


async def test_an_upgrade_that_is_refused_is_told(provider: str) -> None:
    async with generators(provider, FAST) as load:
        opened = await load.open(["/nowhere"], at_once=1, timeout_s=5)
    (why,) = opened["failed"]
    assert "upgrade refused: HTTP/1.1 404" in why


async def test_a_generator_that_dies_is_an_error() -> None:
    async with generators("http://127.0.0.1:1", FAST) as load:
        for process in load._processes:  # pyright: ignore[reportPrivateUsage]
            process.kill()
            await process.wait()
        with pytest.raises((GeneratorError, ConnectionError)):
            await load.close()


async def test_a_server_that_does_not_come_up_says_what_it_printed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(servers.StartError, match="Traceback"):
        async with servers.server("proxy", FAST, "http://[", log):
            pass


async def test_nothing_of_a_server_is_left(provider: str, tmp_path: Path) -> None:
    async with servers.server("proxy", FAST, provider, tmp_path / "log") as proxy:
        assert proxy.processes.count() == 1
    assert proxy.processes.count() == 0
