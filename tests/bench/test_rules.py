"""Deciding: many rules are really gone through, and what a decision cost is judged and kept."""

from __future__ import annotations

from pathlib import Path

from bench import report, rules, stats
from bench.decider import message, rule_set
from bench.figures import Deciding, Found
from bench.plan import Plan
from bench.plot import drawable
from bench.verdict import checks


def test_all_rules_are_asked_and_only_the_last_one_matches() -> None:
    compiled = rule_set(100)
    assert len(compiled.rules) == 100
    assert len({rule.name for rule in compiled.rules}) == 100
    for number in range(20):
        rule, _ = compiled.first_match(message(number))
        assert rule.name == "last"
    assert [one["faults"] for one in compiled.report()] == [[]] * 100
    assert [one["matched"] for one in compiled.report()] == [*[0] * 98, 20, 0]


async def test_decisions_are_made_in_a_process_of_their_own() -> None:
    said: list[str] = []
    found = await rules.run(Plan(rules=12, decisions=30), said.append)
    assert (found.rules, found.us["count"]) == (12, 30)
    assert 0 < found.us["p50"] <= found.us["p95"] <= found.us["max"]
    assert said == ["rules: 30 decisions over 12 rules"]


def test_a_decision_that_costs_too_much_is_told_and_figures_are_kept(tmp_path: Path) -> None:
    found = Found(decidings=[Deciding(100, stats.spread([150.0] * 90 + [250.0] * 10))])
    assert [(one.promise, one.passed) for one in checks(found)] == [
        ("a decision over 100 rules: p50 under 200 µs", True),
        ("a decision over 100 rules: p95 under 200 µs", False),
    ]
    rows = [" ".join(line.split()) for line in report.everything(found).splitlines()]
    assert "the last rule matches 100 100 150 250 250" in rows
    document = report.document(Plan(), {}, found, checks(found), "now")
    assert document["decidings"] == [{"rules": 100, "us": found.decidings[0].us}]
    assert not drawable(found)
