"""The persona: that it remembers, does little things, and never falls over what it is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import persona
from simulator.asks import Turn
from simulator.recall import LOOK_AT_CHARACTERS
from tests.simulator.clock import PATIENT


def talk(*messages: str, seed: int = 0) -> str:
    """Say these things one after the other; the last answer."""
    turns: list[Turn] = []
    answer = ""
    for message in messages:
        turns.append(Turn("user", message))
        answer = persona.reply(turns, seed)
        turns.append(Turn("assistant", answer))
    return answer


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        ("My name is Anna.", "What is my name?", "**Anna**"),
        ("my name is zoë", "do you know my name?", "**Zoë**"),
        ("Hi, I'm Bob!", "who am I?", "**Bob**"),
        ("Please call me Mary Ann.", "what's my name", "**Mary Ann**"),
        ("I\u2019m called Ute and I like figs", "What\u2019s my name?", "**Ute**"),
        ("I like sailing.", "What do I like?", "**sailing**"),
        ("I really love long walks, but I hate rain", "what do I hate?", "**rain**"),
        ("I don't like onions", "What do I dislike?", "**onions**"),
        ("My favourite colour is blue.", "what is my favorite color?", "**blue**"),
        ("my dog's name is Rex", "What's my dog's name?", "**Rex**"),
        ("I live in Porto.", "Where do I live?", "**Porto**"),
        ("I'm from Ghana", "where am I from?", "**Ghana**"),
        ("I am 34 years old.", "How old am I?", "**34**"),
        ("Remember that the code is 4711.", "What did I ask you to remember?", "the code is 4711"),
        ("Remember: buy milk", "What do you know about me?", "buy milk"),
        ("The sky is green.", "What did I say first?", "The sky is green."),
        ("The sky is green.", "what was the first thing I said?", "The sky is green."),
        ("The sky is green.", "Summarize our conversation so far", "1. The sky is green."),
    ],
)
def test_it_remembers(said: str, asked: str, expected: str) -> None:
    assert expected in talk(said, asked)
    assert expected in talk(said, "Tell me a joke", "And a haiku about moss", asked)


def test_it_knows_what_came_just_before() -> None:
    assert "The sky is green." in talk("The sky is green.", "What did I just say?")
    assert "pumpernickel" in talk("Say pumpernickel", "What did you just say?")
    assert "**3**" in talk("Hello", "Hello", "How many messages have I sent?")


@pytest.mark.parametrize(
    "asked",
    [
        "What is my name?", "What do I like?", "Where do I live?", "What did you say?",
        "What is my favourite colour?", "What did I say first?", "What did I say before?",
        "What do you know about me?", "What did I ask you to remember?", "recap our chat",
    ],
)  # fmt: skip
def test_it_does_not_pretend_to_remember(asked: str) -> None:
    answer = talk(asked)
    assert re.search(r"haven't|nothing|first|only just met|Nothing", answer), answer


def test_a_question_states_nothing() -> None:
    assert "haven't told me" in talk("Do I like jazz?", "What do I like?")
    assert "haven't told me" in talk("Who says my age is 9?", "How old am I?")


def test_a_new_name_replaces_the_old_one() -> None:
    assert "no longer Anna" in talk("My name is Anna", "call me Bea")
    assert "**Bea**" in talk("My name is Anna", "call me Bea", "what is my name?")


def test_it_greets_by_name_and_notes_what_is_new() -> None:
    assert "Nice to meet you, **Anna**" in talk("My name is Anna")
    assert "**jazz**" in talk("I like jazz")


def test_it_weaves_in_what_one_likes() -> None:
    said = ("I like sailing", "Why is the moon grey?")
    assert any("**sailing**" in talk(*said, seed=seed) for seed in range(20))


def test_it_comes_back_to_what_was_said() -> None:
    assert "\u201cTell me about lighthouses\u201d" in talk(
        "Tell me about lighthouses", "Why are lighthouses striped?"
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("Count to 5", "1, 2, 3, 4, 5."),
        ("count from 3 to 6 please", "3, 4, 5, 6."),
        ("Count backwards from 4 to 1", "4, 3, 2, 1."),
        ("count to 100000", "200 … and so on to 100000"),
        ("What is 12 * 7?", "**84**"),
        ("17 plus 5", "**22**"),
        ("what's (2 + 3) \u00d7 4 - 0.5", "**19.5**"),
        ("7/0", "zero"),
        ("1000000 * 1000000", "**1,000,000,000,000**"),
        ("-5 + 3", "**-2**"),
        ("list 3 animals", "3. "),
        ("list 15 animals", "That is all"),
        ("give me some ideas for a party", "5. "),
        ("show me a table", "| Planet |"),
        ("name five colors", "5. "),
        ("Write a Python function for fibonacci", "```python\ndef fibonacci"),
        ("Show me some rust code", "```rust\nfn"),
        ("write me a SQL query", "```sql\nSELECT"),
        ("Write a poem about rain", "rain"),
        ("a haiku about moss", "moss"),
        ("Tell me a story about a fox", "fox"),
        ("a multiplication table, please", "| **5** | 5 | 10 | 15 | 20 | 25 |"),
        ("say hello world", "hello world"),
        ("Who are you?", "simulated assistant"),
        ("help", "Try me"),
        ("Thank you!", "!"),
        ("Good night", "!"),
    ],
)
def test_it_can_do_little_things(asked: str, expected: str) -> None:
    assert expected in talk(asked)


@pytest.mark.parametrize(
    "asked",
    ["9" * 60 + "*9", "((((((((1+1", "1+*2", "2**9", "10**15*99", "2024-01-02 was a day", "*" * 60],
)
def test_arithmetic_leaves_alone_what_is_none(asked: str) -> None:
    assert "=" not in talk(asked)


def test_a_wish_to_remember_code_is_no_wish_for_code() -> None:
    assert "```" not in talk("Remember that the code is 4711")


def test_a_long_story_is_long() -> None:
    assert len(persona.pieces(talk("Tell me a long story"))) > 150


def test_it_tells_its_instructions() -> None:
    turns = [Turn("system", "Speak like a heron."), Turn("user", "What are your instructions?")]
    assert "Speak like a heron." in persona.reply(turns, 0)
    assert "Nobody" in persona.reply(turns[1:], 0)


def test_the_seed_decides_and_the_words_vary() -> None:
    conversation = ("Why is the sea salty?",)
    assert talk(*conversation, seed=5) == talk(*conversation, seed=5)
    assert len({talk(*conversation, seed=seed) for seed in range(20)}) > 5
    asked_again = [talk(*["Why is the sea salty?"] * n) for n in range(1, 8)]
    assert len(set(asked_again)) > 3


def test_nothing_said_is_answered_too() -> None:
    assert persona.reply([], 0)
    assert persona.reply([Turn("system", "x")], 0)
    assert talk("   \n")


roles = st.sampled_from(["user", "assistant", "system"])
VOCABULARY = """
    my name is Anna I like what do remember that count to 9 list three ideas about { } {hero} ? . !
    , 5 * ( story code python where first say and you it's my dog's don't hate live in summarize
"""
words = st.sampled_from([*VOCABULARY.split(), "\n"])
texts = st.one_of(st.text(max_size=80), st.lists(words, max_size=14).map(" ".join))


@PATIENT
@given(st.lists(st.builds(Turn, roles, texts), max_size=8), st.integers(0, 9))
def test_it_always_has_an_answer_and_its_pieces_are_the_answer(
    turns: list[Turn], seed: int
) -> None:
    answer = persona.reply(turns, seed)
    assert answer.strip()
    assert "".join(persona.pieces(answer)) == answer


@PATIENT
@given(st.text())
def test_any_text_is_cut_without_loss(text: str) -> None:
    assert "".join(persona.pieces(text)) == text


def test_it_listens_to_the_beginning_of_a_message_only() -> None:
    heard = talk("I like figs. " + "x " * LOOK_AT_CHARACTERS + "My name is Anna", "who am I?")
    assert "haven't told me" in heard
