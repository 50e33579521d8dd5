"""Which entry of the table of prices counts."""

from __future__ import annotations

import pytest

from contracts.money import Price
from routing.prices import price_of

TABLE = {
    "*": Price(1, 1),
    "gpt-*": Price(2, 2),
    "gpt-5.4-*": Price(3, 3),
    "azure/gpt-5.4-*": Price(4, 4),
    "gpt-5.4-mini": Price(5, 5),
    "azure/gpt-5.4-mini": Price(6, 6),
    "vllm/*": Price(7, 7),
    "meta/llama-?b": Price(8, 8),
}


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("openai", "gpt-5.4-mini", 5),
        ("azure", "gpt-5.4-mini", 6),
        ("azure", "gpt-5.4-large", 4),
        ("openai", "gpt-5.4-large", 3),
        ("openai", "gpt-4", 2),
        ("openai", "o9", 1),
        ("vllm", "o9", 7),
        ("vllm", "meta/llama-8b", 8),
        ("vllm", "meta/llama-70b", 7),
    ],
)
def test_the_entry_that_says_most_counts(provider: str, model: str, found: int) -> None:
    assert price_of(TABLE, provider, model) == Price(found, found)


def test_what_no_entry_fits_has_no_price() -> None:
    assert price_of({"gpt-*": Price(1, 1), "azure/*": Price(1, 1)}, "openai", "o9") is None
    assert price_of({}, "openai", "o9") is None
