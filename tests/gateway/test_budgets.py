"""Budgets as callers meet them, with real stores: over HTTP, in a socket, and at two hosts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from context.memory import ContextMemory, ContextOptions
from contracts.agents import End
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.errors import OverBudget
from contracts.ids import RESPONSE, SESSION, new_id
from contracts.messages import Usage
from contracts.money import Budgets, Limit, Price, Spent
from gateway.admin_answers import SpendObject
from gateway.link import Link
from tests.actors.test_session import until_ended
from tests.gateway.house import House, Stores, eventually, open_house
from tests.support.runtime import OneHost, ScriptedAgent, make_link, make_runtime

PRICE = Price(1.0, 4.0, 0.5)
TURN = 90 * 1_000 + 10 * 500 + 10 * 4_000
COST = 0.000135
END = End("stop", Usage(100, 10, 10))


@pytest.fixture
async def shop(stores: Stores) -> AsyncIterator[House]:
    """A house in which a user may spend one turn a day."""
    budgets = Budgets(user_day=Limit(hard=TURN), session=Limit(soft=1))
    async with open_house(stores, budgets=budgets, price=PRICE) as house:
        yield house


async def respond(house: House, user: str, **fields: Any) -> Any:
    house.agent.say("Hel", "lo", END)
    return await house.client.responses.create(model="echo", input="hi", user=user, **fields)


async def test_a_response_says_its_cost_now_and_later(shop: House) -> None:
    response = await respond(shop, "ann")
    charge = {
        "agent": "echo",
        "endpoint": "echo-1",
        "model": "echo-model",
        "input_tokens": 100,
        "output_tokens": 10,
        "cached_tokens": 10,
        "cost_usd": COST,
    }
    assert response.troupe["cost_usd"] == COST
    assert response.troupe["charges"] == [charge]
    again = await shop.client.responses.retrieve(response.id)
    assert again.troupe == response.troupe  # type: ignore[attr-defined]
    assert await shop.memory.spending.spent(shop.org, "ann") == Spent(TURN, TURN, TURN, TURN)


async def test_over_http_a_spent_budget_is_429_and_says_which(shop: House) -> None:
    first = await respond(shop, "ann")
    with pytest.raises(openai.RateLimitError) as caught:
        await shop.client.responses.create(model="echo", input="hi", user="ann")
    answer = caught.value.response
    assert answer.headers["x-should-retry"] == "false"
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert (error["budget"], error["limit_usd"], error["spent_usd"]) == ("user_day", COST, COST)
    assert await shop.responses() == [(first.id, "completed")]
    # Another one may, and a conversation that goes on says that it is beyond its soft limit.
    other = await respond(shop, "bob")
    assert "budget" not in other.troupe
    more = await respond(shop, "cay", previous_response_id=other.id)
    assert more.troupe["budget"] == ["session"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_completion_counts_and_says_its_cost(shop: House, stream: bool) -> None:
    shop.agent.say("Hello", END)
    asked: Any = {
        "model": "echo",
        "messages": [{"role": "user", "content": "hi"}],
        "user": "ann",
        "stream": stream,
    }
    answer: Any = await shop.client.chat.completions.create(**asked)
    troupe = [chunk async for chunk in answer][-1].troupe if stream else answer.troupe
    assert troupe["cost_usd"] == COST

    async def spent() -> int:
        return (await shop.memory.spending.spent(shop.org, "ann")).user_day

    await eventually(spent, TURN)
    assert [day.turns for day in await shop.memory.spending.days(shop.org, None, 1)] == [1]
    with pytest.raises(openai.RateLimitError):
        await shop.client.chat.completions.create(**asked)


# -- what operators see ---------------------------------------------------------------------------


async def test_operators_see_what_was_spent_and_what_may_be(shop: House) -> None:
    path = f"/admin/v1/policies/{shop.org}"
    put = await shop.http.put(path, content="budgets: {org_day: {soft_usd: 3, hard_usd: 9}}")
    assert put.status_code == 200, put.text
    await respond(shop, "ann")
    await respond(shop, "bob")
    shop.agent.say("Hello", END)
    await shop.client.responses.create(model="echo", input="hi")
    answer = (await shop.http.get("/admin/v1/spend")).json()
    SpendObject.model_validate(answer)
    assert (answer["org"], answer["user"]) == (shop.org, None)
    assert answer["today_usd"] == answer["month_usd"] == round(3 * COST, 9)
    assert answer["budgets"]["org_day"] == {"soft_usd": 3, "hard_usd": 9}
    assert answer["budgets"]["turn"] == {"soft_usd": None, "hard_usd": None}
    [day] = answer["days"]
    assert (day["cost_usd"], day["turns"]) == (round(3 * COST, 9), 3)
    assert answer["users"] == [
        {"user": name, "today_usd": COST, "month_usd": COST} for name in ("ann", "bob")
    ]
    of_ann = (await shop.http.get("/admin/v1/spend", params={"user": "ann", "days": 1})).json()
    assert (of_ann["user"], of_ann["today_usd"], of_ann["users"]) == ("ann", COST, [])
    elsewhere = await shop.http.get("/admin/v1/spend", params={"org": "org_nobody"})
    assert (elsewhere.json()["month_usd"], elsewhere.json()["days"]) == (0, [])
    await shop.database.execute("DELETE FROM policies WHERE scope = $1", shop.org)


@pytest.mark.parametrize("query", [{"days": 0}, {"days": 401}, {"org": "acme"}, {"user": ""}])
async def test_a_question_that_makes_no_sense_is_refused(shop: House, query: Any) -> None:
    answer = await shop.http.get("/admin/v1/spend", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == next(iter(query))


# -- two hosts ------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Bar:
    """A host with stores of its own connections, and a conversation that stays open at it."""

    def __init__(self, stores: Stores, clock: Clock, org: str, name: str) -> None:
        self.memory = ContextMemory(
            stores.database_url, stores.redis_url, ContextOptions(gather_s=0), clock
        )
        self.agent = ScriptedAgent()
        self.runtime = make_runtime(
            self.memory,  # type: ignore[arg-type]
            {"echo": self.agent},
            clock=clock,
            budgets=Budgets(user_day=Limit(hard=2 * TURN)),
            price=PRICE,
            ledger=self.memory.spending,
        )
        self.link: Link = make_link(OneHost(self.runtime), name)
        self.key = SessionKey(org, new_id(SESSION))

    async def __aenter__(self) -> Bar:
        await self.memory.open(migrations=False)
        await self.memory.records.create_session(self.key, user="ann")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.close()
        await self.runtime.close()
        await self.memory.aclose()

    async def turn(self) -> str:
        self.agent.say("fine", END)
        request = TurnRequest(new_id(RESPONSE), "echo", (InputItem("user", "hi"),))
        _, reader = await self.link.start(self.key, request)
        [*_, end] = await until_ended(reader)
        reader.close()
        return end.data.status


async def test_a_user_at_two_hosts_is_stopped_at_both(house: House, stores: Stores) -> None:
    clock = Clock()
    async with (
        Bar(stores, clock, house.org, "gw_here") as here,
        Bar(stores, clock, house.org, "gw_there") as there,
    ):
        assert await here.turn() == "completed"
        assert await there.turn() == "completed"
        # It knows its own turn at once, and of the other's within the time for which sums hold.
        clock.now += 1.9
        assert await here.turn() == "completed"
        with pytest.raises(OverBudget):
            await there.link.submit(
                there.key, TurnRequest(new_id(RESPONSE), "echo", (InputItem("user", "x"),))
            )
        clock.now += 0.2
        with pytest.raises(OverBudget) as caught:
            await here.turn()
        assert caught.value.details["spent_usd"] == 3 * COST
