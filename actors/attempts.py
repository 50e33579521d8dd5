"""The requests that one turn makes to providers: who is asked, for how long, and what it cost.

Each request has a ticket, which is given back exactly once, and in the end a charge if a provider
may have worked for it. Which endpoint is next: one of the agent's own that has not failed the turn,
then such a one of its fallbacks, then, after a pause, one that has. Whether there is a next one at
all says the contract (`routing.failover`).

A fallback answers with its own model and its own limits, but under the prompt of the agent that it
stands in for: that is who the conversation is with.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from typing import Protocol, cast

from actors.charges import within
from actors.desk import Hedge, Place, Seat
from contracts.agents import End, ModelRequest
from contracts.errors import (
    AgentUnavailable,
    OverBudget,
    ProviderError,
    ProviderUnauthorized,
    TroupeError,
)
from contracts.messages import ResponseRecord, Usage
from contracts.money import cost
from routing.endpoints import Ticket
from routing.failover import Again, Contract, Failure, after
from routing.prices import charge_for, estimated_input, may_have_cost

log = logging.getLogger("troupe.actors.attempts")

ANSWER_TOKENS = 1000
"""What an answer is expected to take at most, where nobody set a limit."""
_LOOK_AGAIN_S = 1.0
_SOON_S = 0.02


class Attempt:
    """One request: a place, its ticket, and once it is asked a stream."""

    __slots__ = ("asked", "begins_at", "heard", "number", "place", "request", "seat", "ticket")

    def __init__(self, seat: Seat, place: Place, ticket: Ticket) -> None:
        self.seat = seat
        self.place = place
        self.ticket: Ticket | None = ticket
        """None once it was given back."""
        self.number = 0
        """Of the turn's requests in this activation, from 1."""
        self.request: ModelRequest | None = None
        self.begins_at = 0
        """How many characters of the answer came before it."""
        self.asked = False
        self.heard = False

    @property
    def name(self) -> str:
        """As legs say it."""
        return f"{self.seat.name}/{self.place.name}"

    def stream(self) -> AsyncGenerator[str | End, None]:
        """The request, on its way as soon as the first item is waited for."""
        assert self.request is not None, "nothing to ask"
        self.asked = True
        items = self.place.agent.stream(self.request)
        return cast("AsyncGenerator[str | End, None]", items)

    def spoke(self) -> None:
        """Its first word, or its end, is here."""
        if self.ticket is not None:
            self.ticket.spoke(_now())

    def give_back(self) -> Ticket | None:
        """The ticket, to whoever closes it; None to all who come later."""
        ticket, self.ticket = self.ticket, None
        return ticket


class Compose(Protocol):
    """What a model is asked; `said`: how the answer has begun."""

    def __call__(self, seat: Seat, place: Place, said: str | None) -> ModelRequest: ...


