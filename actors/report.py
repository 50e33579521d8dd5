"""What a host says of itself to people: its rules, its endpoints, what it answers by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.desk import Desk

FAULTY_RULES = 100
"""Rules of organizations that are reported at most, beside those for everybody."""


def endpoint_rows(desk: Desk, now: float, wall: float) -> list[dict[str, Any]]:
    """How the endpoints of all agents stand; see `routing.endpoints.Balanced.report`."""
    seats = desk.in_force.seats.values()
    return [row for seat in seats for row in seat.endpoints.report(now, wall)]


def host_report(
    host_id: str, desk: Desk, policy_errors: Sequence[Any], now: float, wall: float
) -> dict[str, Any]:
    """Figures count from the host's beginning, or that of the agent or rules in force.

    Args:
        host_id: The host's.
        desk: What is in force there.
        policy_errors: Why a newer policy is not, if one could not be taken.
        now: Seconds, of the clock that endpoints are told.
        wall: The same moment in Unix seconds.
    """
    in_force = desk.in_force
    rules = in_force.rules.report()
    own = [row for ruleset in in_force.rules_of.values() for row in ruleset.report()]
    seen = {(row["rule"], row["source"]) for row in rules}
    rules += [row for row in own if (row["rule"], row["source"]) not in seen][:FAULTY_RULES]
    return {
        "host": host_id,
        "at": round(wall, 1),
        "revision": in_force.revision,
        "endpoints": endpoint_rows(desk, now, wall),
        "rules": rules,
        "policy_errors": list(policy_errors),
    }
