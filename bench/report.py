"""What a run leaves behind: a table for the terminal, JSON, and a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from bench.figures import Deciding, Found, Result, Sleep, Storm, Wake
from bench.plan import Plan
from bench.verdict import Check, ratio

_COLUMNS = (
    *("sessions", "target", "turns", "turns/s", "added-p50", "added-p95", "added-p99"),
    *("turn-p50", "turn-p95", "errors", "lost", "doubled", "CPU-ms/turn", "ratio", "KB/session"),
)
_WAKE_COLUMNS = (
    *("waking, ms", "from", "at once", "p50", "p95", "max", "woke", "round trips"),
    *("bare-p50", "bare-p95", "above-p95"),
)
_SMALL_CPU_MS = 0.005
_SMALL_KB = 0.5


def table(results: Sequence[Result]) -> str:
    """The figures side by side. Times in ms; `added` is what is on top of the provider's own."""
    rows = [list(_COLUMNS), *(_row(one, results) for one in results)]
    return aligned(rows)


def _row(one: Result, results: Sequence[Result]) -> list[str]:
    times = ratio(results, one.sessions) if one.target == "troupe" else math.nan
    return [
        str(one.sessions),
        one.target,
        str(one.turns),
        f"{one.turns_per_s:.1f}",
        *(f"{one.added_ms[p]:.1f}" for p in ("p50", "p95", "p99")),
        *(f"{one.turn_ms[p]:.0f}" for p in ("p50", "p95")),
        str(one.failed),
        str(one.lost),
        str(one.doubled),
        f"{one.cpu_ms:.2f}",
        "" if math.isnan(times) else f"{times:.2f}",
        f"{one.idle['kb_per_session']:.0f}",
    ]


def breakdown(results: Sequence[Result]) -> str:
    """Where the CPU of a turn and the memory of a session go, by kind of process."""
    parts = [_cpu_table(results), "", _memory_table(results), "", _bench_table(results)]
    return "\n".join(parts)


def _cpu_table(results: Sequence[Result]) -> str:
    kinds = _kinds([one.cpu_ms_by_kind for one in results], _SMALL_CPU_MS)
    rows = [["CPU-ms/turn", *(f"{one.target} {one.sessions}" for one in results)]]
    rows += (
        [kind, *(_figure(one.cpu_ms_by_kind.get(kind), 2) for one in results)] for kind in kinds
    )
    rows.append(["(idle: cores)", *(_figure(one.idle["cores"], 2) for one in results)])
    return aligned(rows)


def _memory_table(results: Sequence[Result]) -> str:
    by_kind: list[dict[str, float]] = [one.idle["kb_per_session_by_kind"] for one in results]
    rows = [["KB/session", *(f"{one.target} {one.sessions}" for one in results)]]
    rows += (
        [kind, *(_figure(figures.get(kind), 1) for figures in by_kind)]
        for kind in _kinds(by_kind, _SMALL_KB)
    )
    rows.append(["(before: MB)", *(_figure(one.idle["base_mb"], 0) for one in results)])
    return aligned(rows)


def _bench_table(results: Sequence[Result]) -> str:
    rows = [["the bench itself", *(f"{one.target} {one.sessions}" for one in results)]]
    for who in ("generator", "simulator"):
        for what, digits in (("cpu_ms", 2), ("cores", 2)):
            name = f"{who}: {'CPU-ms/turn' if what == 'cpu_ms' else what}"
            rows.append([name, *(_figure(getattr(one, who)[what], digits) for one in results)])
    lags = (_figure(one.generator["lag_ms_p95"], 1) for one in results)
    rows.append(["generator: clock late, p95 ms", *lags])
    rows.append(["others on this machine: cores", *(_figure(r.other_cores, 2) for r in results)])
    return aligned(rows)


def wakes(found: Sequence[Wake]) -> str:
    """How long waking takes, and what as many bare round trips take. Times in ms."""
    rows = [list(_WAKE_COLUMNS)]
    for wake in found:
        trips = ", ".join(f"{many} {store}" for store, many in wake.trips.items() if many)
        bare = wake.bare_ms
        above = {} if bare is None else {"p95": wake.ms["p95"] - bare["p95"]}
        rows.append(
            [
                f"seen by the {wake.seen}",
                wake.source,
                str(wake.at_once),
                *(f"{wake.ms[p]:.1f}" for p in ("p50", "p95", "max")),
                "" if wake.woke is None else str(wake.woke),
                trips,
                *(_figure((bare or {}).get(p), 1) for p in ("p50", "p95")),
                _figure(above.get("p95"), 1),
            ]
        )
    return aligned(rows)


