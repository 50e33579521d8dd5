"""Where a continuation meets what was said: what is taken out, and what never is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.joint import (
    ANEW_CHARS,
    GO_ON,
    LOOK_BACK_CHARS,
    SAFE_CHARS,
    Joint,
    asked_to_go_on,
)
from contracts.agents import ModelRequest
from tests.agents.conformance import said

SPOKEN = "The quick brown fox jumps over the lazy dog, and then it goes home to sleep"

few_letters = st.text("ab \n", max_size=60)
cuts = st.lists(st.integers(0, 400), max_size=8)


def numbered(count: int, word: str = "token") -> str:
    return "".join(f"{word} {n} " for n in range(count))


def joined(begun: str, more: str, at: list[int] | None = None) -> str:
    """What comes out of a continuation that arrives in these pieces."""
    joint = Joint(begun)
    places = sorted({0, len(more), *(cut for cut in at or [] if cut < len(more))})
    pieces = [more[a:b] for a, b in pairwise(places)]
    return "".join([joint.feed(piece) for piece in pieces]) + joint.close()


@given(few_letters, few_letters, cuts)
def test_only_a_repetition_is_ever_taken_out(begun: str, more: str, at: list[int]) -> None:
    out = joined(begun, more, at)
    assert more.endswith(out)
    if out != more:
        repeat = more[: len(more) - len(out)]
        assert begun.endswith(repeat)
        assert len(repeat) >= SAFE_CHARS


@given(few_letters, few_letters, cuts)
def test_how_it_arrives_changes_nothing(begun: str, more: str, at: list[int]) -> None:
    assert joined(begun, more, at) == joined(begun, more)


@given(st.integers(0, 120), st.integers(0, 1000), st.sampled_from(["token", "t", "Zählung"]), cuts)
def test_counting_on_loses_no_number(count: int, place: int, word: str, at: list[int]) -> None:
    text = numbered(count, word)
    place = min(place, len(text))
    assert joined(text[:place], text[place:], at) == text[place:]


@given(st.integers(3, 300), st.integers(0, LOOK_BACK_CHARS), cuts)
def test_the_end_said_again_is_taken_out(count: int, back: int, at: list[int]) -> None:
    whole = numbered(count + 5)
    begun = numbered(count)
    start = max(0, len(begun) - max(back, SAFE_CHARS))
    assert begun + joined(begun, whole[start:], at) == whole


@pytest.mark.parametrize("count", [2, 60, 2000])
def test_all_of_it_said_again_is_taken_out(count: int) -> None:
    begun, whole = numbered(count), numbered(count + 5)
    assert SAFE_CHARS < len(begun) <= ANEW_CHARS
    assert begun + joined(begun, whole, list(range(0, len(whole), 7))) == whole


def test_one_that_begins_anew_and_then_differs_is_left_as_it_is() -> None:
    begun = numbered(60)
    more = begun[:-30] + "something else"
    assert joined(begun, more, [5, 50]) == more


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        ("Ha ha ha ha ha ha ", "ha ha ha ha ha ha!"),
        ("A table:\n\n|---|---|---|---|", "---|---|---|---|\n"),
        ("def f():\n            ", "            return 1\n"),
        ("Title\n" + "-" * 40, "-" * 40 + "\n"),
        ("Row your boat\nRow your boat\n", "Row your boat\nGently down the stream"),
    ],
)
def test_what_is_said_several_times_may_well_be_meant(begun: str, more: str) -> None:
    assert joined(begun, more, [1, 3]) == more


def test_a_short_repetition_is_taken_for_chance() -> None:
    begun = "It is, it is"
    assert len(" it is") < SAFE_CHARS
    assert joined(begun, " it is!") == " it is!"


def test_nothing_is_held_back_without_need() -> None:
    joint = Joint(SPOKEN)
    assert joint.feed(" until") == " until"
    assert joint.feed(SPOKEN) == SPOKEN, "later on nothing is looked for"
    joint = Joint(SPOKEN)
    assert joint.feed("to sleep") == "to sleep", "the end, but too little of it to tell"
    joint = Joint(SPOKEN)
    assert joint.feed("it goes home") == ""
    assert joint.feed(" to sleep. ") == ". "


def test_what_is_held_back_comes_out_at_the_end() -> None:
    joint = Joint(SPOKEN)
    assert joint.feed("and then it goes") == ""
    assert joint.close() == "and then it goes"
    assert joint.close() == ""


def test_how_a_model_is_asked() -> None:
    request = ModelRequest("m", said(("user", "Hi.")), temperature=0.5, said="Hello, th")
    sent = asked_to_go_on(request)
    assert [(m.role, m.text) for m in sent.messages] == [
        ("user", "Hi."),
        ("assistant", "Hello, th"),
        ("user", GO_ON),
    ]
    assert (sent.said, sent.temperature) == (None, 0.5)
    assert asked_to_go_on(sent) is sent
    assert asked_to_go_on(ModelRequest("m", (), said="")).messages == ()
