"""What is counted while the load runs, and what became of the turns that count."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from bench import stats
from bench.client import OK, Turn


class Window:
    """What is counted while the window is open, and what became of the turns sent in it."""

    def __init__(self, opens: float, closes: float, tokens: int) -> None:
        self.opens = opens
        self.closes = closes
        self.settled = asyncio.Event()
        self._running = 0
        self._is_closed = False
        self._tokens = tokens
        self._expected = stats.numbered(tokens)
        self._done_inside = 0
        self._outcomes: Counter[str] = Counter()
        self._accepted_ms: list[float] = []
        self._first_ms: list[float] = []
        self._turn_ms: list[float] = []
        self._went_on: Counter[str] = Counter()
        self._lost = self._doubled = self._disordered = self._final_differs = 0

    def counts(self, turn: Turn) -> bool:
        """Whether the turn was sent while the window was open."""
        return self.opens <= turn.sent < self.closes

    def begun(self) -> None:
        """A turn that counts has been sent."""
        self._running += 1

    def closed(self) -> None:
        """No further turn will count; `settled` is set once all that do are over."""
        self._is_closed = True
        if self._running == 0:
            self.settled.set()

    def add(self, turn: Turn) -> None:
        """Take a turn that is over."""
        if turn.outcome == OK and self.opens <= turn.done < self.closes:
            self._done_inside += 1
        if not self.counts(turn):
            return
        self._running -= 1
        if self._is_closed and self._running == 0:
            self.settled.set()
        self._outcomes[turn.outcome] += 1
        self._went_on.update(turn.legs)
        if turn.accepted:
            self._accepted_ms.append((turn.accepted - turn.sent) * 1000)
        if turn.first:
            self._first_ms.append((turn.first - turn.sent) * 1000)
        if turn.outcome != OK:
            return
        self._turn_ms.append((turn.done - turn.sent) * 1000)
        text = "".join(turn.deltas)
        if text != self._expected:
            check = stats.check_tokens(text, self._tokens)
            self._lost += check.lost
            self._doubled += check.doubled
            self._disordered += check.disordered
        if turn.final is not None and turn.final != text:
            self._final_differs += 1

    def figures(self) -> dict[str, Any]:
        """All of it, for the conductor."""
        return {
            "done_inside": self._done_inside,
            "outcomes": dict(self._outcomes),
            "went_on": dict(self._went_on),
            "accepted_ms": self._accepted_ms,
            "first_ms": self._first_ms,
            "turn_ms": self._turn_ms,
            "lost": self._lost,
            "doubled": self._doubled,
            "disordered": self._disordered,
            "final_differs": self._final_differs,
        }
