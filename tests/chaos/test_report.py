"""What a run leaves behind says what was found, and passes only if that is nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson

from chaos import check, report
from chaos.conductor import Outcome
from chaos.plan import Plan
from chaos.plants import plant
from chaos.plot import draw
from chaos.silence import Strike
from tests.chaos.samples import TOKENS, clean

STRIKE = Strike("host", "killed pid 1", 10.0, 20.0, 0.5)


def an_outcome(planted: str | None = None) -> Outcome:
    """A run with one session of three answers, the first of which was silent for 1.5 s."""
    outcome = Outcome(Plan(), sessions=[clean()], strikes=[STRIKE])
    record, stored = outcome.sessions[0]
    first = record.answers["resp_1"]
    first.times, first.ended, first.legs = [9.0, 9.9, 11.5], 11.6, ["continue"]
    if planted is not None:
        plant(planted, outcome.sessions)
    outcome.findings = check.check(record, stored, TOKENS)
    return outcome


def row(table: str, name: str) -> list[str]:
    return next(line.split() for line in table.splitlines() if line.startswith(name))


def test_a_clean_run_passes_and_shows_its_figures() -> None:
    outcome = an_outcome()
    table = report.table(outcome)
    assert report.passed(outcome)
    assert row(table, "answers that went on elsewhere")[-3:] == ["1", "x", "continue"]
    assert row(table, check.LOST)[-1] == "0"
    assert row(table, "host ") == ["host", "1", "1", "1.50", "1.50", "1.50", "0.5"]
    assert "Findings" not in table


def test_a_finding_is_shown_with_its_place_and_fails_the_run() -> None:
    outcome = an_outcome("lost-token")
    table = report.table(outcome)
    assert not report.passed(outcome)
    assert row(table, check.TOKENS_LOST)[-1] == "1"
    assert "conv_1 resp_1: stored …t0 t2 t3 t4… (of 7)" in table


def test_a_run_that_went_wrong_itself_does_not_pass() -> None:
    outcome = an_outcome()
    outcome.unwell.append("valkey: not back after 60 s")
    assert not report.passed(outcome)
    assert "valkey: not back" in report.table(outcome)


def test_a_run_that_saw_nothing_does_not_pass() -> None:
    assert not report.passed(Outcome(Plan()))


def test_the_document_is_json_and_keeps_the_evidence() -> None:
    outcome = an_outcome("doubled-answer")
    outcome = replace(outcome, plan=Plan(plant="doubled-answer"))
    document = orjson.loads(orjson.dumps(report.document(outcome, {}, "now")))
    assert document["passed"] is False
    assert document["counts"][check.TWICE] == 1
    assert document["silences_s"] == {"host": [1.5]}
    assert document["evidence"][0]["record"]["session_id"] == "conv_1"
    clean_run = report.document(an_outcome(), {}, "now")
    assert clean_run["passed"] is True
    assert clean_run["evidence"] == []


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    draw(an_outcome(), "title", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
