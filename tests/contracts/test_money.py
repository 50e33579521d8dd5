"""Money adds up: costs are whole, never too low, and no answer costs more than it may."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.money import (
    NO_BUDGETS,
    Budgets,
    Limit,
    Price,
    answer_tokens,
    cost,
    day_of,
    nano,
    until_next_month,
    until_tomorrow,
    usd,
)

DOLLARS = st.integers(0, 200_000).map(lambda thousandths: thousandths / 1000)
PRICES = st.builds(Price, DOLLARS, DOLLARS, st.none() | DOLLARS)


@pytest.mark.parametrize(
    ("price", "tokens", "found"),
    [
        (Price(0.75, 4.5, 0.075), (1_000_000, 0, 0), 750_000_000),
        (Price(0.75, 4.5, 0.075), (1_000_000, 1_000_000, 1_000_000), 4_575_000_000),
        (Price(0.75, 4.5), (100, 0, 40), 75_000),
        (Price(0.1, 0.1), (1, 0, 0), 100),
        (Price(0.00015, 0.1), (1, 0, 0), 1),
        (Price(0, 0), (10**9, 10**9, 0), 0),
        # A provider that says more was cached than was sent.
        (Price(1, 1, 0.5), (10, 0, 20), 10_000),
    ],
)
def test_what_tokens_cost(price: Price, tokens: tuple[int, int, int], found: int) -> None:
    assert cost(price, *tokens) == found


@given(PRICES, st.integers(0, 10**6), st.integers(0, 10**9))
def test_an_answer_is_as_long_as_it_may_be_and_no_longer(
    price: Price, sent: int, most: int
) -> None:
    tokens = answer_tokens(price, sent, most)
    if tokens is None:
        assert price.output_usd == 0
        assert cost(price, sent, 10**9) <= most
    elif tokens < 1:
        assert cost(price, sent, 1) > most
    else:
        assert cost(price, sent, tokens) <= most
        assert cost(price, sent, tokens + 1) > most


@given(st.integers(0, 10**15))
def test_dollars_come_back_as_they_were(amount: int) -> None:
    assert nano(usd(amount)) == amount


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type]


def test_days_are_utcs() -> None:
    assert day_of(at(2026, 12, 31, 23, 59, 59)) == date(2026, 12, 31)
    assert day_of(at(2027, 1, 1)) == date(2027, 1, 1)
    assert until_tomorrow(at(2026, 12, 31, 23, 59, 59)) == 1
    assert until_tomorrow(at(2027, 1, 1)) == 86_400


@pytest.mark.parametrize(
    ("now", "next_month"),
    [
        (at(2026, 12, 31, 23, 59, 59), at(2027, 1, 1)),
        (at(2027, 1, 1), at(2027, 2, 1)),
        (at(2027, 1, 31, 12), at(2027, 2, 1)),
        (at(2028, 2, 29), at(2028, 3, 1)),
    ],
)
def test_a_month_ends_when_the_next_begins(now: float, next_month: float) -> None:
    assert now + until_next_month(now) == next_month


def test_only_what_is_shared_is_asked_of_the_store() -> None:
    assert not NO_BUDGETS.asks_store
    assert not Budgets(turn=Limit(1, 2), session=Limit(1, 2)).asks_store
    for name in ("user_day", "user_month", "org_day", "org_month"):
        assert Budgets(**{name: Limit(hard=0)}).asks_store
        assert Budgets(**{name: Limit(soft=0)}).asks_store
