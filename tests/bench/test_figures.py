from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import report
from bench.__main__ import main, read_plan
from bench.facts import facts
from bench.figures import Found, Idle, Result, Usage, result
from bench.plan import Plan, Target
from bench.plot import draw
from bench.verdict import load_checks, ratio

USAGE = Usage(
    window_s=10.0,
    servers_s={"proxy": 1.0, "Ray": 3.0},
    generators_s=0.5,
    simulator_s=0.4,
    machine_s=5.0,
    steal_s=0.0,
    bench_s=0.1,
)
RAW: dict[str, Any] = {
    "done_inside": 1000,
    "outcomes": {"ok": 1000},
    "went_on": {"continue": 2},
    "accepted_ms": [5.0],
    "first_ms": [310.0, 320.0],
    "turn_ms": [1100.0],
    "lost": 0,
    "doubled": 0,
    "disordered": 0,
    "final_differs": 0,
    "lag_ms": [1.0],
    "sockets_lost": {},
    "seq_gaps": 0,
}
IDLE = Idle(
    sessions=100,
    before_kb={"hosts": 1000, "Ray": 2048},
    after_kb={"hosts": 4000, "Ray": 2048, "new": 200},
    cpu_s={"hosts": 0.5},
    watched_s=5.0,
)


def made(target: Target, sessions: int, **changes: Any) -> Result:
    plain = result(
        Plan(),
        target,
        sessions,
        errors_before={},
        raw=RAW,
        usage=USAGE,
        idle=IDLE,
        started_in_s=1.0,
        processes=[],
    )
    return replace(plain, **changes)


def test_what_counters_become() -> None:
    one = made("proxy", 100)
    assert one.added_ms["p50"] == 10.0 and one.added_ms["p95"] == 20.0
    assert one.cpu_ms == 4.0
    assert one.cpu_ms_by_kind == {"Ray": 3.0, "proxy": 1.0}
    assert one.turns_per_s == 100.0
    assert one.went_on == {"continue": 2}
    assert one.generator["cpu_ms"] == 0.5 and one.simulator["cores"] == 0.04
    assert one.other_cores == 0.0
    assert (one.failed, one.damaged, one.warnings) == (0, 0, [])


def test_memory_for_each_session_counts_all_that_grew() -> None:
    idle = IDLE.figures()
    assert idle["kb_per_session"] == 32.0
    assert idle["kb_per_session_by_kind"] == {"Ray": 0.0, "hosts": 30.0, "new": 2.0}
    assert (idle["cores"], idle["base_mb"]) == (0.1, 3.0)


def test_every_error_counts_wherever_it_happened() -> None:
    raw = {**RAW, "outcomes": {"ok": 9, "failed": 2}, "sockets_lost": {"reset": 1}, "seq_gaps": 4}
    one = result(
        Plan(),
        "troupe",
        1000,
        errors_before={"open: refused": 3},
        raw=raw,
        usage=USAGE,
        idle=IDLE,
        started_in_s=0.0,
        processes=[],
    )
    assert one.errors == {"open: refused": 3, "failed": 2, "socket: reset": 1}
    assert (one.failed, one.damaged) == (6, 4)


def test_a_measurement_that_cannot_be_trusted_says_so() -> None:
    busy = replace(USAGE, generators_s=4.0, simulator_s=2.5, machine_s=20.0, steal_s=2.0)
    one = result(
        Plan(),
        "proxy",
        1,
        errors_before={},
        raw={**RAW, "lag_ms": [12.0]},
        usage=busy,
        idle=IDLE,
        started_in_s=0.0,
        processes=[],
    )
    assert [word in " ".join(one.warnings) for word in ("0.65 core", "12 ms", "0.94 core")] == [
        True,
        True,
        True,
    ]
    assert len(one.warnings) == 4


def test_all_promises_kept() -> None:
    results = [
        made("troupe", 1000, cpu_ms=8.0),
        made("proxy", 1000, cpu_ms=4.0),
        made("troupe", 2000),
    ]
    assert ratio(results, 1000) == 2.0
    assert [check.passed for check in load_checks(results)] == [True] * 8


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"cpu_ms": 8.1}, "CPU a turn"),
        ({"added_ms": {"p95": 75.0}}, "added time"),
        ({"errors": {"failed": 1}}, "no error"),
        ({"lost": 1}, "no token amiss"),
        ({"seq_gaps": 1}, "no token amiss"),
        ({"turns": 0}, "no error"),
    ],
)
def test_a_missed_promise_fails(changes: dict[str, Any], promise: str) -> None:
    results = [made("troupe", 1000, **changes), made("proxy", 1000, cpu_ms=4.0)]
    failed = [check.promise for check in load_checks(results) if check.passed is False]
    assert any(f"1000 sessions: {promise}" in one for one in failed)


