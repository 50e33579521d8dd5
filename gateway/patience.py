"""How long something may take that is waited for again and again: a client's taking, a host's word.

A timer for each wait is what every token would pay; here is one for as long as somebody waits.
"""

from __future__ import annotations

import asyncio
import math


class Patience:
    """Cancels the current task when one of its waits takes `limit_s`. For one task, in a block.

    Around each wait: `begin`, then `end`, or the next `begin`. A cancellation that came from here
    leaves the block as `TimeoutError`.
    """

    __slots__ = ("_began", "_expired", "_limit_s", "_loop", "_task", "_timer")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._began = math.inf
        self._expired = False

    def __enter__(self) -> Patience:
        task = asyncio.current_task()
        assert task is not None, "outside of a task"
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError and not self._task.uncancel():
            raise TimeoutError

    def begin(self) -> None:
        """A wait begins."""
        self._began = self._loop.time()

    def end(self) -> None:
        """It is over."""
        self._began = math.inf

    def _look(self) -> None:
        taken_s = self._loop.time() - self._began
        if taken_s >= self._limit_s:
            self._expired = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(self._limit_s - max(taken_s, 0.0), self._look)
