"""The wheel, on a clock that a test turns by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.wheel import Wheel
from tests.simulator.clock import PATIENT, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheel(clock: Clock) -> Wheel:
    return Wheel(clock)  # type: ignore[arg-type]


def test_one_millisecond_is_one_timer(clock: Clock, wheel: Wheel) -> None:
    heard: list[int] = []
    for n in range(100):
        wheel.at(1_000_020.3, lambda n=n: heard.append(n))
    assert len(clock.living()) == 1
    clock.turn_to(1000.021)
    assert heard == list(range(100))
    assert clock.living() == []


def test_an_earlier_call_takes_the_timer_over(clock: Clock, wheel: Wheel) -> None:
    heard: list[str] = []
    wheel.at(1_000_500, lambda: heard.append("late"))
    wheel.at(1_000_100, lambda: heard.append("early"))
    assert [timer.when for timer in clock.living()] == [1000.1]
    clock.turn_to(1000.1)
    assert heard == ["early"]
    assert [timer.when for timer in clock.living()] == [1000.5]
    clock.turn_to(1000.5)
    assert heard == ["early", "late"]


def test_a_call_for_now_waits_for_the_next_round(clock: Clock, wheel: Wheel) -> None:
    heard: list[int] = []

    def again() -> None:
        heard.append(len(heard))
        wheel.at(0, again)

    wheel.at(0, again)
    clock.turn_to(1000.0)
    assert heard == [0]
    clock.turn_to(1000.0)
    assert heard == [0, 1]


def test_a_call_that_raises_leaves_the_others_their_timer(clock: Clock, wheel: Wheel) -> None:
    heard: list[str] = []

    def fail() -> None:
        raise RuntimeError("mine")

    wheel.at(1_000_001, fail)
    wheel.at(1_000_002, lambda: heard.append("later"))
    with pytest.raises(RuntimeError, match="mine"):
        clock.turn_to(1000.001)
    clock.turn_to(1000.002)
    assert heard == ["later"]


@PATIENT
@given(st.lists(st.floats(1_000_000, 1_000_300, allow_nan=False), min_size=1, max_size=60))
def test_nothing_is_early_and_nothing_is_forgotten(moments: list[float]) -> None:
    clock = Clock()
    wheel = Wheel(clock)  # type: ignore[arg-type]
    heard: list[tuple[float, float]] = []
    for moment in moments:
        wheel.at(moment, lambda moment=moment: heard.append((moment, clock.seconds * 1000)))
    for ms in range(1_000_000, 1_000_302):
        clock.turn_to(ms / 1000)
    assert sorted(moment for moment, _ in heard) == sorted(moments)
    assert all(at >= moment - 0.5 for moment, at in heard)
    assert [at for _, at in heard] == sorted(at for _, at in heard)
