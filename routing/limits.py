"""An endpoint's limits: what was used of them in the last minute, and what the provider says."""

from __future__ import annotations

import math

A_WHILE_S = 1.0
"""Until something may have changed that nobody here can foresee."""
_SPAN_S = 60
_SLOTS = _SPAN_S + 1
"""One more than the minute, since the oldest and the newest are never whole."""


class Window:
    """What was used in the last minute, by the second: no minute ever holds more than its sum."""

    __slots__ = ("_at", "_slots", "_sum")

    def __init__(self) -> None:
        self._slots = [0] * _SLOTS
        self._at = -_SLOTS
        self._sum = 0

    def used(self, now: float) -> int:
        """Within the minute before `now`, and at most a second longer."""
        second = math.floor(now)
        passed = second - self._at
        if passed > 0:
            if passed >= _SLOTS:
                self._slots = [0] * _SLOTS
                self._sum = 0
            else:
                slots = self._slots
                for passing in range(self._at + 1, second + 1):
                    self._sum -= slots[passing % _SLOTS]
                    slots[passing % _SLOTS] = 0
            self._at = second
        return self._sum

    def add(self, now: float, amount: int) -> None:
        self.used(now)
        self._slots[self._at % _SLOTS] += amount
        self._sum += amount

    def correct(self, then: float, now: float, amount: int) -> None:
        """What was added `then` turned out to be so much more, or less."""
        self.used(now)
        second = min(math.floor(then), self._at)
        if self._at - second < _SLOTS:
            self._slots[second % _SLOTS] += amount
            self._sum += amount

    def wait_s(self, now: float, limit: int, amount: int, elsewhere: int = 0) -> float:
        """Seconds until no more than `limit` is used, here and `elsewhere`, with `amount` on top.

        An amount larger than the limit goes when nothing else is there.
        """
        used = self.used(now)
        over = used + elsewhere + min(amount, limit) - limit
        if over <= 0:
            return 0.0
        if over > used:
            return A_WHILE_S  # what is used here is not what stands in the way
        for second in range(self._at - _SLOTS + 1, self._at + 1):
            over -= self._slots[second % _SLOTS]
            if over <= 0:
                return second + _SLOTS - now
        return float(_SPAN_S)


class Told:
    """What a provider says is left, counted down with what it was sent since.

    It fills again evenly until `reset_s` have passed, after which its word is spent.
    """

    __slots__ = ("_at", "_left", "_per_s", "_until")

    def __init__(self) -> None:
        self._left = 0.0
        self._per_s = 0.0
        self._at = 0.0
        self._until = 0.0

    def hear(self, now: float, left: int, limit: int | None, reset_s: float) -> None:
        self._left, self._at, self._until = float(left), now, now + reset_s
        self._per_s = max(0, limit - left) / reset_s if limit is not None and reset_s > 0 else 0.0

    def take(self, amount: int) -> None:
        self._left -= amount

    def give_back(self, then: float, amount: int) -> None:
        """What was taken `then` was not sent; a word that was heard since does not count it."""
        if then >= self._at:
            self._left += amount

    def wait_s(self, now: float, amount: int) -> float:
        """Seconds until there is room for so much."""
        if now >= self._until:
            return 0.0
        missing = amount - self._left - (now - self._at) * self._per_s
        if missing <= 0:
            return 0.0
        rest = self._until - now
        return min(rest, missing / self._per_s) if self._per_s else rest
