"""A circuit: whether an endpoint may be asked, by what became of the requests before.

Closed, everything may pass. It opens after failures and stays open for a second, the next time
for twice as long, up to half a minute. After that it probes: one request goes through, and what
becomes of it closes the circuit or opens it anew.

Failures come in two kinds. An endpoint that refuses is known to be well when it speaks; one that
falls silent in the middle of its answers speaks all the same, so only an end will do.

Requests that were under way when it opened say nothing more: they failed with the others.
"""

from __future__ import annotations

from random import Random

STREAK = 3
"""Failures in a row that open it."""
OUTCOMES = 20
"""Newest outcomes looked at; half of them failed, of ten at least, opens it too."""
ENOUGH = 10
FIRST_S = 1.0
LONGEST_S = 30.0
SPREAD = 0.2
"""Of the time it stays open, so that hosts do not all probe at once."""
LIMIT_LONGEST_S = 300.0
KEY_S = 120.0
"""For a key that is refused: nothing but a person will mend it."""
PROBE_S = 2.0
"""A probe that is under way for so long makes room for a further one."""

_MASK = (1 << OUTCOMES) - 1


class Circuit:
    """One endpoint's. Every time is given by the caller, in seconds."""

    __slots__ = (
        "_count",
        "_early",
        "_late",
        "_outcomes",
        "_probe_at",
        "_random",
        "_trips",
        "closed",
        "closed_at",
        "generation",
        "limited",
        "needs_end",
        "opened_at",
        "until",
    )

    def __init__(self, random: Random) -> None:
        self._random = random
        self._early = self._late = 0
        self._outcomes = self._count = 0
        self._trips = 0
        self._probe_at: float | None = None
        self.closed = True
        self.closed_at = 0.0
        self.opened_at = 0.0
        self.until = 0.0
        self.generation = 0
        """How often it has opened."""
        self.limited = False
        """It is open because of a rate limit."""
        self.needs_end = False
        """A first token does not close it."""

    def state(self, now: float) -> str:
        """`closed`, `open` or `probing`."""
        if self.closed:
            return "closed"
        return "open" if now < self.until else "probing"

    def wait_s(self, now: float) -> float:
        """Seconds until it lets a request pass; 0: now."""
        if self.closed:
            return 0.0
        if now < self.until:
            return self.until - now
        if self._probe_at is None:
            return 0.0
        return max(0.0, self._probe_at + PROBE_S - now)

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
        elif self._trips and now - self.closed_at > LONGEST_S:
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
        many = self._count >= ENOUGH and self._outcomes.bit_count() * 2 >= self._count
        if self.closed and max(self._early, self._late) < STREAK and not many:
            return False
        self.open(now, needs_end=spoken)
        return True

    def refused(self, now: float, generation: int, retry_after: float | None) -> bool:
        """The provider's rate limit is reached. Returns whether that is news."""
        if generation != self.generation:
            # It is open by now; what came later may know more.
            if self.limited and not self.closed and retry_after is not None:
                self.until = max(self.until, now + min(retry_after, LIMIT_LONGEST_S))
            return False
        wait = None if retry_after is None else min(retry_after, LIMIT_LONGEST_S)
        self.open(now, for_s=wait, limited=True)
        return True

    def open(
        self,
        now: float,
        *,
        for_s: float | None = None,
        limited: bool = False,
        needs_end: bool = False,
    ) -> None:
        """Let nothing through for so long; None: for longer than the last time."""
        if for_s is None:
            for_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self._trips, 10))
            self._trips += 1
        self.until = now + for_s * (1.0 + SPREAD * self._random.random())
        self.opened_at = now
        self.closed = False
        self.limited = limited
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
        self._outcomes = (self._outcomes << 1 | failed) & _MASK
        self._count = min(self._count + 1, OUTCOMES)
