"""What a model costs, by the table of prices."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from contracts.money import Price


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
