"""Time in tests: an event loop's clock that is turned by hand, and none for properties."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: how long an example takes says more about the machine than about the code."""


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """What the wheel needs of an event loop."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.timers: list[Timer] = []

    def ms(self) -> int:
        """Milliseconds since the test began."""
        return round((self.seconds - 1000) * 1000)

    def turn_to_ms(self, ms: int) -> None:
        """Turn to a millisecond since the test began."""
        self.turn_to((1_000_000 + ms) / 1000)

    def time(self) -> float:
        return self.seconds

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        return self.call_at(self.seconds + delay, call)

    def living(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def turn_to(self, seconds: float) -> None:
        """Fire what is due, in order, once: a real loop would come back for the rest."""
        self.seconds = seconds
        due = sorted(
            (timer for timer in self.living() if timer.when <= seconds), key=lambda t: t.when
        )
        for timer in due:
            timer.cancelled = True
            timer.call()
