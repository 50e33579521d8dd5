"""A policy is put into a running Troupe: every host answers by it, without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from tests.support.operator import Operator
from tests.support.troupe import RunningTroupe
from tests.support.waiting import until

BASE = "/admin/v1/policies/base"
QUICK = "{provider: openai, model: scripted.ttft_ms-1.gap_ms-1.tokens-2}"
PLAIN = f"""
agents:
  plain: {QUICK}
rules:
  - {{name: rest, when: else, agent: plain, sticky: false}}
"""
POET = f"""
agents:
  plain: {QUICK}
  poet: {QUICK}
rules:
  - {{name: verse, when: {{keywords: rhyme}}, agent: poet}}
  - {{name: rest, when: else, agent: plain, sticky: false}}
"""
COUNT = 6


@pytest.fixture
async def admin(troupe: RunningTroupe) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=troupe.url, trust_env=False) as client:
        yield client


async def answered(client: openai.AsyncOpenAI, places: list[str]) -> list[tuple[str, ...]]:
    """By which agent, rule and version each conversation answers a message about a rhyme."""

    async def one(place: str) -> tuple[str, ...]:
        response: Any = await client.responses.create(
            model="auto", input="A rhyme, please.", conversation=place
        )
        return tuple(response.troupe[name] for name in ("agent", "rule", "version"))

    return await asyncio.gather(*map(one, places))


@pytest.mark.timeout(300)
async def test_every_host_answers_by_the_newest_version(
    troupe: RunningTroupe, client: openai.AsyncOpenAI, admin: httpx2.AsyncClient
) -> None:
    first = (await admin.put(BASE, content=PLAIN)).json()["version"]
    places = [(await client.conversations.create()).id for _ in range(COUNT)]

    async def all_answer(agent: str, rule: str, version: int) -> bool:
        return set(await answered(client, places)) == {(agent, rule, f"base.{version}")}

    await until(lambda: all_answer("plain", "rest", first), "the first version holds")
    with Operator(troupe) as operator:
        homes, hosts = operator.where(*places), operator.hosts()
        assert len(set(homes)) == 2, "they are spread over both hosts"

        put = await admin.put(BASE, content=POET)
        assert put.json()["version"] == first + 1
        await until(
            lambda: all_answer("poet", "verse", first + 1), "the new rule holds on both hosts"
        )
        assert "poet" in [model.id async for model in await client.models.list()]
        direct: Any = await client.responses.create(model="poet", input="hi")
        assert direct.status == "completed"

        bad = await admin.put(BASE, content=POET.replace("agent: poet", "agent: pet"))
        assert bad.json()["error"]["code"] == "invalid_policy"
        assert bad.json()["error"]["problems"][0]["line"] == 6
        assert await all_answer("poet", "verse", first + 1), "a bad one changes nothing"

        back = await admin.post(f"{BASE}/rollback", json={"version": first})
        assert back.json()["version"] == first + 2
        await until(lambda: all_answer("plain", "rest", first + 2), "the old rules hold again")
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="poet", input="hi")
        await admin.put(BASE, content="")
        assert (operator.where(*places), operator.hosts()) == (homes, hosts), "nothing was moved"
