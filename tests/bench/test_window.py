from __future__ import annotations

import pytest

from bench import stats
from bench.client import OK, Turn, output_text
from bench.generator import merge
from bench.window import Window


def turn(sent: float, *, done: float = 0.0, outcome: str = OK, text: str = "t0 t1 ") -> Turn:
    made = Turn(0, 1, sent, accepted=sent + 0.01, first=sent + 0.3, done=done or sent + 1)
    made.outcome, made.deltas, made.final = outcome, [text], text
    return made


@pytest.fixture
def window() -> Window:
    return Window(opens=10.0, closes=20.0, tokens=2)


def take(window: Window, taken: Turn) -> None:
    if window.counts(taken):
        window.begun()
    window.add(taken)


async def test_turns_belong_to_the_window_in_which_they_were_sent(window: Window) -> None:
    for sent in (9.5, 10.0, 15.0, 19.5, 20.0):
        take(window, turn(sent))
    figures = window.figures()
    assert figures["outcomes"] == {OK: 3}
    # Work done inside: the one sent before counts, the one that ends after does not.
    assert figures["done_inside"] == 3
    assert figures["first_ms"] == pytest.approx([300, 300, 300])
    assert figures["turn_ms"] == pytest.approx([1000, 1000, 1000])
    assert figures["accepted_ms"] == pytest.approx([10, 10, 10])


async def test_damage_is_counted_and_so_is_a_final_text_that_differs(window: Window) -> None:
    take(window, turn(11, text="t0 "))
    take(window, turn(12, text="t0 t1 t1 "))
    take(window, turn(13, text="t1 t0 "))
    other = turn(14)
    other.final = "t0 t1"
    take(window, other)
    unsaid = turn(15)
    unsaid.final = None
    take(window, unsaid)
    figures = window.figures()
    names = ("lost", "doubled", "disordered", "final_differs")
    assert [figures[name] for name in names] == [1, 1, 1, 1]


async def test_what_went_on_elsewhere_is_counted_by_policy(window: Window) -> None:
    for sent, legs in ((11, ["continue", "restart"]), (12, ["continue"]), (9, ["stop"])):
        moved = turn(sent)
        moved.legs = legs
        take(window, moved)
    assert window.figures()["went_on"] == {"continue": 2, "restart": 1}


async def test_a_turn_that_fails_is_an_error_and_no_latency(window: Window) -> None:
    failed = turn(11, outcome="failed", text="")
    failed.first = 0.0
    take(window, failed)
    figures = window.figures()
    assert figures["outcomes"] == {"failed": 1}
    assert (figures["turn_ms"], figures["first_ms"], figures["lost"]) == ([], [], 0)


async def test_settled_once_the_last_turn_that_counts_is_over(window: Window) -> None:
    first, second = turn(11), turn(19, done=25)
    window.begun()
    window.begun()
    window.add(first)
    window.closed()
    assert not window.settled.is_set()
    window.add(turn(5))
    assert not window.settled.is_set()
    window.add(second)
    assert window.settled.is_set()


async def test_settled_at_once_when_nothing_runs(window: Window) -> None:
    window.closed()
    assert window.settled.is_set()


def test_answers_of_several_generators_add_up() -> None:
    one = {"done_inside": 2, "outcomes": {"ok": 2}, "first_ms": [1.0], "failed": {}}
    two = {"done_inside": 3, "outcomes": {"ok": 2, "x": 1}, "first_ms": [2.0], "failed": {"y": 1}}
    assert merge([one, two]) == {
        "done_inside": 5,
        "outcomes": {"ok": 4, "x": 1},
        "first_ms": [1.0, 2.0],
        "failed": {"y": 1},
    }


def test_the_text_of_a_response_object() -> None:
    part = {"type": "output_text", "text": stats.numbered(2)}
    message = {"type": "message", "content": [part, part]}
    assert output_text({"output": [{"type": "reasoning"}, message]}) == "t0 t1 t0 t1 "
    assert output_text({"output": []}) is None
    assert output_text({}) is None
