"""What turns cost: prices, charges, budgets. Sums are whole nano-dollars, so that they add up.

A token of a small model costs some 75 of them; 64 bits hold nine billion dollars.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

NANO = 1_000_000_000
_DAY_S = 86_400


class Price(NamedTuple):
    """US dollars for a million tokens. `cached`: of input that the provider had cached."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None


class Charge(NamedTuple):
    """What one request to a provider cost. A turn that went on elsewhere has several.

    `estimated`: the provider did not say how many tokens it were, since its stream was left or
    broke; they were counted here. `nano` None: the model has no price.
    """

    agent: str
    endpoint: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    nano: int | None
    estimated: bool = False


def charged(
    agent: str,
    endpoint: str,
    model: str,
    price: Price | None,
    input_tokens: int,
    output_tokens: int = 0,
    cached_tokens: int = 0,
    *,
    estimated: bool = False,
) -> Charge:
    """The charge of a request that took so many tokens."""
    tokens = input_tokens, output_tokens, cached_tokens
    return Charge(
        agent, endpoint, model, *tokens, None if price is None else cost(price, *tokens), estimated
    )


def cost(price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
    """Nano-dollars, rounded up. `cached_tokens` are among `input_tokens`."""
    cached = price.input_usd if price.cached_usd is None else price.cached_usd
    fresh = max(0, input_tokens - cached_tokens)
    millionths = fresh * price.input_usd + cached_tokens * cached + output_tokens * price.output_usd
    return math.ceil(round(millionths * 1000, 3))


def answer_tokens(price: Price, input_tokens: int, nano: int) -> int | None:
    """Tokens that an answer may have for the whole to cost at most `nano`; None: as many as it
    likes. Below 1: the input alone costs too much.
    """
    left = nano - cost(price, input_tokens, 0)
    if price.output_usd == 0:
        return None if left >= 0 else 0
    return math.floor(round(left / (price.output_usd * 1000), 6))


def nano(usd: float) -> int:
    """Dollars as nano-dollars."""
    return round(usd * NANO)


def usd(sum_nano: int) -> float:
    """Nano-dollars as dollars."""
    return sum_nano / NANO


def day_of(at: float) -> date:
    """The day of UTC's calendar at this Unix time: spending is summed up by it."""
    return datetime.fromtimestamp(at, UTC).date()


def until_tomorrow(at: float) -> float:
    """Seconds until UTC's next day."""
    return _DAY_S - at % _DAY_S


def until_next_month(at: float) -> float:
    """Seconds until UTC's next month."""
    first = (day_of(at).replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime(first.year, first.month, 1, tzinfo=UTC).timestamp() - at


class Limit(NamedTuple):
    """Nano-dollars. Beyond `soft` turns go on and say so; at `hard` they are refused."""

    soft: int | None = None
    hard: int | None = None


NO_LIMIT = Limit()


class Budgets(NamedTuple):
    """What may be spent; days and months are of UTC's calendar."""

    turn: Limit = NO_LIMIT
    session: Limit = NO_LIMIT
    user_day: Limit = NO_LIMIT
    user_month: Limit = NO_LIMIT
    org_day: Limit = NO_LIMIT
    org_month: Limit = NO_LIMIT

    @property
    def asks_store(self) -> bool:
        """Whether spending beyond one session counts."""
        shared = (self.user_day, self.user_month, self.org_day, self.org_month)
        return any(limit != NO_LIMIT for limit in shared)


NO_BUDGETS = Budgets()


class DaySpent(NamedTuple):
    """One day's sum. `turns`: those among it that cost something."""

    day: date
    nano: int
    turns: int


class UserSpent(NamedTuple):
    """Nano-dollars that one user has spent, today and this month."""

    user: str
    day: int
    month: int


class Spent(NamedTuple):
    """Nano-dollars spent by a user and an organization, today and this month, in UTC."""

    user_day: int = 0
    user_month: int = 0
    org_day: int = 0
    org_month: int = 0
