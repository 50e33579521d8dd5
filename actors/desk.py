"""The desk: the agents a session can turn to, and the rules that choose between them.

What is in force may be replaced at any time. A turn keeps the seat it was given to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.agents import Agent
from contracts.decisions import Classifier, Decision, Found, Oracle, RoutingInput, Semantic
from contracts.errors import TroupeError
from contracts.messages import FailurePolicy, OnBusy
from contracts.money import NO_BUDGETS, Budgets, Charge, Price
from contracts.tasks import spawn
from routing.decide import decide
from routing.endpoints import EndpointSet, limit
from routing.rules import Rule, RuleSet
from routing.targets import Ask

log = logging.getLogger("troupe.actors.desk")

TALLIED = 1000
"""Turns of which a share is kept, about."""


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint as a turn meets it.

    Args:
        name: Unique among its agent's.
        agent: The adapter; shared by all turns of the process.
        model: The provider's name of the model.
        price: None: not known.
        continues: Whether its model can go on with an answer that another one began.
    """

    name: str
    agent: Agent
    model: str
    price: Price | None = None
    continues: bool = True


@dataclass(slots=True)
class Tally:
    """How many of an agent's turns there were, and were hedged; older ones count for less."""

    turns: int = 0
    hedged: int = 0

    def allows(self, share: float) -> bool:
        """Whether one more may be hedged."""
        if self.turns > TALLIED:
            self.turns //= 2
            self.hedged //= 2
        return self.hedged + 1 <= share * self.turns


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second request where the first does not speak: the one that speaks first is heard.

    Args:
        after_s: Seconds without a first token.
        max_nano: Nano-dollars that the second request may cost, by its estimate; where its model
            has no price it is not sent.
        share: Of the agent's turns that may be hedged at most, from 0 to 1.
        tally: By which the share is kept.
    """

    after_s: float
    max_nano: int
    share: float
    tally: Tally = field(default_factory=Tally, compare=False)


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent as a turn meets it: its endpoints, and its definition.

    Args:
        name: As callers say it in `model`.
        places: Its endpoints by name, at least one.
        endpoints: Chooses among them.
        instructions: The agent's prompt.
        context_tokens: Budget for the conversation's window, instructions included.
        max_answer_chars: An answer ends as incomplete there.
        attempts: Requests that one turn may make in all, at least 1.
        retry_s: Seconds from a turn's beginning, or from the loss of an answer that had begun, in
            which it may make a further request.
        retry_nano: Nano-dollars that requests after the first may cost; None: no bound of its own.
        backoff_s: Seconds before an endpoint that failed a turn is asked again by it; as much
            longer each time.
        backoff_max_s: Seconds of that at most.
        on_failure: What becomes of a begun answer whose provider fails.
        fallbacks: Agents that are asked where none of its own endpoints answers.
        hedge: None: a slow first token is waited for.
        on_host_loss: What becomes of a turn whose host is gone.
        on_busy: What becomes of a message that comes while a turn runs, unless it says so itself.
        summarize_with: The agent that sums up long conversations; None: nobody does.
        summary_tokens: What a summary may cost.
        made_from: What it was made of; where that has not changed, the seat is kept.
    """

    name: str
    places: Mapping[str, Place]
    endpoints: EndpointSet
    instructions: str | None
    temperature: float | None
    max_output_tokens: int | None
    context_tokens: int
    max_answer_chars: int
    attempts: int = 3
    retry_s: float = 30.0
    retry_nano: int | None = None
    backoff_s: float = 0.1
    backoff_max_s: float = 1.0
    on_failure: FailurePolicy = "continue"
    fallbacks: tuple[str, ...] = ()
    hedge: Hedge | None = None
    on_host_loss: FailurePolicy = "continue"
    on_busy: OnBusy = "queue"
    summarize_with: str | None = None
    summary_tokens: int = 1000
    made_from: object = field(default=None, repr=False, compare=False)

    @property
    def first(self) -> Place:
        """The endpoint that is named first."""
        return next(iter(self.places.values()))

    async def aclose(self) -> None:
        for place in self.places.values():
            await place.agent.aclose()


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds now, in one piece, so that no turn sees half of a change.

    Args:
        seats: The agents by name.
        rules: What `auto` goes through, where an organization has nothing of its own.
        rules_of: By organization: its rules, followed by those for everybody.
        budgets: Where an organization has nothing of its own.
        budgets_of: By organization.
        tiers: By organization: what the operators call its kind.
        revision: Of the newest policy in it; 0: settings alone.
        made_from: What was read for it, held so that what stays is not read and compiled again.
    """

    seats: Mapping[str, Seat]
    rules: RuleSet
    rules_of: Mapping[str, RuleSet] = field(default_factory=dict[str, RuleSet])
    budgets: Budgets = NO_BUDGETS
    budgets_of: Mapping[str, Budgets] = field(default_factory=dict[str, Budgets])
    tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: int = 0
    made_from: object = field(default=None, repr=False, compare=False)

    def own_rules(self) -> Iterator[Rule]:
        """The rules of organizations, without those for everybody."""
        shared = {id(part.library) for part in self.rules.parts}
        for rules in self.rules_of.values():
            for part in rules.parts:
                if id(part.library) not in shared:
                    yield from part.rules

    def questions(self) -> list[Semantic | Classifier]:
        """What its rules may ask of models, everybody's first."""
        targets = [rule.target for rule in (*self.rules.rules, *self.own_rules())]
        return list(dict.fromkeys(one.question for one in targets if isinstance(one, Ask)))


