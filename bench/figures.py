"""What one target did under one load: the figures that are compared, printed and kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench import stats
from bench.plan import Plan, Target

_BUSY_CORES = 0.6
_LATE_MS = 10.0
_OTHERS_CORES = 0.15


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used inside the window, and the window's length."""

    window_s: float
    servers_s: Mapping[str, float]
    generators_s: float
    simulator_s: float
    machine_s: float
    steal_s: float
    bench_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What it costs to have all sessions connected, activated by one turn, and silent."""

    sessions: int
    before_kb: Mapping[str, float]
    after_kb: Mapping[str, float]
    cpu_s: Mapping[str, float]
    watched_s: float

    def figures(self) -> dict[str, Any]:
        """KB of memory for each session and cores while nothing happens, by kind."""
        grown = stats.growth(self.before_kb, self.after_kb)
        cores = {kind: round(used / self.watched_s, 4) for kind, used in self.cpu_s.items()}
        return {
            "kb_per_session": round(_sum(grown) / self.sessions, 2),
            "kb_per_session_by_kind": {
                kind: round(kb / self.sessions, 2) for kind, kb in grown.items()
            },
            "base_mb": round(sum(self.before_kb.values()) / 1024, 1),
            "base_mb_by_kind": {kind: round(kb / 1024, 1) for kind, kb in self.before_kb.items()},
            "cores": round(sum(cores.values()), 4),
            "cores_by_kind": cores,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One target at one number of sessions. Times in ms, CPU in CPU-ms for each turn.

    `went_on`: how often a begun answer went on elsewhere, by policy.
    """

    target: Target
    sessions: int
    turns: int
    turns_per_s: float
    errors: dict[str, int]
    lost: int
    doubled: int
    disordered: int
    final_differs: int
    seq_gaps: int
    added_ms: dict[str, float]
    accepted_ms: dict[str, float]
    turn_ms: dict[str, float]
    went_on: dict[str, int]
    cpu_ms: float
    cpu_ms_by_kind: dict[str, float]
    idle: dict[str, Any]
    generator: dict[str, float]
    simulator: dict[str, float]
    other_cores: float
    steal_cores: float
    started_in_s: float
    warnings: list[str] = field(default_factory=list[str])
    processes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def failed(self) -> int:
        """All that went wrong, but for tokens."""
        return sum(self.errors.values())

    @property
    def damaged(self) -> int:
        """Tokens lost or doubled, and texts that are not what was sent."""
        return self.lost + self.doubled + self.disordered + self.final_differs + self.seq_gaps


Source = Literal["memory", "Redis", "Postgres"]


@dataclass(frozen=True, slots=True)
class Wake:
    """How long sessions take to wake from one place. Times in ms.

    Args:
        seen: `host`: from the command until the session's answer leaves. `client`: from the
            frame with a message until `response.accepted`, its durable write included.
        source: The first place that still had the session's context.
        at_once: How many woke together.
        bare_ms: As many round trips to Redis and Postgres that do nothing, of one wake or of all
            that woke together; None where they were not measured.
        trips: How many those are.
        woke: How many sessions woke; None where it is not known from outside.
    """

    seen: Literal["host", "client"]
    source: Source
    at_once: int
    ms: dict[str, float]
    bare_ms: dict[str, float] | None = None
    trips: dict[str, int] = field(default_factory=dict[str, int])
    woke: int | None = None
    errors: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sockets connected and asleep, and a few that talk among them.

    Args:
        plain, offering: What each socket costs (see `Idle.figures`), without and with the client's
            offer of compression.
        compressed: Sockets on which the server agreed to it.
        asked, woke: Sessions that were said something after the silence, and how many of them
            were asleep.
        among: Those that talk while the others sleep.
        alone: As many that talk, the others gone.
        errors: What went wrong before any of them talked.
    """

    sockets: int
    plain: dict[str, Any]
    offering: dict[str, Any]
    compressed: int
    asked: int
    woke: int
    among: Result
    alone: Result
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Deciding:
    """What a decision over so many rules costs, the last of which matches. Times in µs."""

    rules: int
    us: dict[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one endpoint was asked, by the provider's record. Times in s since the window opened.

    Args:
        words: What becomes of it.
        asked: Requests in all.
        per_s: Requests by second.
        began_s: When it began to fail; None: it did not.
        after: Requests since then.
        left_after_s: How long after that it was still asked more than a probe asks; None: it was
            not left alone before the window closed, or did not fail.
    """

    endpoint: str
    words: str
    asked: int
    per_s: list[int]
    began_s: float | None = None
    after: int = 0
    left_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Storm:
    """The same sessions under the same load, with a provider that is well and one that fails."""

    sessions: int
    calm: Result
    storm: Result
    endpoints: list[Asked]

    @property
    def added_ratio(self) -> float:
        """Added time to first token p95 as a multiple of that without a fault."""
        calm_ms = self.calm.added_ms["p95"]
        return self.storm.added_ms["p95"] / calm_ms if calm_ms > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Found:
    """All that a run has measured."""

    results: list[Result] = field(default_factory=list[Result])
    wakes: list[Wake] = field(default_factory=list[Wake])
    sleeps: list[Sleep] = field(default_factory=list[Sleep])
    decidings: list[Deciding] = field(default_factory=list[Deciding])
    storms: list[Storm] = field(default_factory=list[Storm])


