"""How long an answer that was running when a fault struck stayed silent. Pure.

Tokens that were on their way when it struck still come, so "the next token" says little. What a
person notices is the longest silence that begins before the next fault: from the strike, or the
last token before the silence, to the token after it, or to the answer's end.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from chaos.record import Answer


class Strike(NamedTuple):
    """One fault as it happened. Times are CLOCK_MONOTONIC seconds.

    `until`: when the next one struck, or the run was over.
    `back_s`: after how long all was well again; None: it did not become so within the limit.
    """

    fault: str
    detail: str
    at: float
    until: float
    back_s: float | None


def silence_s(answer: Answer, strike: Strike) -> float | None:
    """The longest silence of one answer; None if it was not running when it struck.

    An answer that never spoke again has been silent until the next strike at least.
    """
    if not answer.times or answer.times[0] > strike.at:
        return None
    if answer.ended and answer.ended <= strike.at:
        return None
    end = answer.ended or max(strike.until, answer.times[-1])
    longest = 0.0
    for before, after in pairwise([*answer.times, end]):
        if after > strike.at and before < strike.until:
            longest = max(longest, after - max(before, strike.at))
    return longest


def silences(answers: Iterable[Answer], strikes: Iterable[Strike]) -> dict[str, list[float]]:
    """The silences of all answers, in seconds, by fault."""
    everything = list(answers)
    found: dict[str, list[float]] = {}
    for strike in strikes:
        times = (silence_s(answer, strike) for answer in everything)
        found.setdefault(strike.fault, []).extend(t for t in times if t is not None)
    return found