def test_a_server_whose_processes_are_unknown_has_no_cost() -> None:
    unknown = result(
        Plan(),
        "troupe",
        1000,
        errors_before={},
        raw=RAW,
        usage=replace(USAGE, servers_s={}),
        idle=replace(IDLE, before_kb={}, after_kb={}),
        started_in_s=0.0,
        processes=[],
    )
    found = {check.promise: check.passed for check in load_checks([unknown, made("proxy", 1000)])}
    assert found["1000 sessions: CPU a turn at most 2 times the proxy's"] is None
    assert found["a connected idle session under 60 KB"] is None
    assert found["1000 sessions: no error"] is True


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    found = load_checks([made("proxy", 1000)])
    assert {check.passed for check in found} == {None}
    assert math.isnan(ratio([made("proxy", 1000)], 1000))


def test_table_plot_and_json(tmp_path: Path) -> None:
    results = [made("troupe", 100, cpu_ms=8.0), made("proxy", 100, started_in_s=math.nan)]
    lines = report.table(results).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == ["100", "troupe", "1000"] and "2.00" in lines[1]
    assert "Ray" in report.breakdown(results)
    plan = Plan(headers={"Authorization": "Bearer secret"})
    found = load_checks(results)
    assert "----  1000 sessions: no error: not measured" in report.judgement(found)
    document = report.document(plan, facts(), Found(results), found, "now")
    report.save(document, tmp_path / "x.json")
    text = (tmp_path / "x.json").read_bytes()
    kept = orjson.loads(text)
    assert b"secret" not in text
    assert kept["results"][0]["cpu_ms"] == 8.0 and kept["results"][1]["started_in_s"] is None
    assert kept["plan"]["seed"] == 1 and kept["machine"]["cores"] >= 1
    draw(Found(results), "title", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("strict", "cpu_ms", "code"), [(1, 9.0, 1), (1, 8.0, 0), (0, 9.0, 0)])
def test_a_missed_promise_is_an_error_where_that_is_asked_for(
    strict: int, cpu_ms: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measured(plan: Plan, logs: Path) -> Found:
        return Found([made("troupe", 1000, cpu_ms=cpu_ms), made("proxy", 1000, cpu_ms=4.0)])

    out = tmp_path / "new" / "results"
    monkeypatch.setattr("bench.__main__.measure", measured)
    monkeypatch.setattr("sys.argv", ["bench", "--out", str(out), *["--strict"] * strict])
    assert main() == code
    kept = sorted(path.name for path in out.iterdir())
    assert kept[-2:] == ["latest.json", "latest.png"] and len(kept) == 4


def test_nothing_measured_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(plan: Plan, logs: Path) -> Found:
        return Found()

    monkeypatch.setattr("bench.__main__.measure", nothing)
    monkeypatch.setattr("sys.argv", ["bench", "--out", str(tmp_path / "out")])
    assert main() == 1
    assert not (tmp_path / "out").exists()


def test_the_command_line() -> None:
    plan, strict = read_plan(["--sessions", "5,7", "--target", "proxy", "--seconds", "3"])
    assert (plan.counts, plan.targets, plan.window_s, strict) == ((5, 7), ("proxy",), 3.0, False)
    assert plan.provider_model == "scripted.ttft_ms-300.gap_ms-20.tokens-40"
    assert plan.provider_turn_ms == 1080
    plan, strict = read_plan(["--strict", "--key", "k", "--url", "http://h:1"])
    assert strict and plan.headers == {"Authorization": "Bearer k"}
    assert plan.counts == (100, 500, 1000, 2000)
    assert plan.parts == ("load",)
    plan, _ = read_plan([])
    assert plan.parts == ("load", "wake", "sleep", "rules", "storm")
    load, wake, sleep, rules, storm = (
        replace(plan, parts=(part,)).estimate_s() for part in plan.parts
    )
    assert plan.estimate_s() == pytest.approx(load + wake + sleep + rules + storm)
    assert load > len(plan.counts) * 2 * plan.window_s and sleep > 2 * plan.window_s
    assert storm > 2 * plan.window_s and read_plan(["--storm", "7"])[0].storm == 7
    assert read_plan(["--only", "sleep,wake"])[0].parts == ("wake", "sleep")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sessions", "5,x"], "whole numbers"),
        (["--sessions", "0"], "whole numbers"),
        (["--seconds", "0"], "must be above 0"),
        (["--only", "load,nap"], "--only takes some of load, wake, sleep, rules, storm"),
        (["--only", "wake", "--url", "http://h:1"], "--url measures the load alone"),
        (["--talking", "9", "--asleep", "8"], "--talking not above --asleep"),
        (["--waking", "0"], "must be above 0"),
        (["--storm", "0"], "must be above 0"),
    ],
)
def test_a_wrong_command_line_is_refused(words: list[str], said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        read_plan(words)
    assert said in capsys.readouterr().err
