from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats


def test_a_whole_text_is_exact() -> None:
    assert stats.numbered(3) == "t0 t1 t2 "
    assert stats.check_tokens(stats.numbered(40), 40).exact


@pytest.mark.parametrize(
    ("text", "lost", "doubled", "disordered"),
    [
        ("", 3, 0, False),
        ("t0 t2 ", 1, 0, False),
        ("t0 t1 t1 t2 ", 0, 1, False),
        ("t0 t2 t1 ", 0, 0, True),
        ("t1 t0 t0 ", 1, 1, True),
        ("t0 t1t2 ", 2, 1, False),  # a blank lost makes one token that nobody sent
        ("t0 t1 t2 t3 ", 0, 1, False),
    ],
)
def test_what_is_amiss_is_counted(text: str, lost: int, doubled: int, disordered: bool) -> None:
    assert stats.check_tokens(text, 3) == (lost, doubled, disordered)


@given(
    tokens=st.integers(1, 50),
    drop=st.sets(st.integers(0, 49)),
    double=st.sets(st.integers(0, 49)),
)
def test_losses_and_doubles_are_told_apart(tokens: int, drop: set[int], double: set[int]) -> None:
    drop = {k for k in drop if k < tokens}
    double = {k for k in double if k < tokens} - drop
    text = "".join(f"t{k} " * (1 + (k in double)) for k in range(tokens) if k not in drop)
    assert stats.check_tokens(text, tokens) == (len(drop), len(double), False)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [stats.percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert stats.percentile([7.0], 1) == 7.0
    assert math.isnan(stats.percentile([], 95))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([50, 95, 99]))
def test_a_percentile_has_that_share_at_or_below_it(values: list[float], percent: int) -> None:
    at = stats.percentile(values, percent)
    below = sum(value <= at for value in values)
    assert at in values
    assert below * 100 >= percent * len(values)


def test_spread_says_how_many_values_it_rests_on() -> None:
    assert stats.spread([3.0, 1.0, 2.0]) == {
        "p50": 2.0,
        "p95": 3.0,
        "p99": 3.0,
        "max": 3.0,
        "count": 3,
    }
    assert stats.spread([])["count"] == 0


def test_cpu_for_each_turn() -> None:
    assert stats.per_turn_ms(2.0, 400) == 5.0
    assert math.isnan(stats.per_turn_ms(2.0, 0))


def test_growth_keeps_kinds_that_came_shrank_or_went() -> None:
    before, after = {"a": 1.0, "b": 5.0, "gone": 2.0}, {"a": 4.0, "b": 3.0, "new": 1.0}
    assert stats.growth(before, after) == {"a": 3.0, "b": -2.0, "gone": -2.0, "new": 1.0}
