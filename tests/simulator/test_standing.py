"""Faults that are switched on while the simulator runs, and who was asked meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from simulator.app import Simulator
from simulator.recorder import Recorder
from simulator.script import Script, ScriptError
from simulator.standing import MODELS_LIMIT, Standing
from simulator.wheel import Wheel
from tests.simulator.raw import request

GOOD = "scripted.tokens-3.seed-1"
BAD = "scripted.tokens-3.seed-2"


@pytest_asyncio.fixture
async def orders(http: httpx2.AsyncClient) -> AsyncIterator[httpx2.AsyncClient]:
    await http.delete("/_sim/faults")
    yield http
    await http.delete("/_sim/faults")


async def order(http: httpx2.AsyncClient, model: Any, script: Any = None) -> httpx2.Response:
    return await http.post("/_sim/faults", json={"model": model, "script": script})


async def status(http: httpx2.AsyncClient, model: str, **headers: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return (await http.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def test_a_fault_strikes_one_model_from_then_on_and_until_it_is_taken_back(
    orders: httpx2.AsyncClient,
) -> None:
    before = [await status(orders, model) for model in (GOOD, BAD)]
    assert (await order(orders, BAD, "fault=overloaded")).status_code == 200
    during = [await status(orders, model) for model in (GOOD, BAD)]
    await order(orders, BAD)
    after = [await status(orders, model) for model in (GOOD, BAD)]
    assert (before, during, after) == ([200, 200], [200, 503], [200, 200])


async def test_the_models_own_script_holds_where_the_order_is_silent(
    orders: httpx2.AsyncClient,
) -> None:
    await order(orders, BAD, "fault=truncate;at=3")
    body = {"model": BAD, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    text = (await orders.post("/v1/chat/completions", json=body)).text
    assert [f'"t{k} "' in text for k in range(4)] == [True, True, True, False]
    assert "[DONE]" not in text


async def test_a_requests_own_header_wins(orders: httpx2.AsyncClient) -> None:
    await order(orders, BAD, "fault=overloaded")
    assert await status(orders, BAD, **{"x-simulator": "tokens=1"}) == 200


async def test_what_began_before_the_order_is_not_touched(orders: httpx2.AsyncClient) -> None:
    model = "scripted.tokens-2.ttft_ms-0.gap_ms-150"
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with orders.stream("POST", "/v1/chat/completions", json=body) as answer:
        chunks = answer.aiter_text()
        text = await anext(chunks)
        await order(orders, model, "fault=truncate;at=0")
        text += "".join([chunk async for chunk in chunks])
    assert '"t1 "' in text
    assert "[DONE]" in text


async def test_it_is_shown_when_a_watched_model_was_asked(orders: httpx2.AsyncClient) -> None:
    await status(orders, GOOD)
    await order(orders, GOOD)
    began = time.monotonic()
    await status(orders, GOOD)
    await status(orders, BAD)
    await order(orders, GOOD, "fault=rate_limit")
    await status(orders, GOOD)
    ended = time.monotonic()
    shown = (await orders.get("/_sim/faults")).json()
    assert list(shown["models"]) == [GOOD]
    mine = shown["models"][GOOD]
    assert mine["script"] == "fault=rate_limit"
    first, second = mine["asked"]
    assert began <= first <= mine["since"] <= second <= ended <= shown["now"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": BAD, "script": "fault=nonsense"}, "unknown fault"),
        ({"model": BAD, "script": 7}, "'script'"),
        ({"model": "", "script": None}, "'model'"),
        ({"script": "fault=hang"}, "'model'"),
        ({"model": BAD, "fault": "hang"}, "'fault'"),
        ([], "object"),
    ],
)
async def test_a_wrong_order_is_refused_and_changes_nothing(
    orders: httpx2.AsyncClient, body: Any, words: str
) -> None:
    answer = await orders.post("/_sim/faults", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert (await orders.get("/_sim/faults")).json()["models"] == {}


def test_models_are_watched_within_bounds() -> None:
    standing = Standing()
    for number in range(MODELS_LIMIT):
        standing.give(f"m{number}", None)
    with pytest.raises(ScriptError, match=str(MODELS_LIMIT)):
        standing.give("one more", None)
    standing.give("m0", "fault=hang")
    assert (standing.asked("m0"), standing.asked("one more")) == ("fault=hang", None)


class _From(asyncio.Transport):
    """A client at this address, and what it is told."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 4711)})
        self.told = b""

    def write(self, data: Any) -> None:
        self.told += data


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1", b"200 OK"),
        ("::1", b"200 OK"),
        ("192.0.2.7", b"403 Forbidden"),
        ("2001:db8::7", b"403 Forbidden"),
    ],
)
async def test_only_this_machine_may_order(address: str, told: bytes) -> None:
    wheel = Wheel(asyncio.get_running_loop())
    simulator = Simulator(wheel, Recorder(0), Script(), seed=0, hold_ms=0)
    for method in ("POST", "DELETE"):
        connection, client = simulator.connection(), _From(address)
        connection.connection_made(client)
        connection.data_received(request(method, "/_sim/faults", {}, f'{{"model": "{BAD}"}}'))
        assert client.told.startswith(b"HTTP/1.1 " + told)