def result(
    plan: Plan,
    target: Target,
    sessions: int,
    *,
    errors_before: Mapping[str, int],
    raw: Mapping[str, Any],
    usage: Usage,
    idle: Idle,
    started_in_s: float,
    processes: list[dict[str, Any]],
) -> Result:
    """Put together what the generators counted and what the processes used.

    Args:
        errors_before: What went wrong while sessions were opened and activated.
        raw: Answer of the generators to `run`.
    """
    turns: int = raw["done_inside"]
    by_kind = {
        kind: round(stats.per_turn_ms(used, turns), 4)
        for kind, used in sorted(usage.servers_s.items(), key=lambda pair: -pair[1])
    }
    errors = dict(errors_before)
    for outcome, count in raw["outcomes"].items():
        if outcome != "ok":
            errors[outcome] = errors.get(outcome, 0) + count
    for reason, count in raw["sockets_lost"].items():
        errors[f"socket: {reason}"] = count
    lag = stats.spread(raw["lag_ms"])
    ours = sum(usage.servers_s.values()) + usage.generators_s + usage.simulator_s + usage.bench_s
    other = max(0.0, usage.machine_s - ours) / usage.window_s
    generator = {
        "cores": round(usage.generators_s / usage.window_s, 3),
        "cpu_ms": round(stats.per_turn_ms(usage.generators_s, turns), 3),
        "lag_ms_p95": lag["p95"],
        "lag_ms_max": lag["max"],
    }
    simulator = {
        "cores": round(usage.simulator_s / usage.window_s, 3),
        "cpu_ms": round(stats.per_turn_ms(usage.simulator_s, turns), 3),
    }
    return Result(
        target=target,
        sessions=sessions,
        turns=turns,
        turns_per_s=round(turns / usage.window_s, 2),
        errors=errors,
        lost=raw["lost"],
        doubled=raw["doubled"],
        disordered=raw["disordered"],
        final_differs=raw["final_differs"],
        seq_gaps=raw["seq_gaps"],
        added_ms=stats.spread([first - plan.ttft_ms for first in raw["first_ms"]]),
        accepted_ms=stats.spread(raw["accepted_ms"]),
        turn_ms=stats.spread(raw["turn_ms"]),
        went_on=dict(raw["went_on"]),
        cpu_ms=round(stats.per_turn_ms(_sum(usage.servers_s), turns), 3),
        cpu_ms_by_kind=by_kind,
        idle=idle.figures(),
        generator=generator,
        simulator=simulator,
        other_cores=round(other, 3),
        steal_cores=round(usage.steal_s / usage.window_s, 3),
        started_in_s=round(started_in_s, 1),
        warnings=warnings(generator, simulator, other, usage.steal_s / usage.window_s),
        processes=processes,
    )


def _sum(by_kind: Mapping[str, float]) -> float:
    """The sum; nan where no process was seen, since then nothing is known."""
    return sum(by_kind.values()) if by_kind else math.nan


def warnings(
    generator: Mapping[str, float], simulator: Mapping[str, float], other: float, steal: float
) -> list[str]:
    """Reasons to doubt a measurement."""
    doubts: list[str] = []
    cores = generator["cores"] + simulator["cores"]
    if cores > _BUSY_CORES:
        doubts.append(f"generator and simulator take {cores:.2f} core: latencies include theirs")
    if math.isnan(generator["lag_ms_p95"]) or generator["lag_ms_p95"] > _LATE_MS:
        lag = generator["lag_ms_p95"]
        doubts.append(f"the generator's clock was late by {lag:.0f} ms (p95): it was starved")
    if other > _OTHERS_CORES:
        doubts.append(f"something else on this machine took {other:.2f} core")
    if steal > _OTHERS_CORES:
        doubts.append(f"the machine was robbed of {steal:.2f} core by its host")
    return doubts
