"""What strikes when follows from the seed, and every fault has its turn."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from chaos.__main__ import read_plan
from chaos.faults import DONE_BY_RAY, STRIKES
from chaos.plan import FAULTS, Plan
from chaos.schedule import schedule


def first(plan: Plan, many: int = 60) -> list[tuple[str, float | None]]:
    return [tuple(due) for due in islice(schedule(plan), many)]


def test_every_fault_strikes_in_turn_and_then_at_random() -> None:
    plan = Plan()
    drawn = first(plan)
    assert [fault for fault, _ in drawn[: len(FAULTS)]] == list(FAULTS)
    assert all(after_s is None for _, after_s in drawn[: len(FAULTS) + 1])
    rest = drawn[len(FAULTS) + 1 :]
    assert len({fault for fault, _ in rest}) > 5
    assert all(plan.gap_s <= (after_s or 0) <= 2 * plan.gap_s for _, after_s in rest)


def test_the_same_seed_draws_the_same() -> None:
    assert first(Plan(seed=7)) == first(Plan(seed=7))
    assert first(Plan(seed=7)) != first(Plan(seed=8))


def test_only_what_was_chosen_strikes() -> None:
    plan = replace(Plan(), faults=("valkey", "wipe"))
    assert {fault for fault, _ in first(plan)} == {"valkey", "wipe"}


def test_every_fault_can_be_done() -> None:
    assert set(STRIKES) == set(FAULTS)
    assert set(FAULTS) > DONE_BY_RAY


def test_the_command_line_chooses() -> None:
    words = ["--sessions", "20", "--seconds", "5", "--seed", "9", "--faults", "host, wipe"]
    plan = read_plan(words)
    assert (plan.sessions, plan.seconds, plan.seed) == (20, 5.0, 9)
    assert plan.faults == ("host", "wipe")


@pytest.mark.parametrize(
    "words", ["--faults earthquake", "--faults ,", "--sessions 0", "--plant rumour"]
)
def test_nonsense_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_plan(words.split())
    assert words.split()[0] in capsys.readouterr().err
