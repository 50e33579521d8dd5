"""What a model costs, by the table of prices, and what a request to it cost.

A stream that was left or broke never says how many tokens it were; they are estimated then, rather
too many than too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Protocol

from context.history import cost as message_cost
from context.tokens import estimate
from contracts.agents import ModelRequest
from contracts.errors import (
    Busy,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from contracts.messages import Usage
from contracts.money import Charge, Price, charged

_REFUSALS = (
    Busy,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    ProviderUnavailable,
)


class Priced(Protocol):
    """An agent's endpoint, as far as a bill names it."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def price(self) -> Price | None: ...


def price_of(prices: Mapping[str, Price], provider: str, model: str) -> Price | None:
    """The price of a provider's model, by the entry that says most about it; None: not known.

    An entry is named by the model or by `provider/model`, in which `*` and `?` stand for any text
    or character. A name that has none of these comes first, then the one with more that is
    literal; where two say as much, the one that names the provider, then the first of the table.
    """
    full = f"{provider}/{model}"
    if full in prices:
        return prices[full]
    if model in prices:
        return prices[model]
    best: tuple[int, bool] = (-1, False)
    found: Price | None = None
    for pattern, price in prices.items():
        with_provider = fnmatchcase(full, pattern) and pattern.startswith(f"{provider}/")
        if with_provider or fnmatchcase(model, pattern):
            literal = pattern.removeprefix(f"{provider}/") if with_provider else pattern
            rank = sum(char not in "*?" for char in literal), with_provider
            if rank > best:
                best, found = rank, price
    return found


def estimated_input(request: ModelRequest) -> int:
    """Tokens of what a model is given to read."""
    tokens = sum(map(message_cost, request.messages))
    return tokens + estimate(request.instructions or "") + estimate(request.said or "")


def charge_for(
    agent: str, place: Priced, usage: Usage | None, request: ModelRequest, said: str
) -> Charge:
    """The charge of one request; `said` counts only where the provider gave no `usage`."""
    estimated = usage is None
    if usage is None:
        usage = Usage(estimated_input(request), estimate(said) if said else 0)
    return charged(agent, place.name, place.model, place.price, *usage, estimated=estimated)


def may_have_cost(error: Exception, *, heard: bool = False) -> bool:
    """Whether a request that was sent and came to this is paid for. What was refused is not."""
    return heard or not isinstance(error, _REFUSALS)
