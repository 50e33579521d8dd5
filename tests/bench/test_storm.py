"""The storm: what the provider's record says, and what counts as a promise kept."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from bench import report, storm
from bench.figures import Asked, Found, Storm
from bench.plan import Plan
from bench.plot import draw
from bench.storm import OUTAGES, asked_of, last_crowd, model_of, three_endpoints
from bench.verdict import checks
from tests.bench.test_figures import made
from tests.support.simulator import SimulatorProcess

REFUSING, SILENT, FINE = OUTAGES
ENDPOINTS = [
    Asked("refusing", "answers 429", 40, [10, 30], began_s=4.0, after=9, left_after_s=0.4),
    Asked(
        "silent",
        "falls silent after 5 tokens",
        50,
        [10, 40],
        began_s=8.0,
        after=20,
        left_after_s=3.2,
    ),
    Asked("fine", "stays fine", 900, [300, 600]),
]
CALM = made("troupe", 500, added_ms={"p50": 5.0, "p95": 20.0, "p99": 30.0})
STORM = made("troupe", 500, added_ms={"p50": 5.0, "p95": 29.9, "p99": 90.0})
WEATHERED = Storm(500, CALM, STORM, ENDPOINTS)


def test_the_last_crowd_is_where_more_than_a_few_came_within_a_second() -> None:
    assert last_crowd([0.0, 0.1, 0.2, 5.1, 5.9, 6.0, 9.0], 2) == 6.0
    assert last_crowd([6.0, 5.9, 0.0, 5.1, 0.2], 2) == 6.0
    assert last_crowd([0.0, 0.5, 1.0, 1.5, 2.0], 2) is None
    assert last_crowd([0.0, 0.1], 2) is None and last_crowd([], 2) is None


def test_what_an_endpoint_was_asked_counts_while_the_window_is_open() -> None:
    before, inside = [98.0, 99.9], [100.0, 100.1, 103.0, 109.9]
    asked = asked_of(FINE, {"asked": [*before, *inside, 110.0], "since": 1.0}, 100.0, 110.0)
    assert (asked.asked, asked.per_s) == (4, [2, 0, 0, 1, 0, 0, 0, 0, 0, 1])
    assert (asked.began_s, asked.after, asked.left_after_s) == (None, 0, None)


def test_a_bad_endpoint_is_left_alone_once_only_probes_reach_it() -> None:
    crowd = [104.0 + n / 10 for n in range(10)]
    probes = [106.0, 107.5, 109.5]
    shown = {"asked": [100.0, *crowd, *probes], "since": 104.0}
    asked = asked_of(REFUSING, shown, 100.0, 110.0)
    assert (asked.began_s, asked.after, asked.left_after_s) == (4.0, 13, pytest.approx(0.9))
    at_once = asked_of(REFUSING, {"asked": [100.0, 106.0], "since": 104.0}, 100.0, 110.0)
    assert (at_once.after, at_once.left_after_s) == (1, 0.0)


def test_an_endpoint_that_is_asked_to_the_end_was_never_left_alone() -> None:
    shown = {"asked": [100.0 + n / 10 for n in range(100)], "since": 104.0}
    asked = asked_of(REFUSING, shown, 100.0, 110.0)
    assert (asked.after, asked.left_after_s) == (60, None)


def test_the_agents_endpoints_are_told_apart_and_alike() -> None:
    plan = three_endpoints(Plan(settings={"A": "b"}), "http://127.0.0.1:1")
    endpoints = json.loads(plan.settings["TROUPE_AGENTS__GPT__ENDPOINTS"])
    models = [one["model"] for one in endpoints]
    assert plan.settings["A"] == "b" and len(set(models)) == 3
    assert models == [model_of(plan, number) for number in range(3)]
    assert {model.rpartition(".seed-")[0] for model in models} == {plan.provider_model}
    assert {one["base_url"] for one in endpoints} == {"http://127.0.0.1:1/v1"}


async def test_outages_are_ordered_in_time_and_strike_their_endpoint_alone() -> None:
    plan = Plan(ttft_ms=0, gap_ms=0, tokens=8)
    soon = [replace_after(outage, 0.05) for outage in OUTAGES]
    said: list[str] = []
    with SimulatorProcess() as provider:
        key = {"Authorization": "Bearer any"}
        async with aiohttp.ClientSession(provider.url, headers=key) as client:
            await storm.break_down(plan, client, storm.now(), said.append, soon)
            statuses: list[int] = []
            for number in (0, 2):
                turns = [{"role": "user", "content": "hi"}]
                body = {"model": model_of(plan, number), "messages": turns}
                async with client.post("/v1/chat/completions", json=body) as answer:
                    statuses.append(answer.status)
            async with client.get("/_sim/faults") as answer:
                shown: dict[str, Any] = (await answer.json())["models"]
    assert statuses == [429, 200]
    assert [shown[model_of(plan, n)]["script"] for n in (0, 1)] == [
        outage.script for outage in OUTAGES[:2]
    ]
    assert said == [f"endpoint {one.endpoint}: {one.words}" for one in OUTAGES[:2]]


def replace_after(outage: storm.Outage, after_s: float) -> storm.Outage:
    return outage._replace(after_s=after_s)


def missed(found: Storm) -> list[str]:
    judged = checks(Found(storms=[found]))
    return [f"{one.promise} ({one.figure})" for one in judged if one.passed is False]


def test_promises_kept() -> None:
    judged = checks(Found(storms=[WEATHERED]))
    assert [check.passed for check in judged] == [True] * 5
    assert len({check.promise for check in judged}) == 5
    assert WEATHERED.added_ratio == pytest.approx(1.495)


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"storm": replace(STORM, errors={"failed": 1})}, "no error (1 x failed)"),
        ({"storm": replace(STORM, lost=2)}, "no token amiss (2 lost"),
        ({"storm": replace(STORM, added_ms={"p95": 30.0})}, "p95 under 1.5 times its own (1.50"),
        (
            {"endpoints": [replace(ENDPOINTS[0], left_after_s=None), *ENDPOINTS[1:]]},
            "the one that answers 429 is left alone (never)",
        ),
    ],
)
def test_a_storm_that_is_noticed_misses_its_promise(changes: dict[str, Any], promise: str) -> None:
    [said] = missed(replace(WEATHERED, **changes))
    assert promise in said


def test_a_fault_that_met_nobody_proves_nothing() -> None:
    unmet = [replace(ENDPOINTS[0], after=0), *ENDPOINTS[1:]]
    judged = checks(Found(storms=[replace(WEATHERED, endpoints=unmet)]))
    assert {check.passed for check in judged} == {None}
    assert "refusing" in judged[0].figure
    calm = replace(CALM, added_ms={"p95": 0.0})
    assert math.isnan(replace(WEATHERED, calm=calm).added_ratio)


def test_tables_json_and_plot(tmp_path: Path) -> None:
    found = Found(storms=[WEATHERED])
    rows = [" ".join(line.split()) for line in report.everything(found).splitlines()]
    assert "refusing answers 429 4.0 40 9 0.4" in rows
    assert "fine stays fine 900" in rows
    assert any(row.startswith("500: two of three fail 1000 ") for row in rows)
    assert any("2 continue" in row for row in rows)
    document = report.document(Plan(), {}, found, checks(found), "now")
    report.save(document, tmp_path / "x.json")
    kept = orjson.loads((tmp_path / "x.json").read_bytes())["storms"][0]
    assert kept["added_ratio"] == pytest.approx(1.495)
    assert kept["endpoints"][1]["left_after_s"] == 3.2
    for name, shown in (("alone", found), ("all", Found([CALM], storms=[WEATHERED]))):
        draw(shown, "title", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