class Attempts:
    """One turn's.

    Args:
        record: Gets the charges, and the endpoint that was taken first.
        seat: The agent.
        find: Fallbacks by name.
        compose: Makes the requests.
        text: The answer so far.
        turn_s: Seconds that the turn may take in all.
        most_nano: Nano-dollars that the turn may cost; None: as many as it takes.
    """

    def __init__(
        self,
        record: ResponseRecord,
        seat: Seat,
        find: Callable[[str], Seat | None],
        compose: Compose,
        text: Callable[[], str],
        turn_s: float,
        most_nano: int | None = None,
    ) -> None:
        self.current: Attempt | None = None
        self.lost: Attempt | None = None
        """The one that failed last."""
        self.error: TroupeError | None = None
        """Why it did."""
        self.changes = 0
        """How often readers were told that another goes on."""
        self._record = record
        self._seat = seat
        self._find = find
        self._compose = compose
        self._text = text
        self._most_nano = most_nano
        on_failure = record.decision.get("on_failure") or seat.on_failure
        self.contract = Contract(
            seat.attempts,
            seat.retry_s,
            seat.retry_nano,
            on_failure,
            turn_s,
            seat.backoff_s,
            seat.backoff_max_s,
        )
        self._tokens = 0
        self._begun = self._since = 0.0
        self._requests = 0
        self._extra_nano = 0
        self._failed: set[tuple[str, str]] = set()
        self._refused: set[tuple[str, str]] = set()
        self._again = Again(0.0, same=True)

    def begin(self, *, at_once: bool = False) -> None:
        """Take the first place, if one is free now.

        `at_once`: raise `AgentUnavailable` if none is, and `OverBudget` if no endpoint of the agent
        could be asked.
        """
        seat = self._seat
        if at_once:
            if (wait_s := self.wait_s()) > 0:
                # There is no room for a word, whatever would be asked: a refusal should be cheap.
                raise unavailable(seat, wait_s)
            self._afford()
        self._begun = self._since = _now()
        self._tokens = tokens_of(self._compose(seat, seat.first, None))
        self.current = self._take(self._failed)
        if self.current is None and at_once:
            raise unavailable(seat, self.wait_s())
        if seat.hedge is not None:
            seat.hedge.tally.turns += 1

    async def next(self) -> Attempt:
        """A place for the next request, waited for within the contract's time.

        Raises the error of the request before, or `AgentUnavailable` if there was none.
        """
        if self.current is not None:
            return self.current
        paused = False
        while True:
            self.current = self._take(self._failed)
            if self.current is None and self._failed and paused:
                last = {(self.lost.seat.name, self.lost.place.name)} if self.lost else set()
                self.current = self._take(self._refused | last) or self._take(self._refused)
            if self.current is not None:
                return self.current
            if self._failed and not paused:
                self._hopeless()
                paused = True
                await asyncio.sleep(self._again.wait_s)
                continue
            wait_s = self.wait_s()
            if _now() + wait_s > self._since + self.contract.retry_s:
                raise self.error or unavailable(self._seat, wait_s)
            await asyncio.sleep(min(max(wait_s, _SOON_S), _LOOK_AGAIN_S))

    def ask(self, attempt: Attempt, said: str | None) -> None:
        """Make the request that is to be sent there.

        Raises `OverBudget` if that is more than the turn may cost; if an earlier request failed,
        its error.
        """
        self._prepare(attempt, said, 0)
        self._count(attempt)

    def another(self, hedge: Hedge) -> Attempt | None:
        """A place for the same request at another endpoint, if the hedge may be made."""
        first = self.current
        if first is None or not hedge.tally.allows(hedge.share):
            return None
        attempt = self._take(self._failed | {(first.seat.name, first.place.name)})
        if attempt is None:
            return None
        said, reserved = first.request.said if first.request else None, self._estimate(first)
        try:
            self._prepare(attempt, said, int(reserved) if reserved < math.inf else 0)
        except OverBudget:
            self.left(attempt)
            return None
        if self._estimate(attempt) > hedge.max_nano:
            self.left(attempt)
            return None
        self._count(attempt)
        hedge.tally.hedged += 1
        return attempt

    def _prepare(self, attempt: Attempt, said: str | None, reserved: int) -> None:
        """`reserved`: nano-dollars that another request may yet cost."""
        attempt.begins_at = len(said or "")
        request = self._compose(attempt.seat, attempt.place, said)
        try:
            attempt.request = self._within(request, attempt.place, reserved)
        except OverBudget as error:
            raise self.error or error from None

    def _count(self, attempt: Attempt) -> None:
        """It is going to be sent."""
        self._requests += 1
        attempt.number = self._requests

    # -- ends of a request ----------------------------------------------------------------------

    def done(self, attempt: Attempt, usage: Usage | None) -> None:
        """It came to its end."""
        if ticket := attempt.give_back():
            ticket.done(_now(), usage)
            self._charge(attempt, usage)

    def left(self, attempt: Attempt) -> None:
        """We went away from it, or do not make it at all."""
        if ticket := attempt.give_back():
            if attempt.asked:
                ticket.left(_now())
                self._charge(attempt, None)
            else:
                ticket.unused(_now())

    def failed(self, attempt: Attempt, error: TroupeError) -> None:
        """It failed; what that means for the turn is another question."""
        if ticket := attempt.give_back():
            ticket.failed(_now(), error)
            if attempt.asked and may_have_cost(error, heard=attempt.heard):
                self._charge(attempt, None)
        place = attempt.seat.name, attempt.place.name
        self._failed.add(place)
        if isinstance(error, ProviderUnauthorized):
            self._refused.add(place)

    def leave(self) -> None:
        """Nothing more is asked; an open request is left."""
        attempt, self.current = self.current, None
        if attempt is not None:
            self.left(attempt)

    def give_up(self, error: TroupeError) -> None:
        """The turn ends by this, whatever is under way."""
        self.error = error
        attempt, self.current = self.current, None
        if attempt is not None:
            self.lost = attempt
            self.failed(attempt, error)

    def go_on(self, attempt: Attempt, error: TroupeError, *, heard: bool) -> None:
        """It failed, and was the only one under way. Raises the error if the turn ends by it."""
        self.current = None
        self.failed(attempt, error)
        self.lost, self.error = attempt, error
        now = _now()
        if attempt.heard:
            self._since = now
        next_nano = 0
        if self.contract.retry_nano is not None and attempt.place.price and attempt.request:
            next_nano = cost(attempt.place.price, estimated_input(attempt.request), 0)
        failure = Failure(
            error,
            heard=heard,
            requests=self._requests,
            elapsed_s=now - self._begun,
            silent_s=now - self._since,
            extra_nano=self._extra_nano,
            next_nano=next_nano,
            changes=self.changes,
        )
        step = after(self.contract, failure)
        code = error.cause_code
        if not isinstance(step, Again):
            log.info("%s: %s at %s, no further: %s", self._record.id, code, attempt.name, step.why)
            raise error
        log.info("%s: %s at %s, request %d", self._record.id, code, attempt.name, self._requests)
        self._again = step

    # -- places ---------------------------------------------------------------------------------

    def wait_s(self) -> float:
        """Seconds until a place may be free."""
        now = _now()
        return min(seat.endpoints.wait_s(now, tokens=self._tokens) for seat in self._seats())

    def _seats(self) -> Iterator[Seat]:
        return seats_of(self._seat, self._find)

    def _take(self, without: Collection[tuple[str, str]]) -> Attempt | None:
        now = _now()
        for seat in self._seats():
            avoid = [name for name in seat.places if (seat.name, name) in without]
            if len(avoid) == len(seat.places):
                continue
            ticket = seat.endpoints.take(now, tokens=self._tokens, avoid=avoid)
            if ticket is None:
                continue
            record = self._record
            if "endpoint" not in record.decision:
                record.decision = {**record.decision, "endpoint": ticket.endpoint}
            return Attempt(seat, seat.places[ticket.endpoint], ticket)
        return None

    def _hopeless(self) -> None:
        """Raise the error if every endpoint there is refuses our key."""
        places = {(seat.name, name) for seat in self._seats() for name in seat.places}
        if self.error is not None and places <= self._refused:
            raise self.error

    # -- money ----------------------------------------------------------------------------------

    def _charge(self, attempt: Attempt, usage: Usage | None) -> None:
        said = ""
        if usage is None and attempt.heard:
            said = self._text()[attempt.begins_at :]
        assert attempt.request is not None, "what was never asked costs nothing"
        charge = charge_for(attempt.seat.name, attempt.place, usage, attempt.request, said)
        self._record.charges.append(charge)
        if attempt.number > 1:
            self._extra_nano += charge.nano or 0

    def _afford(self) -> None:
        if self._most_nano is not None:
            place = min(self._seat.places.values(), key=_input_usd)
            self._within(self._compose(self._seat, place, None), place, 0)

    def _within(self, request: ModelRequest, place: Place, reserved: int) -> ModelRequest:
        if self._most_nano is None:
            return request
        return within(request, place.price, self._most_nano, self._record.nano + reserved)

    def _estimate(self, attempt: Attempt) -> float:
        """Nano-dollars that the request may cost; infinite where nobody knows."""
        request, price = attempt.request, attempt.place.price
        if request is None or price is None:
            return math.inf
        answer = request.max_output_tokens or ANSWER_TOKENS
        return cost(price, estimated_input(request), answer)


