"""A request asks for no longer an answer than its turn may pay for."""

from __future__ import annotations

import pytest

from actors.charges import within
from contracts.agents import ModelRequest
from contracts.errors import OverBudget
from contracts.messages import Message
from contracts.money import Price, cost
from routing.prices import estimated_input

# 1,000 nano-dollars for a token of input, 4,000 for one of output.
PRICE = Price(1.0, 4.0)
SENT = ModelRequest("m", (Message("msg_1", 1, "user", "What is a bird?", 0.0),), "Be brief.")
INPUT = estimated_input(SENT)
MOST = INPUT * 1_000 + 200 * 4_000


def longest(asked: int | None, price: Price | None = PRICE, spent: int = 0) -> int | None:
    request = ModelRequest(SENT.model, SENT.messages, SENT.instructions, max_output_tokens=asked)
    return within(request, price, MOST, spent).max_output_tokens


def test_an_answer_is_only_as_long_as_its_turn_may_cost() -> None:
    assert INPUT > 5
    assert longest(None) == longest(8192) == 200
    assert longest(50) == 50
    assert longest(None, spent=400_000) == 100
    assert cost(PRICE, INPUT, 200) == MOST


@pytest.mark.parametrize("price", [None, Price(1.0, 0.0)])
def test_what_costs_nothing_may_be_as_long_as_it_likes(price: Price | None) -> None:
    assert longest(None, price) is None
    assert longest(8192, price) == 8192


@pytest.mark.parametrize("price", [PRICE, Price(1.0, 0.0)])
def test_what_is_sent_may_cost_too_much_by_itself(price: Price) -> None:
    with pytest.raises(OverBudget) as caught:
        longest(8192, price, spent=800_001)
    assert caught.value.details["budget"] == "turn"
    assert caught.value.details["limit_usd"] == MOST / 1e9
    assert caught.value.retry_after is None