Pay = Callable[[str, str | None, Sequence[Charge]], None]
"""Counts charges of an organization and a user."""


class Paid:
    """An oracle as one message asks it: whoever said the message pays for what was asked.

    A question that nobody waits for any longer has its time all the same, so that it is known what
    it cost.
    """

    __slots__ = ("_message", "_oracle", "_pay")

    def __init__(self, oracle: Oracle, message: RoutingInput, pay: Pay) -> None:
        self._oracle = oracle
        self._message = message
        self._pay = pay

    async def nearest(self, question: Semantic, text: str) -> Found:
        return await self._apart(self._oracle.nearest(question, text), question.timeout_s)

    async def classify(self, question: Classifier, text: str) -> Found:
        return await self._apart(self._oracle.classify(question, text), question.timeout_s)

    async def _apart(self, asking: Coroutine[Any, Any, Found], timeout_s: float) -> Found:
        work = self._paid(asking, timeout_s)
        return await asyncio.shield(spawn(work, name="rule-asks", on_error=_noted))

    async def _paid(self, asking: Coroutine[Any, Any, Found], timeout_s: float) -> Found:
        spent: tuple[Charge, ...] = ()
        try:
            async with asyncio.timeout(timeout_s):
                found = await asking
            spent = found.charges
            return found
        except TroupeError as error:
            spent = error.charges
            raise
        finally:
            if spent:
                self._pay(self._message.org_id, self._message.user, spent)


def _noted(error: BaseException) -> None:
    log.debug("a question of a rule has no answer: %r", error)


class Desk:
    """Chooses the agent for a message.

    Args:
        in_force: What holds, until it is replaced.
        oracle: Answers rules that ask a model; None: they lead to their `else`.
    """

    def __init__(self, in_force: InForce, oracle: Oracle | None = None) -> None:
        self.oracle = oracle
        self.replace(in_force)

    def replace(self, in_force: InForce) -> None:
        """From now on this holds, also of what endpoints can take."""
        self.in_force = in_force
        limit(seat.endpoints for seat in in_force.seats.values())

    async def choose(
        self, model: str, message: RoutingInput, *, ask: bool = True, pay: Pay | None = None
    ) -> tuple[Decision, Seat]:
        """The decision and the agent it names. Raises `UnknownModel`.

        `ask` False: no model is asked, as if none had answered. `pay`: counts what asking cost.
        """
        now = self.in_force
        rules = now.rules_of.get(message.org_id, now.rules)
        oracle = self.oracle if ask else None
        if oracle is not None and pay is not None:
            oracle = Paid(oracle, message, pay)
        decision = await decide(rules, now.seats, model, message, oracle)
        return decision, now.seats[decision.agent]

    def seat(self, name: str) -> Seat | None:
        """The agent of that name, if it is still there."""
        return self.in_force.seats.get(name)

    def any_seat(self) -> Seat:
        """Some agent: for a turn that is to end because its own is no longer there."""
        return next(iter(self.in_force.seats.values()))

    def budgets(self, org_id: str) -> Budgets:
        """What may be spent there."""
        return self.in_force.budgets_of.get(org_id, self.in_force.budgets)

    def tier(self, org_id: str) -> str:
        return self.in_force.tiers.get(org_id, "")

    async def aclose(self) -> None:
        for seat in self.in_force.seats.values():
            await seat.aclose()
