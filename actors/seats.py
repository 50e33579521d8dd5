"""Settings and policies → what a desk works with: agents with their adapters, rules, tiers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from actors.desk import InForce, Seat
from actors.seating import seat_of
from agents.registry import PROVIDERS
from config.policies import Effective, Rules, effective
from config.resolve import EndpointSpec, endpoints_of
from contracts.agents import Agent
from contracts.policies import Policy
from routing.health import HealthBook
from routing.rules import RuleSet, compile_rules

if TYPE_CHECKING:
    from config.settings import Settings


def in_force(
    settings: Settings,
    health: HealthBook,
    documents: Sequence[Policy] = (),
    previous: InForce | None = None,
    environ: Mapping[str, str] = os.environ,
) -> InForce:
    """What settings and documents say. Imports the SDKs in use.

    Args:
        settings: As loaded.
        health: What this process knows of endpoints.
        documents: The newest version of each scope.
        previous: What was in force before; agents that did not change are kept, with all that is
            known of their endpoints.
        environ: Where the keys of documents' agents are.

    Raises:
        InvalidRequest: They do not fit together, or cannot be had in this process.
    """
    return _seated(effective(settings, documents, environ), health, previous, [])


async def renewed(
    settings: Settings, health: HealthBook, documents: Sequence[Policy], previous: InForce
) -> InForce:
    """As `in_force`; the loop goes on while documents are read, rules compiled, SDKs imported."""
    found = await asyncio.to_thread(_prepared, settings, documents)
    made: list[Seat] = []
    try:
        return _seated(found, health, previous, made)
    except BaseException:
        for seat in made:
            await seat.aclose()
        raise


def left(before: InForce, after: InForce) -> list[Agent]:
    """The adapters that are no longer in use once `after` is in force."""
    kept = {id(place.agent) for seat in after.seats.values() for place in seat.places.values()}
    return [
        place.agent
        for seat in before.seats.values()
        for place in seat.places.values()
        if id(place.agent) not in kept
    ]


def _prepared(settings: Settings, documents: Sequence[Policy]) -> Effective:
    found = effective(settings, documents)
    agents = found.settings.agents.values()
    for provider in {name for agent in agents for name in agent.providers}:
        import_module(PROVIDERS[provider])
    return found


def _seated(
    found: Effective, health: HealthBook, previous: InForce | None, made: list[Seat]
) -> InForce:
    """Puts the seats that are new into `made`, for a caller who may have to do without them."""
    settings = found.settings
    seats: dict[str, Seat] = {}
    for name, definition in settings.agents.items():
        before = previous.seats.get(name) if previous else None
        if before is not None and before.made_from == definition:
            seats[name] = _priced(before, endpoints_of(settings, name, definition))
        else:
            seat = seat_of(settings, name, definition, health)
            seats[name] = replace(seat, made_from=definition)
            made.append(seats[name])
    return InForce(
        seats,
        _compiled(found.rules, seats),
        {org_id: _compiled(rules, seats) for org_id, rules in found.rules_of.items()},
        budgets=settings.budgets.plain(),
        budgets_of={org_id: limits.plain() for org_id, limits in found.budgets_of.items()},
        tiers=found.tiers,
        revision=found.revision,
    )


def _priced(seat: Seat, specs: Sequence[EndpointSpec]) -> Seat:
    """The seat with the prices of now; its endpoints and all that is known of them stay."""
    prices = {spec.name: spec.price for spec in specs}
    places = {name: replace(place, price=prices[name]) for name, place in seat.places.items()}
    return seat if places == seat.places else replace(seat, places=places)


def _compiled(rules: Rules, seats: Mapping[str, Seat]) -> RuleSet:
    return compile_rules(rules.specs, seats, version=rules.version)
