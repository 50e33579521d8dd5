"""Timers for thousands of streams at the price of one.

Streams come due by the millisecond, many in the same one. All that are due in one millisecond
share a bucket, and only the earliest bucket owns a timer of the event loop. A call of `at`
cannot be cancelled: its owner ignores it when it no longer matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil

NEVER = 1 << 62


class Wheel:
    """Calls things at absolute times, in milliseconds of the loop's clock."""

    __slots__ = ("_armed", "_buckets", "_heap", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Callable[[], None]]] = {}
        self._heap: list[int] = []
        self._armed = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Milliseconds on the loop's clock."""
        return self._loop.time() * 1000

    def at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Call in the first millisecond that is not before `when_ms`."""
        key = ceil(when_ms)
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.append(call)
            return
        self._buckets[key] = [call]
        heappush(self._heap, key)
        if key < self._armed:
            self._arm(key)

    def later(self, ms: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call in `ms`, unless cancelled: for long waits that mostly end before their time."""
        return self._loop.call_later(ms / 1000, call)

    def _arm(self, key: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = key
        self._timer = self._loop.call_at(key / 1000, self._turn)

    def _turn(self) -> None:
        heap = self._heap
        due: list[Callable[[], None]] = []
        now = self._loop.time() * 1000 + 0.5
        while heap and heap[0] <= now:
            due += self._buckets.pop(heappop(heap))
        # Armed before the calls run: one of them may raise, and none may keep the loop from its
        # sockets by asking again and again for a moment that has passed.
        self._timer = None
        self._armed = NEVER
        if heap:
            self._arm(heap[0])
        for call in due:
            call()
