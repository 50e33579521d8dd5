"""Clients are pooled; what an agent is built from shows no key."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from agents.pool import POOL, Pool, PoolKey
from agents.registry import PROVIDERS, build
from agents.sdk import Template, template_of
from agents.spec import AgentSpec
from agents.streaming import StreamingAgent
from contracts.agents import ModelRequest
from contracts.errors import InvalidRequest
from tests.agents.canned import CannedServer
from tests.agents.conformance import KEY, collect, said
from tests.agents.test_streaming import END, GOOD, answer

HERE = "http://127.0.0.1:9/v1"


def make(name: str = "a", **changes: Any) -> StreamingAgent:
    values: dict[str, Any] = {
        "provider": "openai", "model": "m", "api_key": KEY, "base_url": HERE, **changes
    }  # fmt: skip
    return cast(StreamingAgent, build(AgentSpec(name, **values)))


async def test_agents_of_one_account_share_their_connections() -> None:
    async with CannedServer(GOOD) as server:
        one = make("one", base_url=server.url)
        two = make("two", base_url=server.url, max_sessions=1, timeout_s=5.0)
        assert one.client is two.client
        assert await answer(one) == ("ab", END)
        await one.aclose()
        await one.aclose()
        assert await answer(two) == ("ab", END), "the other agent's are still open"
        await two.aclose()
        assert two.client.closed


@pytest.mark.parametrize(
    "changes",
    [
        {"api_key": "another"},
        {"base_url": "http://127.0.0.1:10/v1"},
        {"api": "responses"},
        {"provider": "gemini"},
        {"connect_timeout_s": 1.0},
    ],
)
async def test_what_keeps_pools_apart(changes: dict[str, Any]) -> None:
    one, two = make(), make(**changes)
    assert one.client is not two.client
    await one.aclose()
    await two.aclose()


async def test_nothing_is_left_of_a_closed_agent() -> None:
    before = len(POOL)
    agent = make(base_url="http://127.0.0.1:11/v1")
    assert len(POOL) == before + 1
    await agent.aclose()
    assert len(POOL) == before


async def test_the_template_is_asked_for_once() -> None:
    pool, asked = Pool(), []
    key = PoolKey("p", "a", KEY, HERE, 5.0)

    def template() -> Template:
        asked.append(1)
        return Template(HERE, cast(Any, {}))

    assert pool.take(key, template) is pool.take(key, template)
    assert asked == [1]


def test_what_shows_no_key() -> None:
    agent = make()
    spec = agent.spec
    assert KEY not in repr(spec)
    assert KEY not in repr(PoolKey("p", "a", KEY, HERE, 5.0))
    assert KEY not in repr(agent.client.template)
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"api": "live"}, "api"),
        ({"provider": "gemini", "api": "chat"}, "api"),
        ({"api_key": None, "base_url": None}, "api_key"),
        ({"api_key": "", "base_url": None}, "api_key"),
        ({"provider": "gemini", "api_key": None, "base_url": None}, "api_key"),
    ],
)
def test_a_spec_that_cannot_be(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(**changes)
    assert caught.value.param == param
    assert "'a'" in caught.value.message


def test_a_key_with_a_line_break() -> None:
    """It would begin a header of its own. (Google's SDK takes it off.)"""
    with pytest.raises(InvalidRequest, match="line break") as caught:
        make(api_key=f"{KEY}\n")
    assert caught.value.param == "api_key"
    assert KEY not in caught.value.message


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_providers_own_address(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    agent = make(provider=provider, base_url=None)
    hosts = {"openai": "https://api.openai.com/", "gemini": "https://generativelanguage."}
    assert agent.client.template.url.startswith(hosts[provider])
    await agent.aclose()


async def test_building_an_agent_leaves_no_task_behind() -> None:
    """The SDKs' clients are gone by then; one of them likes to close itself in a task."""
    before = asyncio.all_tasks()
    agents = [make(provider=provider, api_key="k2") for provider in PROVIDERS]
    gc.collect()
    assert asyncio.all_tasks() == before
    for agent in agents:
        await agent.aclose()


def test_an_sdk_is_loaded_only_when_it_is_used() -> None:
    """Each costs every host a second and tens of megabytes."""
    code = """
import sys
import agents.registry
print(*{"openai", "google.genai", "httpx2"} & set(sys.modules))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


async def test_over_uvloop() -> None:
    """The loop that gateway and hosts run on."""
    uvloop = pytest.importorskip("uvloop")

    async def talk() -> str:
        async with CannedServer(GOOD) as server:
            agent = make("u", base_url=server.url)
            texts, _ = await collect(agent, ModelRequest("m", said(("user", "Hi."))))
            await agent.aclose()
        return "".join(texts)

    def run() -> str:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(talk())

    assert await asyncio.to_thread(run) == "ab"


def test_a_template_leaves_the_transport_out() -> None:
    request = httpx2.Request(
        "POST",
        "http://127.0.0.1:9/x",
        headers={"X-Stainless-Lang": "python", "X-Server-Timeout": "5", "X-Mine": "1"},
        content=b"{}",
    )
    assert dict(template_of(request).headers) == {"x-mine": "1", "accept-encoding": "identity"}