def sleep(found: Sleep) -> str:
    """What sleeping sockets cost, and what those that talk notice of them."""
    costs = (found.plain, found.offering)
    by_kind: list[dict[str, float]] = [cost["kb_per_session_by_kind"] for cost in costs]
    memory = [["KB/sleeping session", "plain", "offering compression"]]
    memory += (
        [kind, *(_figure(figures.get(kind), 2) for figures in by_kind)]
        for kind in _kinds(by_kind, _SMALL_KB / 5)
    )
    memory.append(["all", *(_figure(cost["kb_per_session"], 1) for cost in costs)])
    memory.append(["(before: MB)", *(_figure(cost["base_mb"], 0) for cost in costs)])
    memory.append(["(at rest: cores)", *(_figure(cost["cores"], 2) for cost in costs)])
    talk = [["", *_COLUMNS[2:11], "CPU-ms/turn"]]
    for name, one in ((f"among {found.sockets}", found.among), ("alone", found.alone)):
        row = _row(one, ())
        talk.append([f"{one.sessions} talking {name}", *row[2:11], row[12]])
    return "\n\n".join((aligned(memory), aligned(talk)))


def decidings(found: Sequence[Deciding]) -> str:
    """What a decision costs. Times in µs."""
    rows = [["deciding, µs", "rules", "decisions", "p50", "p95", "max"]]
    for one in found:
        figures = (f"{one.us[p]:.0f}" for p in ("count", "p50", "p95", "max"))
        rows.append(["the last rule matches", str(one.rules), *figures])
    return aligned(rows)


def storm(found: Storm) -> str:
    """What sessions notice of a provider that fails, and what its endpoints were asked."""
    talk = [["", *_COLUMNS[2:11], "went on", "CPU-ms/turn"]]
    for name, one in (("all is well", found.calm), ("two of three fail", found.storm)):
        row = _row(one, ())
        by_policy = ", ".join(f"{many} {policy}" for policy, many in one.went_on.items())
        talk.append([f"{one.sessions}: {name}", *row[2:11], by_policy or "0", row[12]])
    asked = [["endpoint", "what it does", "from s", "asked", "since then", "left alone after s"]]
    asked += (
        [
            one.endpoint,
            one.words,
            _figure(one.began_s, 1),
            str(one.asked),
            "" if one.began_s is None else str(one.after),
            "" if one.began_s is None else _figure(one.left_after_s, 1) or "never",
        ]
        for one in found.endpoints
    )
    return "\n\n".join((aligned(talk), aligned(asked)))


def _kinds(by_kind: Sequence[dict[str, float]], least: float) -> list[str]:
    """All kinds that matter somewhere, in the order of their largest figure."""
    largest: dict[str, float] = {}
    for figures in by_kind:
        for kind, figure in figures.items():
            largest[kind] = max(largest.get(kind, 0.0), abs(figure))
    return sorted((k for k, most in largest.items() if most >= least), key=lambda k: -largest[k])


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def judgement(checks: Sequence[Check]) -> str:
    """PASS or FAIL for each promise."""
    words = {True: "PASS", False: "FAIL", None: "----"}
    return "\n".join(f"{words[c.passed]}  {c.promise}: {c.figure}" for c in checks)


def document(
    plan: Plan,
    machine: dict[str, Any],
    found: Found,
    checks: Sequence[Check],
    began: str,
) -> dict[str, Any]:
    """Everything, ready for JSON. `headers` may hold a key and are left out."""
    settings = {key: value for key, value in asdict(plan).items() if key != "headers"}
    return {
        "began": began,
        "machine": machine,
        "plan": {**settings, "out": str(plan.out)},
        "checks": [check._asdict() for check in checks],
        "results": [{**asdict(one), "damaged": one.damaged} for one in found.results],
        "wakes": [asdict(one) for one in found.wakes],
        "sleeps": [asdict(one) for one in found.sleeps],
        "decidings": [asdict(one) for one in found.decidings],
        "storms": [{**asdict(one), "added_ratio": one.added_ratio} for one in found.storms],
    }


def everything(found: Found) -> str:
    """All tables of what was measured."""
    parts: list[str] = []
    if found.results:
        parts += [table(found.results), breakdown(found.results)]
    if found.wakes:
        parts.append(wakes(found.wakes))
    parts += (sleep(one) for one in found.sleeps)
    if found.decidings:
        parts.append(decidings(found.decidings))
    parts += (storm(one) for one in found.storms)
    return "\n\n".join(parts)


def save(document: dict[str, Any], path: Path) -> None:
    """Write the JSON; nan becomes null."""
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
