"""What a host says of itself to people: its rules, its endpoints, what it answers by."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

from actors.desk import Desk

ORGANIZATIONS_RULES = 100
"""Rules of organizations that are reported at most, beside those for everybody."""


def endpoint_rows(desk: Desk, now: float, wall: float) -> list[dict[str, Any]]:
    """How the endpoints of all agents stand; see `routing.endpoints.Balanced.report`."""
    seats = desk.in_force.seats.values()
    return [row for seat in seats for row in seat.endpoints.report(now, wall)]


def rule_rows(desk: Desk) -> list[dict[str, Any]]:
    """What became of each rule; of one for everybody, with the messages of all organizations.

    Of organizations' own rules those come first that could not be asked.
    """
    in_force = desk.in_force
    own = list(in_force.own_rules())
    # There may be thousands, and this is asked for every second: what is not shown is not told.
    first = nsmallest(ORGANIZATIONS_RULES, own, key=lambda rule: not rule.failures)
    return in_force.rules.report() + [rule.report() for rule in first]


def host_report(
    host_id: str, desk: Desk, policy_errors: Sequence[Any], now: float, wall: float
) -> dict[str, Any]:
    """Figures count from the host's beginning, or since the agent or rule is what it is.

    Args:
        host_id: The host's.
        desk: What is in force there.
        policy_errors: Why a newer policy is not, if one could not be taken.
        now: Seconds, of the clock that endpoints are told.
        wall: The same moment in Unix seconds.
    """
    return {
        "host": host_id,
        "at": round(wall, 1),
        "revision": desk.in_force.revision,
        "endpoints": endpoint_rows(desk, now, wall),
        "rules": rule_rows(desk),
        "policy_errors": list(policy_errors),
    }
