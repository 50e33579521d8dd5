"""The promises of the design against the figures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.figures import Result
from bench.plan import Target


class Check(NamedTuple):
    """One promise. `passed` is None where the run holds no figure for it."""

    promise: str
    figure: str
    passed: bool | None


ADDED_P95_MS_AT_1000 = 75.0
COST_RATIO_AT_1000 = 2.0
TURN_P95_MS_AT_2000 = 2000.0
KB_PER_SESSION = 60.0
_ENOUGH_SESSIONS = 500
"""Of fewer sessions the memory drowns in what servers take and give back by themselves."""


def checks(results: Sequence[Result]) -> list[Check]:
    """Every promise with its figure."""
    at_1000, at_2000 = _of(results, "troupe", 1000), _of(results, "troupe", 2000)
    proxy = _of(results, "proxy", 1000)
    largest = max(
        (r for r in results if r.target == "troupe" and r.sessions >= _ENOUGH_SESSIONS),
        key=lambda one: one.sessions,
        default=None,
    )
    return [
        *_whole(at_1000, 1000),
        _below(
            f"1000 sessions: added time to first token p95 under {ADDED_P95_MS_AT_1000:.0f} ms",
            at_1000.added_ms["p95"] if at_1000 else None,
            ADDED_P95_MS_AT_1000,
            "ms",
        ),
        _below(
            f"1000 sessions: CPU a turn at most {COST_RATIO_AT_1000:g} times the proxy's",
            at_1000.cpu_ms / proxy.cpu_ms if at_1000 and proxy else None,
            COST_RATIO_AT_1000,
            "times",
            or_equal=True,
        ),
        *_whole(at_2000, 2000),
        _below(
            f"2000 sessions: turn p95 under {TURN_P95_MS_AT_2000 / 1000:g} s",
            at_2000.turn_ms["p95"] if at_2000 else None,
            TURN_P95_MS_AT_2000,
            "ms",
        ),
        _below(
            f"a connected idle session under {KB_PER_SESSION:.0f} KB",
            largest.idle["kb_per_session"] if largest else None,
            KB_PER_SESSION,
            "KB",
        ),
    ]


def ratio(results: Sequence[Result], sessions: int) -> float:
    """Troupe's CPU a turn as a multiple of the proxy's; nan where one is missing."""
    troupe, proxy = _of(results, "troupe", sessions), _of(results, "proxy", sessions)
    return troupe.cpu_ms / proxy.cpu_ms if troupe and proxy else math.nan


def _whole(result: Result | None, sessions: int) -> list[Check]:
    """No error, and no token lost or doubled."""
    errors, damage = f"{sessions} sessions: no error", f"{sessions} sessions: no token amiss"
    if result is None:
        return [Check(errors, "not measured", None), Check(damage, "not measured", None)]
    many = ", ".join(f"{count} x {why}" for why, count in result.errors.items())
    counted = f"{result.lost} lost, {result.doubled} doubled, {result.damaged} in all"
    return [
        Check(errors, many or "none", result.failed == 0 and result.turns > 0),
        Check(damage, counted, result.damaged == 0 and result.turns > 0),
    ]


def _below(
    promise: str, value: float | None, limit: float, unit: str, *, or_equal: bool = False
) -> Check:
    if value is None or math.isnan(value):
        return Check(promise, "not measured", None)
    passed = value <= limit if or_equal else value < limit
    return Check(promise, f"{value:.2f} {unit}", passed)


def _of(results: Sequence[Result], target: Target, sessions: int) -> Result | None:
    found = [one for one in results if (one.target, one.sessions) == (target, sessions)]
    return found[-1] if found else None
