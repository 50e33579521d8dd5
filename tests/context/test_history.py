"""The window that a model is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from context.history import SUMMED_UP, cost, window
from context.tokens import estimate
from contracts.memory import Summary
from contracts.messages import Message, Role

roles = st.sampled_from(["user", "assistant", "assistant", "user", "system", "developer"])
texts = st.one_of(st.text(max_size=40), st.sampled_from(["word " * 40, "東京" * 60, "x"]))
conversations = st.lists(st.tuples(roles, texts), max_size=25)


def talk(*said: tuple[Role, str]) -> list[Message]:
    return [Message(f"msg_{n}", n, role, text, 0.0) for n, (role, text) in enumerate(said, start=1)]


def last_question(messages: list[Message]) -> Message:
    asked = [message for message in messages if message.role == "user"]
    return asked[-1] if asked else messages[-1]


@given(conversations, st.integers(0, 600), st.one_of(st.none(), texts))
def test_rules_of_every_window(
    said: list[tuple[Role, str]], budget: int, instructions: str | None
) -> None:
    messages = talk(*said)
    seen = window(messages, budget, instructions)
    positions = [message.position for message in seen]
    assert positions == sorted(set(positions)), "in order, nothing twice"
    assert set(seen) <= set(messages), "nothing made up"
    if not messages:
        assert seen == []
        return
    question = last_question(messages)
    assert question in seen, "the question is always asked"
    price = sum(cost(message) for message in seen) + estimate(instructions or "")
    assert price <= budget or seen == [question], "within the budget, or the question alone"
    history = [m for m in seen if m.role not in ("system", "developer")]
    if len(seen) < len(messages) and any(m.role == "user" for m in messages):
        assert history[0].role == "user", "what was cut begins with no answer"


@given(conversations, st.integers(0, 600))
def test_a_larger_budget_never_shows_less(said: list[tuple[Role, str]], budget: int) -> None:
    messages = talk(*said)
    orders = {m.id for m in window(messages, budget) if m.role in ("system", "developer")}
    small = {m.id for m in window(messages, budget)} - orders
    large = {m.id for m in window(messages, budget * 2 + 2000)}
    assert small <= large


@given(conversations)
def test_a_conversation_that_fits_is_sent_as_it_is(said: list[tuple[Role, str]]) -> None:
    messages = talk(*said)
    assert window(messages, 1_000_000) == messages


def test_the_newest_stay() -> None:
    messages = talk(
        ("user", "one " * 50),
        ("assistant", "two " * 50),
        ("user", "three"),
        ("assistant", "four"),
        ("user", "five"),
    )
    assert [m.position for m in window(messages, 60)] == [3, 4, 5]


def test_a_window_does_not_begin_with_an_answer() -> None:
    messages = talk(("user", "one " * 50), ("assistant", "two"), ("user", "three"))
    assert [m.position for m in window(messages, 40)] == [3]


def test_an_answer_is_all_there_is() -> None:
    messages = talk(("assistant", "hello"))
    assert window(messages, 1000) == messages


def test_a_question_over_the_budget_is_asked_alone() -> None:
    messages = talk(("system", "Be kind."), ("user", "hi"), ("user", "long " * 500))
    assert [m.position for m in window(messages, 100)] == [3]


def test_standing_orders_stay_while_history_goes() -> None:
    messages = talk(
        ("system", "Be kind."),
        ("developer", "Be brief."),
        ("user", "one " * 60),
        ("assistant", "two " * 60),
        ("user", "three"),
    )
    assert [m.position for m in window(messages, 80)] == [1, 2, 5]


def test_the_question_stays_when_what_was_said_since_does_not_fit() -> None:
    messages = talk(("user", "why?"), ("assistant", "long " * 500), ("assistant", "so."))
    assert [m.position for m in window(messages, 60)] == [1, 3]


def test_instructions_take_their_share() -> None:
    messages = talk(("user", "one " * 10), ("assistant", "two"), ("user", "three"))
    assert len(window(messages, 80)) == 3
    assert [m.position for m in window(messages, 80, "Be kind. " * 15)] == [3]


def test_a_summary_stands_for_what_it_covers() -> None:
    messages = talk(
        ("system", "Be kind."),
        ("user", "one " * 60),
        ("assistant", "two " * 60),
        ("user", "three"),
        ("assistant", "four"),
        ("user", "five"),
    )
    summary = Summary("They counted to two.", covers_to=3)
    seen = window(messages, 140, None, summary)
    assert [m.position for m in seen] == [1, 3, 4, 5, 6]
    assert seen[1].role == "developer"
    assert seen[1].text == f"{SUMMED_UP}They counted to two."
    assert window(messages, 1000, None, summary) == messages, "what fits needs no summary"


def test_a_summary_stands_for_what_was_not_loaded() -> None:
    loaded = talk(("user", "one"), ("assistant", "two"), ("user", "three"))[2:]
    summary = Summary("They began.", covers_to=2)
    assert [m.position for m in window(loaded, 1000, None, summary)] == [2, 3]


def test_a_summary_that_does_not_fit_is_left_out() -> None:
    messages = talk(("user", "one " * 60), ("assistant", "two"), ("user", "three"))
    summary = Summary("long " * 200, covers_to=2)
    assert window(messages, 60, None, summary) == window(messages, 60)


def test_messages_that_a_summary_covers_do_not_come_back_where_there_is_room() -> None:
    messages = talk(
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three " * 40),
        ("assistant", "four " * 40),
        ("user", "five"),
    )
    seen = window(messages, 120, None, Summary("They counted.", covers_to=2))
    assert [m.position for m in seen] == [2, 5]


@given(conversations, st.integers(0, 900), st.integers(0, 30), texts)
def test_rules_of_every_window_with_a_summary(
    said: list[tuple[Role, str]], budget: int, covers_to: int, text: str
) -> None:
    messages = talk(*said)
    seen = window(messages, budget, None, Summary(text, covers_to))
    notes = [m for m in seen if m.text == SUMMED_UP + text]
    if not notes:
        assert seen == window(messages, budget)
        return
    assert len(notes) == 1
    assert sum(map(cost, messages)) > budget - 3, "there was a need for it"
    rest = [m for m in seen if m not in notes]
    question = last_question(messages)
    assert question in rest
    covered = [m for m in rest if m.position <= min(covers_to, question.position - 1)]
    assert all(m.role in ("system", "developer") for m in covered)
    assert sum(map(cost, seen)) <= budget
    spoken = [m for m in rest if m.role not in ("system", "developer")]
    if any(m.role == "user" for m in messages):
        assert spoken[0].role == "user", "what was cut begins with no answer"
