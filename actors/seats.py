"""Settings and policies → what a desk works with: agents with their adapters, rules, tiers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

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
    return _seated(_read(settings, documents, previous, environ), health, previous, [])


async def renewed(
    settings: Settings, health: HealthBook, documents: Sequence[Policy], previous: InForce
) -> InForce:
    """As `in_force`; the loop goes on while documents are read, rules compiled, SDKs imported."""
    found = await asyncio.to_thread(_prepared, settings, documents, previous)
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


class _Found(NamedTuple):
    """What holds, as far as it can be had away from the event loop."""

    effective: Effective
    rules: RuleSet
    rules_of: Mapping[str, RuleSet]


def _prepared(settings: Settings, documents: Sequence[Policy], previous: InForce) -> _Found:
    found = _read(settings, documents, previous, os.environ)
    agents = found.effective.settings.agents.values()
    for provider in {name for agent in agents for name in agent.providers}:
        import_module(PROVIDERS[provider])
    return found


def _read(
    settings: Settings,
    documents: Sequence[Policy],
    previous: InForce | None,
    environ: Mapping[str, str],
) -> _Found:
    found = effective(settings, documents, environ)
    agents = found.settings.agents

    def compiled(rules: Rules, before: RuleSet | None, everybody: RuleSet | None = None) -> RuleSet:
        version = rules.version
        return compile_rules(
            rules.specs, agents, version=version, everybody=everybody, before=before
        )

    former = previous.rules_of if previous else {}
    everybody = compiled(found.rules, previous.rules if previous else None)
    rules_of = {
        org_id: compiled(rules, former.get(org_id), everybody)
        for org_id, rules in found.rules_of.items()
    }
    return _Found(found, everybody, rules_of)


def _seated(
    read: _Found, health: HealthBook, previous: InForce | None, made: list[Seat]
) -> InForce:
    """Puts the seats that are new into `made`, for a caller who may have to do without them."""
    found = read.effective
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
        read.rules,
        read.rules_of,
        budgets=settings.budgets.plain(),
        budgets_of={org_id: limits.plain() for org_id, limits in found.budgets_of.items()},
        tiers=found.tiers,
        revision=found.revision,
        made_from=found,
    )


def _priced(seat: Seat, specs: Sequence[EndpointSpec]) -> Seat:
    """The seat with the prices of now; its endpoints and all that is known of them stay."""
    prices = {spec.name: spec.price for spec in specs}
    places = {name: replace(place, price=prices[name]) for name, place in seat.places.items()}
    return seat if places == seat.places else replace(seat, places=places)