def seats_of(seat: Seat, find: Callable[[str], Seat | None]) -> Iterator[Seat]:
    """The agent and those that stand in for it; not theirs in turn, which could go round."""
    yield seat
    for name in seat.fallbacks:
        fallback = find(name)
        if fallback is not None and fallback is not seat:
            yield fallback


def _input_usd(place: Place) -> float:
    return 0.0 if place.price is None else place.price.input_usd


def unavailable(seat: Seat, wait_s: float) -> AgentUnavailable:
    """No endpoint takes a turn now."""
    return AgentUnavailable(
        f"No endpoint of agent '{seat.name}' can take a turn now.",
        retry_after=max(1.0, round(wait_s, 1)),
    )


def provider_failed(error: Exception) -> TroupeError:
    """The error as ours; an adapter is not to let any other out."""
    if isinstance(error, TroupeError):
        return error
    return ProviderError("The agent failed in a way that Troupe does not know.")


def tokens_of(request: ModelRequest) -> int:
    """What the request may use of a limit, roughly: measuring is for bills."""
    characters = sum(len(message.text) for message in request.messages)
    characters += len(request.instructions or "")
    return characters // 3 + (request.max_output_tokens or ANSWER_TOKENS)


def _now() -> float:
    return asyncio.get_running_loop().time()
