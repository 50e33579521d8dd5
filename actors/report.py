"""What a host says of itself to people: its rules, its endpoints, what it answers by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.desk import Desk

ORGANIZATIONS_RULES = 100
"""Rules of organizations that are reported at most, beside those for everybody."""


def endpoint_rows(desk: Desk, now: float, wall: float) -> list[dict[str, Any]]:
    """How the endpoints of all agents stand; see `routing.endpoints.Balanced.report`."""
    seats = desk.in_force.seats.values()
    return [row for seat in seats for row in seat.endpoints.report(now, wall)]


def rule_rows(desk: Desk) -> list[dict[str, Any]]:
    """What became of each rule. A rule for everybody stands in the sets of organizations as well,
    where it is asked about their messages: all of it is added up.

    Of organizations' own rules those come first that could not be asked.
    """
    in_force = desk.in_force
    everybody = in_force.rules.report()
    rows = {(row["source"], row["rule"]): row for row in everybody}
    for ruleset in in_force.rules_of.values():
        for row in ruleset.report():
            known = rows.setdefault((row["source"], row["rule"]), row)
            if known is not row:
                _add(known, row)
    own = list(rows.values())[len(everybody) :]
    own.sort(key=lambda row: not row["faults"])
    return everybody + own[:ORGANIZATIONS_RULES]


def _add(known: dict[str, Any], row: dict[str, Any]) -> None:
    known["matched"] += row["matched"]
    for fault in row["faults"]:
        same = next((one for one in known["faults"] if one["reason"] == fault["reason"]), None)
        if same is None:
            known["faults"].append(fault)
        else:
            same["count"] += fault["count"]
            same["last"] = max(same["last"], fault["last"])


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
    return {
        "host": host_id,
        "at": round(wall, 1),
        "revision": desk.in_force.revision,
        "endpoints": endpoint_rows(desk, now, wall),
        "rules": rule_rows(desk),
        "policy_errors": list(policy_errors),
    }
