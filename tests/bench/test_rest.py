"""Waking and sleeping: what is made of the figures, and what counts as a promise kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import report
from bench.figures import Found, Sleep, Source, Wake
from bench.plan import Plan
from bench.plot import draw
from bench.verdict import checks
from bench.wake import sleepy
from tests.bench.test_figures import IDLE, made

TRIPS = {"Postgres": 2, "Redis": 1}
COST = {**IDLE.figures(), "kb_per_session": 60.0}


def ms(p95: float, most: float = 0.0, count: int = 100) -> dict[str, float]:
    return {"p50": p95 / 2, "p95": p95, "p99": p95, "max": most or p95, "count": count}


def inside(source: Source, at_once: int, p95: float, most: float = 0.0) -> Wake:
    return Wake("host", source, at_once, ms(p95, most), bare_ms=ms(2.0), trips=TRIPS)


def outside(source: Source, woke: int, **errors: int) -> Wake:
    return Wake("client", source, 1, ms(30.0), woke=woke, errors=errors)


WAKES = [
    inside("Redis", 1, 5.0),
    inside("memory", 1, 1.0),
    inside("Postgres", 1, 12.0),
    inside("Redis", 1000, 50.0),
    inside("memory", 1000, 20.0),
    inside("Postgres", 1000, 80.0, 99.9),
    outside("Redis", 100),
    outside("memory", 0),
    outside("Postgres", 100),
]
AMONG = made("troupe", 200, added_ms={"p50": 5.0, "p95": 20.0, "p99": 30.0})
ALONE = made("troupe", 200, added_ms={"p50": 5.0, "p95": 10.0, "p99": 30.0})
SLEEP = Sleep(5000, COST, COST, 0, 200, 200, AMONG, ALONE, {})


def missed(found: Found) -> list[str]:
    return [f"{one.promise} ({one.figure})" for one in checks(found) if one.passed is False]


def test_promises_kept() -> None:
    judged = checks(Found(wakes=WAKES, sleeps=[SLEEP]))
    assert [check.passed for check in judged] == [True] * 10
    assert len({check.promise for check in judged}) == 10


@pytest.mark.parametrize(
    ("place", "worse", "promise"),
    [
        (2, inside("Postgres", 1, 12.1), "waking from Postgres: p95 at most 10 ms above"),
        (3, inside("Redis", 1000, 50.0, 100.0), "1000 sessions waking together from Redis"),
        (4, inside("memory", 1000, 50.0, 100.0), "1000 sessions waking together from memory"),
        (5, inside("Postgres", 1000, 50.0, 100.0), "1000 sessions waking together from Postgres"),
        (6, outside("Redis", 99), "99 of 100 woke from Redis"),
        (7, outside("memory", 1), "1 of 100 woke from memory"),
        (8, outside("Postgres", 100, timeout=2), "2 x timeout"),
    ],
)
def test_a_wake_that_misses_its_promise(place: int, worse: Wake, promise: str) -> None:
    wakes = [*WAKES[:place], worse, *WAKES[place + 1 :]]
    [said] = missed(Found(wakes=wakes))
    assert promise in said


def test_what_clients_did_not_measure_is_no_promise_kept() -> None:
    judged = checks(Found(wakes=WAKES[:2]))
    assert [check.passed for check in judged] == [None, None]


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"errors": {"open: refused": 3}}, "no error, no token amiss (3 x open: refused)"),
        ({"among": replace(AMONG, errors={"failed": 1})}, "(1 x failed)"),
        ({"among": replace(AMONG, doubled=1)}, "(none; 1 amiss)"),
        ({"among": replace(AMONG, turns=0)}, "no error, no token amiss"),
        ({"woke": 199}, "had been asleep (199 of 200)"),
        ({"woke": 0, "asked": 0}, "had been asleep (0 of 0)"),
        ({"plain": {**COST, "kb_per_session": 60.1}}, "5000 sockets: at most 60 KB"),
        ({"offering": {**COST, "kb_per_session": 98.0}}, "offering compression: at most 60 KB"),
        ({"alone": replace(ALONE, added_ms={"p95": 9.9})}, "at most 10 ms above (10.10 ms)"),
    ],
)
def test_a_sleep_that_misses_its_promise(changes: dict[str, Any], promise: str) -> None:
    [said] = missed(Found(sleeps=[replace(SLEEP, **changes)]))
    assert promise.replace(" (10.10 ms)", "") in said


def test_tables_json_and_plot(tmp_path: Path) -> None:
    found = Found(wakes=WAKES, sleeps=[SLEEP])
    text = report.everything(found)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "seen by the host Postgres 1000 40.0 80.0 99.9 2 Postgres, 1 Redis 1.0 2.0 78.0" in rows
    assert "seen by the client memory 1 15.0 30.0 30.0 0" in rows
    assert "hosts 30.00 30.00" in rows
    assert any(row.startswith("200 talking among 5000 ") for row in rows)
    document = report.document(Plan(), {}, found, checks(found), "now")
    report.save(document, tmp_path / "x.json")
    kept = orjson.loads((tmp_path / "x.json").read_bytes())
    assert kept["wakes"][2]["bare_ms"]["p95"] == 2.0
    assert kept["sleeps"][0]["among"]["added_ms"]["p95"] == 20.0
    for name, shown in (("both", found), ("one", Found(wakes=WAKES)), ("s", Found(sleeps=[SLEEP]))):
        draw(shown, "title", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_plan_whose_sessions_sleep_soon_holds_them_all_until_then() -> None:
    settings = sleepy(Plan(settings={"A": "b"}), 7).settings
    assert settings["A"] == "b" and settings["TROUPE_HOSTS__IDLE_S"] == "7"
    assert int(settings["TROUPE_HOSTS__SESSIONS_PER_HOST"]) >= 5000
