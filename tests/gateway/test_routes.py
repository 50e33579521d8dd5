"""Rules for operators: listed, explained, and tried on what was said."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from context.exchange import Exchange
from contracts.decisions import RoutingInput
from contracts.errors import StoreUnavailable
from gateway.retold import explained
from routing.targets import Split
from tests.gateway.house import House, Stores, open_house
from tests.routing.clockwork import book_of
from tests.support.waiting import until

TRY = "rules:\n  - name: rhymes\n    when: {keywords: rhyme}\n    agent: other\n"


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with open_house(stores) as house:
        await house.database.execute("DELETE FROM policies")
        yield house
        await house.database.execute("DELETE FROM policies")


async def post(house: House, path: str, **body: Any) -> Any:
    answer = await house.http.post(f"/admin/v1/routes/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def say(house: House, text: str, model: str = "auto") -> str:
    house.agent.answer("Very", " well.")
    return (await house.client.responses.create(model=model, input=text)).id


async def test_rules_are_listed_with_where_they_come_from(house: House) -> None:
    await house.http.put("/admin/v1/policies/org_verse", content=TRY)
    answer = await house.http.get("/admin/v1/routes?org=org_verse")
    assert answer.json() == {
        "org": "org_verse",
        "version": "org_verse.1",
        "rules": [
            {
                "name": "rhymes",
                "when": {"keywords": "rhyme"},
                "agent": "other",
                "from": "org_verse",
            },
            {"name": "rest", "when": "else", "agent": "echo", "from": "settings"},
        ],
    }
    everybody = (await house.http.get("/admin/v1/routes")).json()
    assert (everybody["version"], [rule["name"] for rule in everybody["rules"]]) == ("0", ["rest"])


async def test_the_way_of_a_message_is_shown(house: House) -> None:
    await house.http.put("/admin/v1/policies/base", content=TRY)
    told = await post(house, "explain", text="Give me a rhyme.")
    assert [(step["rule"], step["from"], step["outcome"]) for step in told["path"]] == [
        ("rhymes", "base", "match"),
        ("rest", "settings", "skipped"),
    ]
    assert told["path"][0]["when"] == {"keywords": "rhyme"}
    assert (told["agent"], told["version"]) == ("other", "base.1")
    assert told["leads_to"] == {"agent": "other"}
    assert "rhyme" in told["reason"]
    plain = await post(house, "explain", text="Give me prose.", user="ada", metadata={"a": "b"})
    assert [step["outcome"] for step in plain["path"]] == ["no", "match"]
    assert plain["agent"] == "echo"


async def test_who_names_an_agent_is_led_by_no_rule(house: House) -> None:
    told = await post(house, "explain", text="rhyme", model="echo")
    assert (told["agent"], told["path"]) == ("echo", [])
    unknown = await house.http.post(
        "/admin/v1/routes/explain", json={"text": "x", "model": "nobody"}
    )
    assert unknown.json()["error"]["code"] == "model_not_found"


async def test_a_replay_shows_what_would_change_and_keeps_nothing(house: House) -> None:
    since = time.time() - 1
    rhyme, prose = await say(house, "A rhyme, please."), await say(house, "Prose, please.")
    await say(house, "A rhyme by name.", model="echo")
    told = await post(house, "replay", since=since, text=TRY)
    assert (told["org"], told["messages"], told["same"], told["changed"]) == (house.org, 2, 1, 1)
    assert told["moves"] == [{"before": "echo", "after": "other", "count": 1}]
    assert told["rules"] == {"rhymes": 1, "rest": 1}
    (change,) = told["changes"]
    assert change["response_id"] == rhyme
    assert change["text"] == "A rhyme, please."
    assert (change["rule_before"], change["rule_after"]) == ("rest", "rhymes")
    assert (told["version"], told["faults"]) == ("base.1", [])
    assert (told["has_more"], told["last_id"]) == (False, rhyme)
    assert (await house.http.get("/admin/v1/policies/base")).json()["version"] == 0
    assert (await post(house, "replay", since=since))["changes"] == [], "by what is in force"

    page = await post(house, "replay", since=since, text=TRY, limit=1)
    assert (page["messages"], page["has_more"], page["last_id"]) == (1, True, prose)
    rest = await post(house, "replay", since=since, text=TRY, limit=1, before=prose)
    assert [change["response_id"] for change in rest["changes"]] == [rhyme]


async def test_another_organization_s_messages_are_not_read(house: House, stores: Stores) -> None:
    since = time.time() - 1
    await say(house, "A rhyme, please.")
    async with open_house(stores) as other:
        assert (await post(other, "replay", since=since, text=TRY))["messages"] == 0
        assert (await post(other, "replay", since=since, org=house.org))["messages"] == 1


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("explain", {}, "missing_required_parameter"),
        ("explain", {"text": ""}, "invalid_value"),
        ("explain", {"text": "x", "session": {"agent": 1}}, "invalid_type"),
        ("explain", {"text": "x", "session": {"id": "c" * 600}}, "message_too_long"),
        ("explain", {"text": "x", "background": "yes"}, "invalid_type"),
        ("replay", {"since": 0, "text": "agents: ["}, "invalid_policy"),
        ("replay", {"since": 0, "scope": "org_a", "org": "org_b"}, "invalid_scope"),
        ("replay", {"since": 0, "limit": 5000}, "invalid_value"),
        ("replay", {"since": -1}, "invalid_value"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    house: House, path: str, body: dict[str, Any], code: str
) -> None:
    answer = await house.http.post(f"/admin/v1/routes/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


BY_EXPRESSION = """
tier: gold
rules:
  - {name: pricey, when: double(message.metadata.price) > 100.0, agent: other}
  - {name: golden, when: 'org.tier == "gold" && session.turns >= 3', agent: other}
  - {name: half, when: message.length > 10, split: {by: user, agents: {echo: 1, other: 1}}}
  - name: asked
    when: user.id == "ada"
    classifier: {agent: echo, answers: {echo: plain, other: verse}, else: echo}
