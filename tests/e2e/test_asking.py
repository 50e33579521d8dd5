"""Rules that ask a model, in a running Troupe; and one whose Router is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import psutil
import pytest

from tests.support.quietly import quietly
from tests.support.troupe import RunningTroupe
from tests.support.waiting import until

PATIENCE_S = 60.0
ROUTER = "ray::ServeReplica:troupe:Router"


async def decided(client: openai.AsyncOpenAI, ask: str, text: str) -> dict[str, Any]:
    """What the response to this message says of its routing; the answer is not waited for."""
    conversation = await client.conversations.create(metadata={"ask": ask})
    response = await client.responses.create(
        model="auto", input=text, conversation=conversation.id, background=True
    )
    await client.responses.cancel(response.id)
    told: Any = response.model_extra
    return told["troupe"]


async def by_a_model(client: openai.AsyncOpenAI, ask: str, text: str) -> dict[str, Any]:
    """Likewise, once the Router has what it needs: it loads that while others are served."""
    async with asyncio.timeout(PATIENCE_S):
        while "fallback" in (told := await decided(client, ask, text))["asked"]:
            await asyncio.sleep(0.1)
    return told


@pytest.mark.parametrize("ask", ["nearest", "sorted"])
@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("why was I charged twice on this invoice?", "slow"),
        ("Please translate a contract", "gemini"),
    ],
)
async def test_a_model_routes(client: openai.AsyncOpenAI, ask: str, text: str, agent: str) -> None:
    told = await by_a_model(client, ask, text)
    assert (told["agent"], told["rule"]) == (agent, ask)
    assert told["asked"]["label"] == agent
    assert ("score" in told["asked"]) == (ask == "nearest")


@pytest.mark.parametrize("ask", ["nearest", "sorted"])
async def test_what_fits_nothing_takes_the_else(client: openai.AsyncOpenAI, ask: str) -> None:
    await by_a_model(client, ask, "an invoice charged")
    async with asyncio.timeout(PATIENCE_S):
        # The model may take longer than a rule waits for it.
        while "no answer" in (told := await decided(client, ask, "What a lovely day"))["asked"].get(
            "fallback", ""
        ):
            await asyncio.sleep(0.1)
    assert told["agent"] == "numbered"
    assert told["asked"]["fallback"] == "nothing fits"


POLICY = """
agents:
  judge: {provider: gemini, model: simulated}
rules:
  - name: judged
    when: {metadata: {ask: judged}}
    classifier:
      agent: judge
      answers: {slow: poems and verses, numbered: counting and numbers}
      else: gpt
"""


async def test_a_policy_asks_an_agent_that_came_with_it(
    troupe: RunningTroupe, client: openai.AsyncOpenAI
) -> None:
    async with httpx2.AsyncClient(base_url=troupe.url, trust_env=False) as admin:
        assert (await admin.put("/admin/v1/policies/base", content=POLICY)).status_code == 200
        try:

            async def judged() -> bool:
                told = await decided(client, "judged", "Write some verses")
                return (told["rule"], told["agent"]) == ("judged", "slow")

            await until(judged, "its rule holds, and its agent is asked")
        finally:
            await admin.put("/admin/v1/policies/base", content="rules: []")


def routers(troupe: RunningTroupe) -> list[psutil.Process]:
    return [
        one
        for one in troupe.processes()
        if "".join(quietly(one.cmdline, [])[:1]).startswith(ROUTER)
    ]


async def test_without_the_router_everybody_is_answered_and_it_comes_back(
    troupe: RunningTroupe, client: openai.AsyncOpenAI
) -> None:
    await by_a_model(client, "nearest", "an invoice charged")
    [router] = routers(troupe)

    async def all_ask() -> list[dict[str, Any]]:
        asks = [decided(client, ask, "an invoice charged") for ask in ("nearest", "sorted") * 3]
        return await asyncio.gather(*asks)

    router.suspend()
    try:
        for told in await all_ask():
            assert told["agent"] == "numbered"
            assert "no answer" in told["asked"]["fallback"]
    finally:
        router.kill()
    for told in await all_ask():  # by now there may be another one
        assert told["agent"] == ("numbered" if "fallback" in told["asked"] else "slow")
    told = await by_a_model(client, "nearest", "an invoice charged")
    assert told["agent"] == "slow"
    assert routers(troupe) != [router]
