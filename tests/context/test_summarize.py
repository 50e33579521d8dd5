"""What of a conversation is summed up, and what a model is shown of it for that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from context.history import cost, window
from context.summarize import SUM_UP, Portion, portion, request
from contracts.memory import Summary
from contracts.messages import Message, Role

WORDS = "word " * 40
TURN = cost(Message("", 1, "user", WORDS, 0.0)) * 2

roles = st.sampled_from(["user", "user", "assistant", "assistant", "developer"])
conversations = st.lists(st.tuples(roles, st.sampled_from(["x", WORDS, WORDS * 5])), max_size=20)


def talk(*said: tuple[Role, str]) -> list[Message]:
    return [Message(f"msg_{n}", n, role, text, 0.0) for n, (role, text) in enumerate(said, start=1)]


def turns(count: int) -> list[Message]:
    return talk(*[("user", WORDS), ("assistant", WORDS)] * count)


def test_nothing_is_summed_up_while_there_is_room() -> None:
    assert portion([], 100) is None
    assert portion(turns(3), TURN * 4) is None


def test_the_oldest_turns_are_summed_up_until_half_the_budget_is_free() -> None:
    due = portion(turns(4), TURN * 4)
    assert due is not None
    assert [m.position for m in due.messages] == [1, 2, 3, 4]
    assert (due.covers_to, due.before) == (4, None)


def test_the_next_one_begins_where_the_last_one_ends() -> None:
    summary = Summary("They began.", covers_to=4)
    assert portion(turns(5), TURN * 4, summary) is None
    due = portion(turns(6), TURN * 4, summary)
    assert due is not None
    assert [m.position for m in due.messages] == [5, 6, 7, 8]
    assert due.before == summary


def test_standing_orders_and_the_newest_turn_are_not_summed_up() -> None:
    order = [("developer", WORDS * 9)]
    messages = talk(*order, ("user", "x"), ("assistant", "y"), ("user", WORDS * 9))
    due = portion(messages, 100)
    assert due is not None
    assert [m.text for m in due.messages] == ["x", "y"]
    assert portion(messages[3:], 100) is None


def test_an_open_turn_and_what_follows_it_wait() -> None:
    messages = turns(6)
    due = portion(messages, TURN * 2, open_from=5)
    assert due is not None
    assert due.covers_to == 4
    assert portion(messages, TURN * 2, open_from=1) is None


def test_a_portion_is_bounded() -> None:
    due = portion(turns(9), TURN * 2, portion_chars=len(WORDS) * 5)
    assert due is not None
    assert due.covers_to == 4
    due = portion(turns(9), TURN * 2, portion_chars=1)
    assert due is not None
    assert due.covers_to == 2, "one turn at least, or there would be no end of it"


def test_how_a_model_is_asked() -> None:
    said = talk(("user", "I am Ann."), ("assistant", "Hello Ann."))
    asked = request(Portion(tuple(said), Summary("Before.", 0)), "m", 500)
    assert (asked.model, asked.instructions, asked.max_output_tokens) == ("m", SUM_UP, 500)
    [message] = asked.messages
    assert message.role == "user"
    for text in ("Before.", "user: I am Ann.", "assistant: Hello Ann."):
        assert text in message.text
    [message] = request(Portion(tuple(said), None), "m", 500).messages
    assert "summary so far" not in message.text


def test_a_text_that_is_too_long_is_sent_without_its_middle() -> None:
    said = talk(("user", "begin " + WORDS * 50 + " end"))
    [message] = request(Portion(tuple(said), None), "m", 500, portion_chars=200).messages
    assert len(message.text) < 300
    assert "begin" in message.text
    assert message.text.endswith(" end")


@given(conversations, st.integers(1, 3000), st.integers(0, 12), st.integers(1, 5000))
def test_rules_of_every_portion(
    said: list[tuple[Role, str]], budget: int, covered: int, chars: int
) -> None:
    messages = talk(*said)
    summary = Summary("Before.", covered) if covered else None
    due = portion(messages, budget, summary, portion_chars=chars)
    if due is None:
        return
    positions = [m.position for m in due.messages]
    assert positions == list(range(positions[0], positions[-1] + 1))
    assert positions[0] > covered
    after = messages[due.covers_to :]
    assert after[0].role == "user", "the rest begins with a turn"
    assert due.messages[-1].role != "user"
    later = [m for m in messages[: positions[0] - 1] if m.position > covered]
    assert all(m.role == "developer" for m in later), "only standing orders are passed over"


@given(st.integers(1, 40), st.integers(2, 8))
def test_a_conversation_of_any_length_is_remembered_whole(count: int, room: int) -> None:
    """Summing up after each turn, no message is ever in neither the summary nor the window."""
    budget, messages = TURN * room, turns(count)
    summary: Summary | None = None
    for end in range(2, len(messages) + 1, 2):
        while due := portion(messages[:end], budget, summary):
            summary = Summary("So far.", due.covers_to)
        question = Message("", end + 1, "user", "x", 0.0)
        seen = window([*messages[:end], question], budget + 60, None, summary)
        shown = {m.position for m in seen if m.role != "developer"}
        covered = summary.covers_to if summary else 0
        assert shown >= set(range(covered + 1, end + 2))
