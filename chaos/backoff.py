"""How long a client waits before it tries again: longer each time, and never all at once."""

from __future__ import annotations

from random import Random

FIRST_S = 0.1
LONGEST_S = 2.0


class Backoff:
    """Full jitter: anything from nothing to a limit that doubles.

    Args:
        random: Draws the pauses.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._limit_s = FIRST_S

    def next_s(self) -> float:
        """How long to wait now."""
        limit_s, self._limit_s = self._limit_s, min(self._limit_s * 2, LONGEST_S)
        return self._random.uniform(0, limit_s)

    def reset(self) -> None:
        """It went well."""
        self._limit_s = FIRST_S
