"""The desk: the agents a session can turn to, and the rules that choose between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.agents import Agent
from contracts.decisions import Decision, RoutingInput
from contracts.messages import FailurePolicy, OnBusy
from routing.decide import decide
from routing.rules import RuleSet


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent as a turn meets it: the adapter of its endpoint, and its definition.

    Args:
        name: As callers say it in `model`.
        agent: The adapter; shared by all turns of the process.
        model: The provider's name of the model.
        instructions: The agent's prompt.
        context_tokens: Budget for the conversation's window, instructions included.
        attempts: How often a turn may ask before its first token, at least 1.
        max_answer_chars: An answer ends as incomplete there.
        on_host_loss: What becomes of a turn whose host is gone.
        on_busy: What becomes of a message that comes while a turn runs, unless it says so itself.
        summarize_with: The agent that sums up long conversations; None: nobody does.
        summary_tokens: What a summary may cost.
    """

    name: str
    agent: Agent
    model: str
    instructions: str | None
    temperature: float | None
    max_output_tokens: int | None
    context_tokens: int
    attempts: int
    max_answer_chars: int
    on_host_loss: FailurePolicy = "continue"
    on_busy: OnBusy = "queue"
    summarize_with: str | None = None
    summary_tokens: int = 1000


class Desk:
    """Chooses the agent for a message."""

    def __init__(self, seats: Mapping[str, Seat], rules: RuleSet) -> None:
        self._seats = dict(seats)
        self._rules = rules

    def choose(self, model: str, message: RoutingInput) -> tuple[Decision, Seat]:
        """The decision and the agent it names. Raises `UnknownModel`."""
        decision = decide(self._rules, self._seats, model, message)
        return decision, self._seats[decision.agent]

    def seat(self, name: str) -> Seat | None:
        """The agent of that name, if it is still there."""
        return self._seats.get(name)

    def any_seat(self) -> Seat:
        """Some agent: for a turn that is to end because its own is no longer there."""
        return next(iter(self._seats.values()))

    async def aclose(self) -> None:
        for seat in self._seats.values():
            await seat.agent.aclose()
