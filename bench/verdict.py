"""The promises of the design against the figures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.figures import Deciding, Found, Result, Sleep, Storm, Wake
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
WAKE_ABOVE_TRIPS_MS = 10.0
WAKE_TOGETHER_MS = 100.0
DECISION_US = 200.0
STORM_ADDED_RATIO = 1.5
ADDED_P95_MORE_MS = 10.0
"""What those that talk may notice of those that sleep: about what two runs alone differ by."""
_ENOUGH_SESSIONS = 500
"""Of fewer sessions the memory drowns in what servers take and give back by themselves."""


def checks(found: Found) -> list[Check]:
    """Every promise with its figure, for the parts that were run."""
    checks = load_checks(found.results) if found.results else []
    if found.wakes:
        checks += wake_checks(found.wakes)
    for sleep in found.sleeps:
        checks += sleep_checks(sleep)
    for deciding in found.decidings:
        checks += rules_checks(deciding)
    for storm in found.storms:
        checks += storm_checks(storm)
    return checks


def load_checks(results: Sequence[Result]) -> list[Check]:
    """What is promised of sessions at work."""
    at_1000, at_2000 = _of(results, "troupe", 1000), _of(results, "troupe", 2000)
    proxy = _of(results, "proxy", 1000)
    largest = max(
        (r for r in results if r.target == "troupe" and r.sessions >= _ENOUGH_SESSIONS),
        key=lambda one: one.sessions,
        default=None,
    )
    return [
        *_whole(at_1000, "1000 sessions"),
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
        *_whole(at_2000, "2000 sessions"),
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


def wake_checks(wakes: Sequence[Wake]) -> list[Check]:
    """What is promised of sessions that wake."""
    inside = [wake for wake in wakes if wake.seen == "host"]
    alone = next((w for w in inside if (w.source, w.at_once) == ("Postgres", 1)), None)
    above = alone.ms["p95"] - alone.bare_ms["p95"] if alone and alone.bare_ms else None
    together = [wake for wake in inside if wake.at_once > 1]
    count = max((wake.at_once for wake in together), default=0)
    clients = [wake for wake in wakes if wake.seen == "client"]
    wrong = [
        f"{wake.woke} of {wake.ms['count']:.0f} woke from {wake.source}"
        for wake in clients
        if wake.woke != (0 if wake.source == "memory" else wake.ms["count"])
    ]
    wrong += [f"{many} x {why}" for wake in clients for why, many in wake.errors.items()]
    return [
        _below(
            "waking from Postgres: p95 at most "
            f"{WAKE_ABOVE_TRIPS_MS:.0f} ms above its bare round trips",
            above,
            WAKE_ABOVE_TRIPS_MS,
            "ms",
            or_equal=True,
        ),
        *(
            _below(
                f"{count} sessions waking together from {wake.source}: "
                f"all within {WAKE_TOGETHER_MS:.0f} ms",
                wake.ms["max"],
                WAKE_TOGETHER_MS,
                "ms",
            )
            for wake in together
        ),
        Check(
            "every session was where it was to wake from, and answered",
            "; ".join(wrong) or ("all" if clients else "not measured"),
            not wrong if clients else None,
        ),
    ]


def sleep_checks(sleep: Sleep) -> list[Check]:
    """What is promised of sockets that are connected and asleep."""
    name = f"{sleep.sockets} sockets"
    errors = [f"{many} x {why}" for why, many in {**sleep.errors, **sleep.among.errors}.items()]
    noticed = sleep.among.added_ms["p95"] - sleep.alone.added_ms["p95"]
    costs = (("", sleep.plain), (", offering compression", sleep.offering))
    return [
        Check(
            f"{name} asleep, {sleep.among.sessions} of them talking: no error, no token amiss",
            ", ".join(errors) or f"none; {sleep.among.damaged} amiss",
            not errors and sleep.among.damaged == 0 and sleep.among.turns > 0,
        ),
        Check(
            f"{name}: those that were spoken to had been asleep",
            f"{sleep.woke} of {sleep.asked}",
            sleep.woke == sleep.asked > 0,
        ),
        *(
            _below(
                f"{name}{how}: at most {KB_PER_SESSION:.0f} KB for each",
                cost["kb_per_session"],
                KB_PER_SESSION,
                "KB",
                or_equal=True,
            )
            for how, cost in costs
        ),
        _below(
            f"{name}: added p95 of those that talk at most {ADDED_P95_MORE_MS:.0f} ms above "
            "that without the others",
            noticed,
            ADDED_P95_MORE_MS,
            "ms",
            or_equal=True,
        ),
    ]


def rules_checks(deciding: Deciding) -> list[Check]:
    """What is promised of a decision."""
    what = f"a decision over {deciding.rules} rules"
    return [
        _below(f"{what}: {p} under {DECISION_US:.0f} µs", deciding.us[p], DECISION_US, "µs")
        for p in ("p50", "p95")
    ]


def storm_checks(storm: Storm) -> list[Check]:
    """What is promised of a load whose provider fails."""
    name = f"{storm.sessions} sessions, two of three endpoints fail"
    bad = [one for one in storm.endpoints if one.began_s is not None]
    missed = [one.endpoint for one in bad if not one.after]
    met = f"the fault of '{missed[0]}' met nobody" if missed else None
    checks = [
        Check(check.promise, met or check.figure, None if met else check.passed)
        for check in _whole(storm.storm, name)
    ]
    checks.append(
        _below(
            f"{name}: added time to first token p95 under {STORM_ADDED_RATIO:g} times its own",
            None if met else storm.added_ratio,
            STORM_ADDED_RATIO,
            "times",
        )
    )
    checks += (
        Check(
            f"{name}: the one that {one.words} is left alone",
            f"after {one.left_after_s:.1f} s" if one.left_after_s is not None else "never",
            None if met else one.left_after_s is not None,
        )
        for one in bad
    )
    return checks


def ratio(results: Sequence[Result], sessions: int) -> float:
    """Troupe's CPU a turn as a multiple of the proxy's; nan where one is missing."""
    troupe, proxy = _of(results, "troupe", sessions), _of(results, "proxy", sessions)
    return troupe.cpu_ms / proxy.cpu_ms if troupe and proxy else math.nan


def _whole(result: Result | None, name: str) -> list[Check]:
    """No error, and no token lost or doubled."""
    errors, damage = f"{name}: no error", f"{name}: no token amiss"
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
