"""What a provider says of its rate limits reaches whoever balances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from agents.rates import MAX_RESET_S, rate_limits, seconds
from agents.registry import build
from agents.spec import AgentSpec
from agents.streaming import StreamingAgent
from contracts.agents import End, ModelRequest
from contracts.errors import ProviderRateLimited, ProviderTimeout
from contracts.limits import RateLimits
from contracts.messages import Message
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17ms", 0.017),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1m30.5s", 90.5),
        ("12", 12.0),
        ("900h", MAX_RESET_S),
        ("1h2m3s4ms", 3600.0),
        ("", None),
        ("soon", None),
        ("1s, 2s", None),
        ("-1s", None),
        ("1e9", None),
        (None, None),
    ],
)
def test_times_as_openai_writes_them(text, expected):
    assert seconds(text) == (expected if expected is None else pytest.approx(expected))


def test_what_cannot_be_read_was_not_said():
    assert rate_limits({}) is None
    assert rate_limits({"x-ratelimit-limit-requests": "9"}) is None
    found = rate_limits(
        {
            "x-ratelimit-remaining-requests": "-3",
            "x-ratelimit-remaining-tokens": "many",
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-reset-requests": "2s",
        }
    )
    assert found == RateLimits(0, 60, 2.0, None, None, None)


@asynccontextmanager
async def speaking(
    simulator: SimulatorProcess, script: str, api: str = "chat", **values: float
) -> AsyncIterator[tuple[StreamingAgent, ModelRequest, list[RateLimits]]]:
    """An agent at the simulator, a request with this script, and what its limits are said to be."""
    model = f"scripted.{script}"
    base_url = simulator.url if api == "gemini" else simulator.openai_url
    provider, named = ("gemini", None) if api == "gemini" else ("openai", api)
    spec = AgentSpec("a", provider, model, api_key="k", base_url=base_url, api=named, **values)  # type: ignore[arg-type]
    agent = cast(StreamingAgent, build(spec))
    heard: list[RateLimits] = []
    agent.on_limits = heard.append
    yield agent, ModelRequest(model, (Message("m", 1, "user", "hi", 0.0),)), heard
    await agent.aclose()


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_head_of_each_answer_is_told_once(simulator: SimulatorProcess, api: str) -> None:
    async with speaking(simulator, "tokens-20.requests_left-7", api) as (agent, request, heard):
        items = [item async for item in agent.stream(request)]
    assert isinstance(items[-1], End)
    assert heard == [RateLimits(7, 60, 53.0, 9999000, 10000000, 0.006)]


async def test_a_refusal_tells_them_too(simulator: SimulatorProcess) -> None:
    async with speaking(simulator, "fault-rate_limit.requests_left-0") as (agent, request, heard):
        with pytest.raises(ProviderRateLimited):
            [item async for item in agent.stream(request)]
    assert [(limits.requests_left, limits.requests_reset_s) for limits in heard] == [(0, 60.0)]


async def test_gemini_says_nothing_of_them(simulator: SimulatorProcess) -> None:
    async with speaking(simulator, "tokens-3", "gemini") as (agent, request, heard):
        items = [item async for item in agent.stream(request)]
    assert isinstance(items[-1], End)
    assert heard == []


@pytest.mark.parametrize("fault", ["hang", "stall.at-0"])
async def test_the_first_token_has_a_limit_of_its_own(
    simulator: SimulatorProcess, fault: str
) -> None:
    script = f"tokens-9.fault-{fault}"
    limits = {"first_token_s": 0.3, "timeout_s": 60.0}
    async with speaking(simulator, script, **limits) as (agent, request, _):
        with pytest.raises(ProviderTimeout, match=r"0\.3 s"):
            [item async for item in agent.stream(request)]


async def test_after_the_first_token_its_limit_no_longer_holds(
    simulator: SimulatorProcess,
) -> None:
    limits = {"first_token_s": 0.5, "timeout_s": 60.0}
    async with speaking(simulator, "tokens-3.gap_ms-700", **limits) as (agent, request, _):
        items = [item async for item in agent.stream(request)]
    assert isinstance(items[-1], End)


async def test_streams_that_fall_silent_are_counted(
    simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.streaming._PULSE_S", 0.05)
    async with speaking(simulator, "tokens-9.fault-stall.at-2", silent_s=0.2) as (
        agent,
        request,
        _,
    ):

        async def listen() -> None:
            async for _item in agent.stream(request):
                pass

        tasks = [asyncio.ensure_future(listen()) for _ in range(3)]
        await until(lambda: agent.silent() == 3, "all are silent")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert agent.silent() == 0
    async with speaking(simulator, "tokens-9.gap_ms-50", silent_s=30.0) as (agent, request, _):
        most = 0
        async for _item in agent.stream(request):
            most = max(most, agent.silent())
        assert most == 0
