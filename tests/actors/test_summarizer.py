"""Long conversations are summed up behind their turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from context.history import SUMMED_UP
from context.tokens import estimate
from contracts.agents import End
from contracts.errors import ProviderInterrupted, ProviderRateLimited, StoreUnavailable
from contracts.money import Price, cost
from routing.prices import estimated_input
from tests.actors.conftest import Stage, ask
from tests.support.endpoints import InOrder
from tests.support.runtime import (
    OneHost,
    ScriptedAgent,
    UnitLedger,
    UnitMemory,
    make_link,
    make_runtime,
)
from tests.support.waiting import until

LONG = "So it was said, and at length. " * 12


class Archive(Stage):
    scribe: ScriptedAgent
    ledger: UnitLedger


@pytest.fixture
async def archive() -> AsyncIterator[Archive]:
    """An agent with room for a few messages, and another that sums up for it."""
    memory, agent, scribe = UnitMemory(), ScriptedAgent(), ScriptedAgent()
    runtime = make_runtime(
        memory,
        {"echo": agent, "scribe": scribe},
        context_tokens=600,
        summarize_with={"echo": "scribe"},
        price=Price(1.0, 4.0),
        ledger=(ledger := UnitLedger()),
    )
    host = OneHost(runtime)
    link = make_link(host)
    archive = Archive(memory, agent, runtime, host, link, memory.create())
    archive.scribe, archive.ledger = scribe, ledger
    yield archive
    await link.close()
    await runtime.close()


async def say(archive: Archive, text: str) -> None:
    archive.agent.answer(f"re: {text}")
    _, reader = await archive.link.start(archive.key, ask(text))
    async with asyncio.timeout(30):
        while "ended" not in [event.kind for _, event in await reader.next()]:
            pass
    reader.close()


async def until_asked(scribe: ScriptedAgent, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(scribe.requests) < times:
            await asyncio.sleep(0.001)


async def until_kept(archive: Archive, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(archive.memory.summaries) < times:
            await asyncio.sleep(0.001)


async def test_what_no_longer_fits_is_summed_up_and_shown_in_its_place(archive: Archive) -> None:
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    await until_asked(archive.scribe)
    assert "user: 0 So it was said" in archive.scribe.requests[0].messages[0].text
    # Nobody waits for it: the conversation goes on meanwhile.
    await say(archive, "short")
    assert archive.memory.summaries == []
    archive.scribe.answer("They ", "talked at length.")
    await until_kept(archive)
    summary = archive.memory.summaries[0]
    assert summary.text == "They talked at length."
    await say(archive, f"next {LONG}")
    shown = archive.agent.requests[-1].messages
    assert (shown[0].role, shown[0].text) == ("developer", SUMMED_UP + summary.text)
    assert all(message.position > summary.covers_to for message in shown[1:])
    assert len(archive.memory.shelves[archive.key].messages) == 10, "the history stays whole"
    assert archive.ledger.charged == [("org_default", None, 1_000 + 2 * 4_000, 0)]


async def test_it_is_asked_at_an_endpoint_whose_place_is_given_back(archive: Archive) -> None:
    scribe = archive.runtime._desk.in_force.seats["scribe"]
    assert isinstance(scribe.endpoints, InOrder)
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    await until_asked(archive.scribe)
    archive.scribe.say(ProviderRateLimited("later"))
    async with asyncio.timeout(30):
        while archive.scribe.open:
            await asyncio.sleep(0.001)
    await say(archive, "go on")
    await until_asked(archive.scribe, 2)
    archive.scribe.answer("kept")
    await until_kept(archive)
    assert [what for _, what in scribe.endpoints.told] == [
        "provider_rate_limited",
        "spoke",
        "done",
    ]


@pytest.mark.parametrize("where", ["model", "store"])
async def test_a_failure_costs_nothing_and_is_tried_after_the_next_turn(
    archive: Archive, where: str
) -> None:
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    await until_asked(archive.scribe)
    if where == "model":
        archive.scribe.say(ProviderRateLimited("later"))
    else:
        archive.memory.broken = [StoreUnavailable("away")]
        archive.scribe.answer("lost")
    async with asyncio.timeout(30):
        while archive.scribe.open or archive.memory.broken:
            await asyncio.sleep(0.001)
    await say(archive, "go on")
    await until_asked(archive.scribe, 2)
    archive.scribe.answer("kept")
    await until_kept(archive)
    assert archive.memory.summaries[0].text == "kept"


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (("It ", "began", ProviderRateLimited("enough")), "It began"),
        ((ProviderInterrupted("It broke."),), ""),
        (("It ", "began", None), "It began"),
        ((None,), ""),
        (("all of it", End("stop", None)), "all of it"),
    ],
    ids=["refused after a word", "interrupted", "given up", "given up at once", "without a count"],
)
async def test_what_a_provider_gave_no_count_of_is_paid_for_by_estimate(
    archive: Archive, items: tuple[Any, ...], said: str
) -> None:
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    await until_asked(archive.scribe)
    archive.scribe.say(*(item for item in items if item is not None))
    if None in items:
        await until(archive.scribe.said.empty, "it is said")
        await archive.runtime.depose([archive.key])
    await until(lambda: len(archive.ledger.charged) == 1, "the charge")
    asked = archive.scribe.requests[0]
    nano = cost(Price(1.0, 4.0), estimated_input(asked), estimate(said) if said else 0)
    assert archive.ledger.charged == [("org_default", None, nano, 0)]


async def test_a_summary_that_is_refused_costs_nothing(archive: Archive) -> None:
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    await until_asked(archive.scribe)
    archive.scribe.say(ProviderRateLimited("later"))
    await until(lambda: archive.scribe.open == 0, "it is over")
    await say(archive, "go on")
    await until_asked(archive.scribe, 2)
    assert archive.ledger.charged == []


async def test_a_deleted_item_takes_the_summary_along(archive: Archive) -> None:
    for n in range(3):
        await say(archive, f"{n} {LONG}")
    archive.scribe.answer("a secret was told")
    await until_kept(archive)
    first = archive.memory.shelves[archive.key].messages[0]
    await archive.link.delete_item(archive.key, first.id)
    await say(archive, "and now?")
    assert not any("secret" in m.text for m in archive.agent.requests[-1].messages)
    # A new one is written without what is gone.
    await until_asked(archive.scribe, 2)
    assert "user: 0 So" not in archive.scribe.requests[1].messages[0].text


async def test_a_conversation_that_fits_is_left_alone(archive: Archive) -> None:
    for n in range(3):
        await say(archive, f"{n} short")
    assert archive.scribe.requests == []
