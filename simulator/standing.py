"""Standing orders: what every request for a model meets, until it is told otherwise.

A script in a model's name says how one endpoint is from the start; a standing order changes that
while others are in the middle of their answers, as an outage does. Models with an order are also
watched: when they were asked, by the clock that all processes of a machine share, so that whoever
ordered an outage sees when its victims stopped asking.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from simulator import script
from simulator.script import ScriptError

MODELS_LIMIT = 64
ASKED_LIMIT = 200_000
"""Requests of one model that are remembered, the newest."""


class Order:
    """What was ordered for one model, and when that model was asked since it is watched."""

    __slots__ = ("asked", "script", "since")

    def __init__(self) -> None:
        self.script: str | None = None
        self.since = 0.0
        self.asked: deque[float] = deque(maxlen=ASKED_LIMIT)


class Standing:
    """The orders of one process."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    def give(self, model: str, text: str | None) -> None:
        """From now on requests for `model` meet this script; None: as they were, still watched.

        Args:
            text: In the words of the `x-simulator` header; what it leaves out, the model's own
                name says.

        Raises:
            ScriptError: The script is wrong, or too many models are watched.
        """
        if text is not None:
            script.parse(text, model)
        order = self._orders.get(model)
        if order is None:
            if len(self._orders) >= MODELS_LIMIT:
                raise ScriptError(f"more than {MODELS_LIMIT} models cannot be watched")
            order = self._orders[model] = Order()
        order.script, order.since = text, time.monotonic()

    def asked(self, model: str) -> str | None:
        """A request for `model` is here: note it, and say what it is to meet, if anything."""
        order = self._orders.get(model)
        if order is None:
            return None
        order.asked.append(time.monotonic())
        return order.script

    def clear(self) -> None:
        """Take every order back and watch nobody."""
        self._orders.clear()

    def as_dict(self) -> dict[str, Any]:
        """All of it. Times are CLOCK_MONOTONIC seconds; `now` is this moment."""
        models = {
            model: {"script": order.script, "since": order.since, "asked": list(order.asked)}
            for model, order in self._orders.items()
        }
        return {"now": time.monotonic(), "models": models}
