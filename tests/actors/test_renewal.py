"""What a desk works with changes as policies do, under turns that go on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.desk import Desk, Seat
from actors.renewal import Renewal
from actors.report import rule_rows
from actors.seating import health_of, seat_of
from actors.seats import in_force
from agents.pool import POOL
from agents.streaming import StreamingAgent
from config.agents import Agent
from config.files import parse_yaml
from config.load import load
from config.settings import Settings
from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest
from contracts.money import Price, nano
from contracts.policies import BASE, Policy
from routing import expressions
from routing.endpoints import Balanced
from routing.expressions import Expression
from routing.library import Library

SETTINGS = load({"TROUPE_SIMULATOR__URL": "http://127.0.0.1:9"})
POET = "agents:\n  poet: {provider: openai, model: %s}\n"
TO_POET = "rules:\n  - {name: verse, when: {keywords: rhyme}, agent: poet}\n"
LAST_S = SETTINGS.hosts.max_turn_s * (SETTINGS.hosts.mailbox_size + 1)


def base(text: str, version: int = 1) -> Policy:
    return Policy(BASE, version, version, text, 0.0)


class Stage:
    """A desk whose time passes when a test says so."""

    def __init__(self) -> None:
        health = health_of(SETTINGS)
        self.desk = Desk(in_force(SETTINGS, health))
        self.waits: list[tuple[float, asyncio.Event]] = []
        self.renewal = Renewal(SETTINGS, health, self.desk, self.sleep)

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        self.waits.append((seconds, over))
        await over.wait()

    def adapter(self, name: str) -> StreamingAgent:
        seat = self.desk.seat(name)
        assert seat is not None
        agent = seat.first.agent
        assert isinstance(agent, StreamingAgent)
        return agent

    async def choice(self, text: str, org_id: str = "") -> str:
        _, seat = await self.desk.choose("auto", RoutingInput(text, {}, org_id=org_id))
        return seat.name


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    before = len(POOL)
    stage = Stage()
    yield stage
    await stage.renewal.aclose()
    await stage.desk.aclose()
    assert len(POOL) == before, "every connection pool is given back"


async def test_a_new_agent_and_its_rule_hold_for_the_next_message(stage: Stage) -> None:
    assert await stage.choice("a rhyme") == "gpt"
    await stage.renewal.apply([base(POET % "verse" + TO_POET)])
    assert await stage.choice("a rhyme") == "poet"
    assert await stage.choice("prose") == "gpt"
    assert stage.desk.in_force.revision == 1
    await stage.renewal.apply([base("", 2)])
    assert await stage.choice("a rhyme") == "gpt"
    assert stage.desk.seat("poet") is None


async def test_an_organization_s_rules_are_its_own(stage: Stage) -> None:
    theirs = Policy("org_a", 1, 2, "tier: gold\n" + TO_POET, 0.0)
    await stage.renewal.apply([base(POET % "verse"), theirs])
    assert await stage.choice("a rhyme", "org_a") == "poet"
    assert await stage.choice("a rhyme", "org_b") == "gpt"
    assert (stage.desk.tier("org_a"), stage.desk.tier("org_b")) == ("gold", "")


async def test_budgets_and_prices_change_and_endpoints_stay(stage: Stage) -> None:
    gpt = stage.adapter("gpt")
    text = (
        "budgets: {session: {hard_usd: 2}}\nprices: {gpt-5.4-mini: {input_usd: 1, output_usd: 3}}"
    )
    theirs = Policy("org_a", 1, 2, "budgets: {session: {hard_usd: 5}}", 0.0)
    await stage.renewal.apply([base(text), theirs])
    assert stage.desk.budgets("org_b").session.hard == nano(2)
    assert stage.desk.budgets("org_a").session.hard == nano(5)
    seat = stage.desk.seat("gpt")
    assert seat is not None
    assert seat.first.price == Price(1, 3)
    assert stage.adapter("gpt") is gpt
    assert stage.waits == []


async def test_agents_that_did_not_change_are_kept_with_all_that_is_known_of_them(
    stage: Stage,
) -> None:
    await stage.renewal.apply([base(POET % "verse")])
    gpt, poet = stage.desk.seat("gpt"), stage.desk.seat("poet")
    await stage.renewal.apply([base("# again\n" + POET % "verse" + TO_POET, 2)])
    assert stage.desk.seat("gpt") is gpt
    assert stage.desk.seat("poet") is poet
    assert stage.waits == [], "nothing was left"
    await stage.renewal.apply([base(POET % "prose", 3)])
    assert stage.desk.seat("gpt") is gpt
    assert stage.desk.seat("poet") is not poet


async def test_an_adapter_that_was_left_is_closed_once_no_turn_can_have_it(stage: Stage) -> None:
    await stage.renewal.apply([base(POET % "verse")])
    poet = stage.adapter("poet")
    await stage.renewal.apply([base("", 2)])
    await asyncio.sleep(0)
    ((seconds, over),) = stage.waits
    assert seconds == LAST_S
    assert not poet._closed, "a turn may still be speaking with it"
    over.set()
    while not poet._closed:
        await asyncio.sleep(0)


async def test_the_end_closes_what_was_left_at_once(stage: Stage) -> None:
    await stage.renewal.apply([base(POET % "verse")])
    poet = stage.adapter("poet")
    await stage.renewal.apply([base("", 2)])
    await stage.renewal.aclose()
    assert poet._closed


@pytest.mark.parametrize(
    "text",
    [
        "agents: [",
        POET % "verse" + TO_POET.replace("poet", "pet"),
    ],
)
async def test_what_cannot_be_had_changes_nothing(stage: Stage, text: str) -> None:
    await stage.renewal.apply([base(POET % "verse")])
    before, pools = stage.desk.in_force, len(POOL)
    with pytest.raises(InvalidRequest):
        await stage.renewal.apply([base(text, 2)])
    assert stage.desk.in_force is before
    assert len(POOL) == pools
    assert not stage.adapter("poet")._closed


SHARED = (
    "agents:\n"
    "  {name}:\n"
    "    provider: openai\n"
    "    model: gpt-5.4-mini\n"
    "    endpoints: [{{requests_per_minute: {limit}}}]\n"
)


def allowed(stage: Stage, name: str) -> int | None:
    """What may be asked of an agent's first endpoint within a minute."""
    seat = stage.desk.seat(name)
    assert seat is not None and isinstance(seat.endpoints, Balanced)
    return seat.endpoints.endpoints[0].health.capacity.requests_per_minute


