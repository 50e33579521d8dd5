"""The persona that chooses one of a closed set of answers."""

from __future__ import annotations

import pytest

from simulator import persona
from simulator.asks import Turn
from simulator.sorter import choice

ORDER = Turn(
    "system",
    "Answer with exactly one of these labels.\n\n"
    "- billing: invoices and payments\n- code: programs and errors\n- chat: small talk",
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I paid an invoice with a wrong payment", "billing"),
        ("My program has an error.", "code"),
        ("An invoice with an error", "billing"),
        ("Some code, please", "code"),
        ("What a lovely day", "none"),
        ("", "none"),
    ],
)
def test_the_answer_that_shares_most_words_is_chosen(text: str, label: str) -> None:
    turns = [ORDER, Turn("user", text)]
    assert choice(turns) == label
    assert persona.reply(turns, 1) == label


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [ORDER],
        [Turn("user", "My program has an error.")],
        [Turn("system", "Be brief.\n- code: programs"), Turn("user", "A program")],
        [Turn("user", ORDER.text), Turn("user", "A program")],
        [ORDER, Turn("user", "A program"), Turn("assistant", "code")],
    ],
)
def test_nothing_is_chosen_where_no_choice_is_asked_for(turns: list[Turn]) -> None:
    assert choice(turns) is None
