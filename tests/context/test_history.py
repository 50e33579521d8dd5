"""The window that a model is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from context.history import cost, window
from context.tokens import estimate
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