async def test_of_what_agents_say_of_one_endpoint_the_least_holds_while_they_are_there(
    stage: Stage,
) -> None:
    gpt = SHARED.format(name="gpt", limit=500)
    silent = "  poet: {provider: openai, model: gpt-5.4-mini}\n"
    strict = SHARED.format(name="poet", limit=20).removeprefix("agents:\n")
    await stage.renewal.apply([base(gpt)])
    assert allowed(stage, "gpt") == 500
    await stage.renewal.apply([base(gpt + silent, 2)])
    assert allowed(stage, "gpt") == allowed(stage, "poet") == 500
    await stage.renewal.apply([base(gpt + strict, 3)])
    assert allowed(stage, "gpt") == allowed(stage, "poet") == 20
    held = stage.desk.seat("poet")
    await stage.renewal.apply([base(gpt, 4)])
    assert held is not None, "as a turn has it that still runs"
    assert allowed(stage, "gpt") == 500
    await stage.renewal.apply([base("", 5)])
    assert allowed(stage, "gpt") is None


async def test_agents_that_are_refused_say_nothing_of_endpoints(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.renewal.apply([base(SHARED.format(name="gpt", limit=500))])

    def seat(settings: Settings, name: str, definition: Agent, *rest: Any) -> Seat:
        if name == "odd":
            raise InvalidRequest("No adapter for it.")
        return seat_of(settings, name, definition, *rest)

    monkeypatch.setattr("actors.seats.seat_of", seat)
    odd = "  odd: {provider: openai, model: x}\n"
    with pytest.raises(InvalidRequest):
        await stage.renewal.apply([base(SHARED.format(name="gpt", limit=20) + odd, 2)])
    assert allowed(stage, "gpt") == 500


async def test_what_an_adapter_refuses_leaves_nothing_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seat(settings: Settings, name: str, definition: Agent, *rest: Any) -> Seat:
        if name == "odd":
            raise InvalidRequest("No adapter for it.")
        return seat_of(settings, name, definition, *rest)

    monkeypatch.setattr("actors.seats.seat_of", seat)
    before, pools = stage.desk.in_force, dict(POOL._clients)
    with pytest.raises(InvalidRequest):
        await stage.renewal.apply([base(POET % "verse" + "  odd: {provider: openai, model: x}\n")])
    assert stage.desk.in_force is before
    assert POOL._clients == pools, "what was made for it is given back"


def organizations(count: int, *, first: str = "agent: gpt") -> list[Policy]:
    """Each with a rule of its own, of which the first one's leads there."""
    return [
        Policy(
            f"org_{n}",
            1,
            n + 2,
            f"rules: [{{name: own, when: user.id == 'u{n}', {'agent: gpt' if n else first}}}]\n",
            0.0,
        )
        for n in range(count)
    ]


async def test_what_did_not_change_is_neither_read_nor_compiled_again_nor_here_on_the_loop(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    read: list[str] = []
    here: list[bool] = []

    def expression(source: str) -> Expression:
        compiled.append(source)
        here.append(threading.current_thread() is threading.main_thread())
        return expressions.expression(source)

    def close(library: Library) -> None:
        here.append(threading.current_thread() is threading.main_thread())
        closed(library)

    def parse(name: str, text: str) -> Any:
        read.append(name)
        return parse_yaml(name, text)

    closed = Library.close
    monkeypatch.setattr("routing.compiled.expression", expression)
    monkeypatch.setattr(Library, "close", close)
    monkeypatch.setattr("config.policies.parse_yaml", parse)
    everybody = base("rules: [{name: long, when: message.length > 7001, agent: gpt}]\n")
    theirs = organizations(3)
    await stage.renewal.apply([everybody, *theirs])
    assert sorted(compiled) == [
        "message.length > 7001",
        *(f"user.id == 'u{n}'" for n in range(3)),
    ]
    now = stage.desk.in_force
    for rules in now.rules_of.values():
        assert rules.parts[-1] is now.rules.parts[0], "for everybody there is one set of them"

    compiled.clear()
    read.clear()
    theirs[1] = theirs[1]._replace(
        version=2, revision=9, text=theirs[1].text.replace("gpt", "gemini")
    )
    await stage.renewal.apply([everybody, *theirs])
    assert (compiled, read) == ([], ["org_1"])
    assert await stage.choice("hi", "org_1") == "gpt"
    assert here and not any(here)


async def test_a_rule_that_did_not_change_keeps_its_counts_and_says_what_is_wrong_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    everybody = base("rules: [{name: plan, when: message.metadata.plan == 'p', agent: gpt}]\n")
    with caplog.at_level(logging.WARNING, "troupe.routing.rules"):
        for leads_to in ("agent: gpt", "agent: gemini"):
            await stage.renewal.apply([everybody, *organizations(2, first=leads_to)])
            for org_id in ("org_0", "org_1", "org_2"):
                await stage.choice("hi", org_id)
    assert [record.getMessage() for record in caplog.records] == [
        'rule plan (base) cannot be asked: there is no "plan" in it'
    ]
    [row] = [row for row in rule_rows(stage.desk) if row["rule"] == "plan"]
    assert [fault["count"] for fault in row["faults"]] == [6]
