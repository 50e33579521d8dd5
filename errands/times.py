"""Times of cron expressions, in a zone with its days of 23 and 25 hours.

An expression has cron's five fields. As Debian's cron does it, a time that the clocks skip in
spring comes at the first minute that there is, and one that they repeat in autumn comes once.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from contracts.errors import InvalidRequest

FIELDS = 5
CHECKED_GAPS = 60
COUNTED = 1000
_CHANGE_S = 7200
"""More than clocks are ever changed by."""


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The zone of that name. Raises `InvalidRequest`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidRequest(
            "There is no time zone of that name; one is called, say, `Europe/Berlin`.",
            param="timezone",
            code="invalid_value",
        ) from error


class Cron:
    """One expression in one zone. Raises `InvalidRequest` where there is no such thing."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = expression
        self._zone = zone_of(timezone)
        if len(expression.split()) != FIELDS:
            raise _no_cron(f"It has {FIELDS} fields: minute, hour, day, month and weekday.")
        try:
            if self.after(0.0) is None:
                raise _no_cron("It names a day that never comes.")
        except (CronSimError, AssertionError, ValueError) as error:
            raise _no_cron(f"{str(error) or 'It cannot be read'}.") from error

    def after(self, time: float) -> float | None:
        """The first due time after this one; None where none will come."""
        return self._next(self._walk(time), time)

    def latest(self, first: float, until: float) -> float:
        """The last due time up to `until`, where `first` is one."""
        following = self.after(first)
        if following is None or following > until:
            return first
        guess = next(self._walk(int(until) + 1, reverse=True), None)
        best = first
        # Going backwards, a day on which clocks change may be taken an hour too far or short.
        at = following - 1 if guess is None else max(first, guess.timestamp() - _CHANGE_S)
        walk = self._walk(at)
        while (found := self._next(walk, at)) is not None and found <= until:
            best = at = found
        return best

    def count(self, first: float, before: float) -> int:
        """How many due times lie from `first` on and before the other, up to a bound."""
        counted, at, walk = 0, first, self._walk(first)
        while at < before and counted < COUNTED:
            counted += 1
            found = self._next(walk, at)
            if found is None:
                break
            at = found
        return counted

    def shortest_gap(self, now: float) -> float | None:
        """Seconds between the closest of its next times; None where it has fewer than two."""
        walk, gaps = self._walk(now), list[float]()
        at = self._next(walk, now)
        while at is not None and len(gaps) < CHECKED_GAPS:
            found = self._next(walk, at)
            if found is None:
                break
            gaps.append(found - at)
            at = found
        return min(gaps, default=None)

    def _walk(self, time: float, *, reverse: bool = False) -> CronSim:
        return CronSim(self._expression, datetime.fromtimestamp(time, self._zone), reverse=reverse)

    @staticmethod
    def _next(walk: CronSim, after: float) -> float | None:
        # Where an hour comes twice, the walk may give a time anew, or one that is over.
        for found in walk:
            if found.timestamp() > after:
                return found.timestamp()
        return None


def _no_cron(why: str) -> InvalidRequest:
    return InvalidRequest(f"This is no cron expression. {why}", param="cron", code="invalid_value")