"""


async def test_expressions_splits_and_models_are_explained(house: House) -> None:
    put = await house.http.put("/admin/v1/policies/org_verse", content=BY_EXPRESSION)
    assert put.status_code == 200, put.text
    told = await post(house, "explain", org="org_verse", text="A long message.", user="ada")
    assert [step["outcome"] for step in told["path"]] == [
        "failed", "no", "match", "skipped", "skipped",
    ]  # fmt: skip
    assert "price" in told["path"][0]["why"]
    assert told["path"][3]["why"] == "would match"
    assert told["leads_to"] == {"split": {"by": "user", "agents": {"echo": 1, "other": 1}}}
    assert told["agent"] in ("echo", "other")
    again = await post(house, "explain", org="org_verse", text="short", user="ada")
    assert (again["agent"], list(again["leads_to"])) == (None, ["classifier"])
    assert "classifier" in again["reason"]
    late = await post(house, "explain", org="org_verse", text="short", session={"turns": 3})
    assert (late["agent"], late["path"][1]["outcome"]) == ("other", "match")


async def test_a_replay_tells_of_rules_that_have_no_answer(house: House) -> None:
    since = time.time() - 1
    await say(house, "Prose, please.")
    text = "rules:\n  - {name: pricey, when: double(message.metadata.price) > 1.0, agent: other}\n"
    told = await post(house, "replay", since=since, text=text)
    (fault,) = told["faults"]
    assert (fault["rule"], fault["source"], fault["count"]) == ("pricey", "base", 1)
    assert (told["same"], told["changed"]) == (1, 0)


BY_CONVERSATION = """
rules:
  - {name: long, when: session.messages > 300, agent: other}
  - {name: waits-not, when: turn.background, agent: other}
  - {name: anew, when: turn.regenerate, agent: other}
  - {name: half, when: session.id != "", split: {by: session, agents: {echo: 1, other: 1}}}
"""


async def test_all_that_rules_see_of_a_conversation_can_be_explained(house: House) -> None:
    put = await house.http.put("/admin/v1/policies/base", content=BY_CONVERSATION)
    assert put.status_code == 200, put.text

    async def rule(**given: Any) -> str:
        told = await post(house, "explain", text="hi", **given)
        return next(step["rule"] for step in told["path"] if step["outcome"] == "match")

    assert await rule(session={"messages": 301}) == "long"
    assert await rule(background=True) == "waits-not"
    assert await rule(regenerate=True) == "anew"
    assert await rule() == "rest"
    split = Split("session", (("echo", 1), ("other", 1)))
    for name in ("conv_1", "conv_2", "conv_3", "conv_4"):
        told = await post(house, "explain", text="hi", session={"id": name})
        assert told["agent"] == split.agent("half", RoutingInput("other words", session_id=name))


async def test_the_loop_goes_on_while_a_message_is_explained(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[bool] = []

    def told(*given: Any) -> dict[str, Any]:
        here.append(threading.current_thread() is threading.main_thread())
        return explained(*given)

    monkeypatch.setattr("gateway.routes.explained", told)
    await post(house, "explain", text="x")
    assert here == [False]


async def test_candidates_are_the_endpoints_where_it_leads(house: House, stores: Stores) -> None:
    row = {"model": "m", "region": None, "asked": 9, "failed": 1, "rate_limited_until": None}
    seen = {"endpoint": "own", "state": "open", "expected_ms": 210, "running": 3}
    report = {
        "host": "host_explains",
        "endpoints": [{**row, **seen, "agent": "echo"}, {**row, **seen, "agent": "another"}],
    }
    exchange = Exchange(stores.redis_url, "host_explains", book_of(), lambda: report)

    async def reported() -> bool:
        hosts = await house.services.reports.hosts()
        return any(host["host"] == report["host"] for host in hosts)

    exchange.open()
    try:
        await until(reported, "the host reports")
        assert (await post(house, "explain", text="x"))["candidates"] == [seen]
    finally:
        await exchange.aclose()


async def test_where_hosts_cannot_be_heard_a_message_is_explained_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> list[dict[str, Any]]:
        raise StoreUnavailable("Redis is away.")

    monkeypatch.setattr(house.services.reports, "hosts", away)
    told = await post(house, "explain", text="x")
    assert (told["agent"], told["candidates"]) == ("echo", None)
