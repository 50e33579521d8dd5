"""Which fault strikes when: each in turn, then at random until the time is up. Pure but for a seed.

What is drawn depends on the seed and on nothing that happens in the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from chaos.plan import Plan


class Due(NamedTuple):
    """One fault to come.

    `after_s`: how long after the one before; None: once all is well again and has been for a
    while.
    """

    fault: str
    after_s: float | None


def schedule(plan: Plan) -> Iterator[Due]:
    """All faults in order; it does not end by itself."""
    random = Random(f"{plan.seed}/schedule")
    for fault in plan.faults:
        yield Due(fault, None)
    # The first of these waits until all is well, so that it begins where the turns ended.
    yield Due(random.choice(plan.faults), None)
    while True:
        yield Due(random.choice(plan.faults), random.uniform(plan.gap_s, 2 * plan.gap_s))
