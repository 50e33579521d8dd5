"""How long answers were silent: worked examples."""

from __future__ import annotations

import pytest

from chaos.record import Answer
from chaos.silence import Strike, silence_s, silences


def strike(at: float, until: float = 100.0, fault: str = "host") -> Strike:
    return Strike(fault, "", at, until, None)


def answer(*times: float, ended: float = 0.0) -> Answer:
    return Answer("resp_1", times=list(times), ended=ended)


@pytest.mark.parametrize(
    ("times", "ended", "at", "expected"),
    [
        ((1, 2, 3), 4.0, 2.5, 1.0),  # from the token at 3 to the end at 4
        ((1, 2, 7), 7.5, 2.5, 4.5),  # silent from the strike on
        ((1, 2, 2.6, 7), 7.5, 2.5, 4.4),  # what was on its way still came
        ((3, 4), 5.0, 2.5, None),  # began later
        ((1, 2), 2.4, 2.5, None),  # was over
        ((), 0.0, 2.5, None),  # had not begun to speak
        ((1, 2), 0.0, 2.5, 97.5),  # never spoke again
    ],
)
def test_the_longest_silence_after_the_strike(
    times: tuple[float, ...], ended: float, at: float, expected: float | None
) -> None:
    found = silence_s(answer(*times, ended=ended), strike(at))
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_silence_that_begins_after_the_next_strike_is_the_next_ones() -> None:
    one = answer(1, 2, 3, 4, 9, ended=10)
    assert silence_s(one, strike(2.5, until=3.5)) == pytest.approx(1.0)
    assert silence_s(one, strike(3.5)) == pytest.approx(5.0)


def test_silences_are_gathered_by_fault() -> None:
    strikes = [strike(2.5, 3.5), strike(3.5, 4.5, "valkey"), strike(50, 60)]
    found = silences([answer(1, 2, 3, 4, 5, ended=5)], strikes)
    assert found == {"host": [1.0], "valkey": [1.0]}
