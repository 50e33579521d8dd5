"""The simulator sums up what people told it, and remembers from a summary as from their words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator import memo, persona
from simulator.asks import Turn
from tests.simulator.clock import PATIENT

ORDER = Turn("system", "Write the new summary of what was said.")
SAID = "What was said:\n\nuser: My name is Anna.\n\nassistant: Hello!\n\nuser: Why is it so?"


def test_it_sums_up_what_was_stated() -> None:
    said = f"The summary so far:\n\nuser: I like figs\n\n---\n\n{SAID}"
    assert (
        persona.reply([ORDER, Turn("user", said)], 0) == "user: I like figs\nuser: My name is Anna."
    )
    assert persona.reply([ORDER, Turn("user", "user: Why?\nassistant: So.")], 0) == memo.NOTHING


def test_it_takes_nothing_else_for_such_a_request() -> None:
    assert memo.memo([Turn("user", SAID)]) is None
    assert memo.memo([Turn("system", "Be brief."), Turn("user", SAID)]) is None
    assert memo.memo([ORDER, Turn("user", "Hello")]) is None
    assert memo.memo([ORDER]) is None
    assert memo.memo([]) is None


def test_it_remembers_from_a_summary() -> None:
    told = "Be kind.\n\nSummary of the conversation:\n\nuser: My name is Anna.\nuser: I like figs"
    asked = [Turn("system", told), Turn("user", "What is my name?")]
    assert "**Anna**" in persona.reply(asked, 0)
    assert "**figs**" in persona.reply([asked[0], Turn("user", "What do I like?")], 0)
    stranger = Turn("system", "user: My name is Anna.")
    assert "haven't told me" in persona.reply([stranger, asked[1]], 0)


@PATIENT
@given(st.text(max_size=200), st.lists(st.text(max_size=60), max_size=6))
def test_a_summary_is_bounded_and_never_empty(order: str, lines: list[str]) -> None:
    said = "\n".join(f"user: {line}" for line in lines)
    found = memo.memo([ORDER, Turn("system", order), Turn("user", said)])
    assert found is None or 0 < len(found) <= memo.LINES * (memo.LINE_CHARACTERS + 7)
