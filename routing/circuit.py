"""A circuit: whether an endpoint may be asked, by what became of the requests before.

Closed, everything may pass. It opens after failures and stays open for a moment, the next time
for twice as long, up to a limit. After that it probes: one request goes through, and what becomes
of it closes the circuit or opens it anew.

Failures come in two kinds. An endpoint that refuses is known to be well when it speaks; one that
falls silent in the middle of its answers speaks all the same, so only an end will do.

Requests that were under way when it opened say nothing more: they failed with the others.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

SPREAD = 0.2
"""Of the time it stays open, so that hosts do not all probe at once."""


class Tolerance(NamedTuple):
    """How much an endpoint may fail, and how long it is left alone then.

    Args:
        streak: Failures in a row that open its circuit.
        outcomes: Newest outcomes that are looked at.
        enough: Of them there must be so many before their share counts.
        share: Of them, how many failed to open it.
        first_s: Seconds that it stays open the first time.
        longest_s: Seconds that it stays open at most for failures.
        limit_s: Likewise for a rate limit, whatever the provider asks for.
        key_s: Seconds for a key that is refused: nothing but a person will mend it.
        probe_s: Seconds after which a probe under way makes room for a further one.
    """

    streak: int
    outcomes: int
    enough: int
    share: float
    first_s: float
    longest_s: float
    limit_s: float
    key_s: float
    probe_s: float


class Circuit:
    """One endpoint's. Every time is given by the caller, in seconds."""

    __slots__ = (
        "_count",
        "_early",
        "_late",
        "_mask",
        "_outcomes",
        "_probe_at",
        "_random",
        "_soon",
        "_tolerance",
        "_trips",
        "closed",
        "closed_at",
        "generation",
        "limited",
        "needs_end",
        "opened_at",
        "plain",
        "until",
    )

    def __init__(self, tolerance: Tolerance, random: Random) -> None:
        self._tolerance = tolerance
        self._random = random
        self._mask = (1 << tolerance.outcomes) - 1
        self._early = self._late = 0
        self._outcomes = self._count = 0
        self._trips = 0
        self._soon = 0.0
        self._probe_at: float | None = None
        self.closed = True
        self.closed_at = 0.0
        self.opened_at = 0.0
        self.until = 0.0
        self.generation = 0
        """How often it has opened."""
        self.limited = False
        """It is open because of a rate limit."""
        self.plain = False
        """It is open because requests failed, and they may not fail again."""
        self.needs_end = False
        """A first token does not close it."""

    def state(self, now: float, *, urgent: bool = False) -> str:
        """`closed`, `open` or `probing`; `urgent`: to whom has nobody else to ask."""
        if self.closed:
            return "closed"
        return "open" if now < self._open_until(urgent) else "probing"

    def wait_s(self, now: float, *, urgent: bool = False) -> float:
        """Seconds until it lets a request pass; 0: now.

        One that is `urgent` does not wait longer for each failure: only as the first time.
        """
        if self.closed:
            return 0.0
        until = self._open_until(urgent)
        if now < until:
            return until - now
        if self._probe_at is None:
            return 0.0
        return max(0.0, self._probe_at + self._tolerance.probe_s - now)

    def _open_until(self, urgent: bool) -> float:
        return self._soon if urgent and self.plain else self.until

    def for_failures(self, open_s: float) -> bool:
        """Whether one like this is ever open for so long because requests failed."""
        return open_s <= self._tolerance.longest_s * (1.0 + SPREAD)

    def passed(self, now: float) -> None:
        """A request was let through."""
        if not self.closed:
            self._probe_at = now

    def spoke(self, now: float, generation: int) -> None:
        """A request of this generation has its first token."""
        if generation != self.generation:
            return
        self._early = 0
        if not self.closed and not self.needs_end:
            self._close(now)

    def ended(self, now: float, generation: int) -> None:
        """Its stream came to its end."""
        if generation != self.generation:
            return
        self._early = self._late = 0
        self._note(failed=False)
        if not self.closed:
            self._close(now)
        elif self._trips and now - self.closed_at > self._tolerance.longest_s:
            self._trips = 0

    def left(self, generation: int) -> None:
        """Nobody waits for it any more, and nothing was learnt; the next may be a probe."""
        if generation == self.generation:
            self._probe_at = None

    def failed(self, now: float, generation: int, *, spoken: bool) -> bool:
        """It failed, after its first token if `spoken`. Returns whether that opened the circuit."""
        if generation != self.generation:
            return False
        if spoken:
            self._late += 1
        else:
            self._early += 1
        self._note(failed=True)
        bound, count = self._tolerance, self._count
        many = count >= bound.enough and self._outcomes.bit_count() >= bound.share * count
        if self.closed and max(self._early, self._late) < bound.streak and not many:
            return False
        self.open(now, needs_end=spoken, plain=True)
        return True

    def refused(self, now: float, generation: int, retry_after: float | None) -> bool:
        """The provider's rate limit is reached. Returns whether that is news."""
        if generation != self.generation:
            # It is open by now; what came later may know more.
            if self.limited and not self.closed and retry_after is not None:
                self.until = max(self.until, now + min(retry_after, self._tolerance.limit_s))
            return False
        wait = None if retry_after is None else min(retry_after, self._tolerance.limit_s)
        self.open(now, for_s=wait, limited=True)
        return True

    def unauthorized(self, now: float, generation: int) -> bool:
        """The provider refuses the key. Returns whether that is news."""
        if generation != self.generation:
            return False
        self.open(now, for_s=self._tolerance.key_s)
        return True

    def open(
        self,
        now: float,
        *,
        for_s: float | None = None,
        limited: bool = False,
        needs_end: bool = False,
        plain: bool = False,
    ) -> None:
        """Let nothing through for so long; None: for longer than the last time."""
        if for_s is None:
            bound = self._tolerance
            for_s = min(bound.longest_s, bound.first_s * 2.0 ** min(self._trips, 30))
            self._trips += 1
        spread = 1.0 + SPREAD * self._random.random()
        self.until = now + for_s * spread
        self._soon = now + min(for_s, self._tolerance.first_s) * spread
        self.opened_at = now
        self.closed = False
        self.limited = limited
        self.plain = plain
        self.needs_end = needs_end
        self.generation += 1
        self._probe_at = None
        self._early = self._late = 0
        self._outcomes = self._count = 0

    def _close(self, now: float) -> None:
        self.closed = True
        self.closed_at = now
        self.limited = False
        self._probe_at = None

    def _note(self, *, failed: bool) -> None:
        self._outcomes = (self._outcomes << 1 | failed) & self._mask
        self._count = min(self._count + 1, self._tolerance.outcomes)
