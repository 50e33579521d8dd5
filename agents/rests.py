"""Readers who let bytes gather in the kernel, woken together.

A wake-up of the process for each of a hundred streams costs more than what is then read. So the
ends of all rests lie on one grid: those that end in the same step end at once, and what has
gathered is read in the same turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_S = 0.02


class Rests:
    """The rests of one event loop. Nothing is kept beyond the last of them."""

    __slots__ = ("_loop", "_over")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._over: dict[int, list[Callable[[], None]]] = {}

    def begin(self, rest_s: float, over: Callable[[], None]) -> None:
        """Have `over` called after `rest_s`, give or take half a step. It cannot be taken back."""
        step = round((self._loop.time() + rest_s) / STEP_S)
        waiting = self._over.get(step)
        if waiting is None:
            self._over[step] = [over]
            self._loop.call_at(step * STEP_S, self._end, step)
        else:
            waiting.append(over)

    def _end(self, step: int) -> None:
        for over in self._over.pop(step):
            over()
