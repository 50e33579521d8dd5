"""What fell out of the window is still known: summed up by one agent, shown to another."""

from __future__ import annotations

import pytest

from agents.registry import build
from context.history import window
from context.summarize import portion, request
from contracts.agents import ModelRequest
from contracts.memory import Summary
from tests.agents.conformance import collect, said, spec_with
from tests.agents.simulated import SIMULATED
from tests.support.simulator import SimulatorProcess

BUDGET = 300
FILLER = "Here is a long sentence of no importance whatever. " * 4


@pytest.mark.parametrize("name", SIMULATED)
async def test_a_name_is_remembered_through_two_summaries(
    name: str, agents_simulator: SimulatorProcess
) -> None:
    provider = SIMULATED[name](agents_simulator)
    agent, model = build(spec_with(provider.spec)), provider.model(seed=0)
    turns = [("user", "My name is Anna."), ("assistant", "Hello Anna.")]
    summary: Summary | None = None
    written = 0

    async def answer(asked: ModelRequest) -> str:
        texts, _ = await collect(agent, asked)
        return "".join(texts)

    try:
        while written < 2:
            turns += [("user", FILLER), ("assistant", FILLER)]
            if due := portion(said(*turns), BUDGET, summary):
                text = await answer(request(due, model, 200))
                summary = Summary(text, due.covers_to)
                written += 1
        assert summary is not None
        messages = said(*turns, ("user", "What is my name?"))
        shown = window(messages, BUDGET, None, summary)
        assert not any("Anna" in m.text for m in shown if m.role != "developer")
        assert "**Anna**" in await answer(ModelRequest(model, tuple(shown)))
        forgotten = window(messages, BUDGET)
        assert "haven't told me" in await answer(ModelRequest(model, tuple(forgotten)))
    finally:
        await agent.aclose()
