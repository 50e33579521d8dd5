"""What the settings say of endpoints holds where turns meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.desk import Seat
from actors.seating import health_of, seat_of
from agents.streaming import StreamingAgent
from config.load import load
from contracts.errors import ProviderUnavailable

SIMULATED = {"TROUPE_SIMULATOR__URL": "http://127.0.0.1:9"}
FALLBACK = {"TROUPE_AGENTS__GPT__FALLBACKS": '["gemini"]'}
DOWN = ProviderUnavailable("It is down.")
NOW = 1000.0


@asynccontextmanager
async def seated(**routing: str) -> AsyncIterator[Seat]:
    """The agent `gpt` by these settings, with variables' names in the place of keys."""
    settings = load({**SIMULATED, **routing})
    seat = seat_of(settings, "gpt", settings.agents["gpt"], health_of(settings))
    yield seat
    await seat.aclose()


def fails(seat: Seat, now: float) -> None:
    ticket = seat.endpoints.take(now, tokens=10)
    assert ticket is not None
    ticket.failed(now, DOWN)


async def test_figures_of_the_settings_reach_circuits_streams_and_turns() -> None:
    figures = {
        "TROUPE_ROUTING__CIRCUIT__STREAK": "2",
        "TROUPE_ROUTING__CIRCUIT__FIRST_S": "20",
        "TROUPE_ROUTING__SILENT_S": "7",
        "TROUPE_ROUTING__BACKOFF_S": "0.5",
        "TROUPE_ROUTING__BACKOFF_MAX_S": "4",
    }
    async with seated(**figures) as seat:
        fails(seat, NOW)
        assert seat.endpoints.wait_s(NOW, tokens=10) == 0
        fails(seat, NOW)
        assert 20 <= seat.endpoints.wait_s(NOW, tokens=10) <= 24
        assert isinstance(seat.first.agent, StreamingAgent)
        assert seat.first.agent.spec.silent_s == 7
        assert (seat.backoff_s, seat.backoff_max_s) == (0.5, 4)


async def test_an_agent_with_a_fallback_lets_it_answer_for_longer_each_time() -> None:
    for variables, longest_s in ((FALLBACK, 40.0), ({}, 1.2)):
        async with seated(**variables) as seat:
            now = NOW
            for _ in range(3):
                fails(seat, now)
            for _ in range(6):
                now += seat.endpoints.wait_s(now, tokens=10)
                fails(seat, now)
            wait_s = seat.endpoints.wait_s(now, tokens=10)
            assert longest_s * 0.75 <= wait_s <= longest_s
