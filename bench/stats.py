"""The arithmetic of the benchmark: percentiles, tokens lost or doubled, figures of a window."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class TokenCheck(NamedTuple):
    """How a text differs from the numbered tokens that the provider sent."""

    lost: int
    doubled: int
    disordered: bool

    @property
    def exact(self) -> bool:
        """Every token once and in its place."""
        return self == (0, 0, False)


EXACT = TokenCheck(0, 0, False)


def numbered(tokens: int) -> str:
    """What a provider scripted for `tokens` numbered tokens says."""
    return "".join(f"t{k} " for k in range(tokens))


def check_tokens(text: str, tokens: int) -> TokenCheck:
    """Compare a text with `numbered(tokens)`.

    Tokens that came more often than once, or that nobody sent, count as doubled.
    """
    if text == numbered(tokens):
        return EXACT
    came = text.split()
    sent = [f"t{k}" for k in range(tokens)]
    lost = Counter(sent) - Counter(came)
    extra = Counter(came) - Counter(sent)
    order = [token for token in dict.fromkeys(came) if token in set(sent)]
    return TokenCheck(
        lost=lost.total(),
        doubled=extra.total(),
        disordered=order != [token for token in sent if token in set(came)],
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below or at which `percent` of the values lie (nearest rank); nan if none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return ordered[rank - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """The percentiles that are reported, and how many values they rest on."""
    ordered = sorted(values)
    figures = {f"p{percent}": round(percentile(ordered, percent), 3) for percent in (50, 95, 99)}
    figures["max"] = round(ordered[-1], 3) if ordered else math.nan
    figures["count"] = len(ordered)
    return figures


def per_turn_ms(cpu_s: float, turns: int) -> float:
    """CPU-ms for each turn; nan if there was none."""
    return cpu_s * 1000 / turns if turns else math.nan


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each kind grew by between two looks; a kind that shrank counts as negative."""
    kinds = sorted({*before, *after})
    return {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in kinds}
