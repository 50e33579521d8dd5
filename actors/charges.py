"""What a turn's requests may cost, and what they came to, also those of a host that was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from actors.desk import Seat
from actors.purse import over_budget
from context.tokens import estimate
from contracts.agents import ModelRequest
from contracts.messages import ResponseRecord, Usage
from contracts.money import Charge, Price, answer_tokens, charged, cost
from routing.prices import charge_for, estimated_input


def within(request: ModelRequest, price: Price | None, most: int, spent: int) -> ModelRequest:
    """The request, for no longer an answer than may be paid for.

    Args:
        most: Nano-dollars that the turn may cost.
        spent: What it has cost already.

    Raises:
        OverBudget: What is sent costs too much by itself, by estimate.
    """
    if price is None:
        return request
    sent = estimated_input(request)
    tokens = answer_tokens(price, sent, most - spent)
    if tokens is None:
        return request
    if tokens < 1:
        raise over_budget("turn", most, spent + cost(price, sent, 0))
    asked = request.max_output_tokens
    return replace(request, max_output_tokens=tokens if asked is None else min(asked, tokens))


def total(charges: Iterable[Charge]) -> Usage | None:
    """Their tokens in all; None if nothing was asked."""
    charges = list(charges)
    if not charges:
        return None
    return Usage(
        sum(charge.input_tokens for charge in charges),
        sum(charge.output_tokens for charge in charges),
        sum(charge.cached_tokens for charge in charges),
    )


def lost_charges(
    record: ResponseRecord, seats: Mapping[str, Seat], request: ModelRequest
) -> list[Charge]:
    """What the activations before this one have spent on a turn, by what is known of it.

    Each leg was a request. What it said is what stands of it in the text: the words of a leg that
    was begun anew are gone. A leg that followed the loss of a host does not say where it was asked:
    then it counts for the agent's first endpoint.

    Args:
        record: As it was found, before a leg of this activation.
        seats: The agents as they are now.
        request: What was asked, but for `said`.
    """
    endpoint = record.decision.get("endpoint", "")
    begun: list[tuple[str | None, int]] = [(f"{record.agent}/{endpoint}", 0)]
    begun += [(leg.target, leg.position) for leg in record.legs if leg.policy != "stop"]
    ends = [*(start for _, start in begun[1:]), len(record.text)]
    charges: list[Charge] = []
    for (asked, start), end in zip(begun, ends, strict=True):
        agent, _, name = (asked or record.agent).partition("/")
        seat, said = seats.get(agent), record.text[start:end]
        if seat is None:
            charges.append(_charge_of_gone(agent, name, seats.values(), request, said))
        else:
            place = seat.places.get(name, seat.first)
            charges.append(charge_for(seat.name, place, None, request, said))
    return charges


def _charge_of_gone(
    agent: str, endpoint: str, seats: Iterable[Seat], request: ModelRequest, said: str
) -> Charge:
    """Which model it was nobody knows any longer: it costs what the dearest there is would."""
    tokens = estimated_input(request), estimate(said) if said else 0
    prices = {place.price for seat in seats for place in seat.places.values()}
    price = max(
        (price for price in prices if price is not None),
        key=lambda price: cost(price, *tokens),
        default=None,
    )
    return charged(agent, endpoint, "", price, *tokens, estimated=True)
