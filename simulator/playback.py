"""A reply in time: tokens by an absolute schedule, and the fault its script asks for.

A reply is no task. It is an object that the wheel calls when its next token is due and that the
connection calls when its client leaves or can take more. Token k is due at `ttft + k * gap`
from the request's arrival, whatever happened before it: a late token does not delay the next,
and a client that reads slowly gets everything that has come due once it reads again.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from simulator.asks import Refusal
from simulator.http import Connection
from simulator.recorder import Record
from simulator.script import SILENT_FAULTS, SPOILT_FAULTS, STATUS_FAULTS, Script
from simulator.stats import Stats
from simulator.wheel import Wheel
from simulator.wire import EVENT_STREAM, JSON, Frames, Outcome, Wire

BURST = 64
"""Tokens that one call may send before other connections have their turn."""
OVERSIZE = b"x" * (5 << 18)
"""More than anybody takes for one token."""
DELIVERY_MS = 5
"""How long after its last bytes a connection is broken, so that they surely arrive first."""


class Reply:
    """What streamed and whole replies share: their end, and the faults before any content.

    It counts itself exactly once, as `finished`, `aborted` or `faulted`. A `hang` or a `stall`
    lasts `hold_ms`, if the client has that much patience.
    """

    __slots__ = (
        "_connection",
        "_extra",
        "_fault",
        "_finish",
        "_frames",
        "_held",
        "_hold_ms",
        "_over",
        "_record",
        "_script",
        "_seed",
        "_settled",
        "_stats",
        "_tokens",
        "_wheel",
        "_wire",
    )

    def __init__(
        self,
        *,
        connection: Connection,
        wheel: Wheel,
        stats: Stats,
        record: Record | None,
        wire: Wire,
        frames: Frames,
        script: Script,
        fault: str | None,
        tokens: Sequence[bytes],
        finish: str,
        seed: int,
        hold_ms: int,
        extra: bytes,
    ) -> None:
        self._connection = connection
        self._wheel = wheel
        self._stats = stats
        self._record = record
        self._wire = wire
        self._frames = frames
        self._script = script
        self._fault: str | None = fault
        self._tokens = tokens
        self._finish = finish
        self._seed = seed
        self._hold_ms = hold_ms
        self._held: TimerHandle | None = None
        self._extra = extra
        self._over = False
        self._settled = False

    def start(self) -> None:
        """Begin to count time. The connection is this reply's until it ends it."""
        self._stats.started += 1
        self._connection.reply = self
        if self._fault in STATUS_FAULTS or self._fault in SILENT_FAULTS:
            self._wheel.at(self._wheel.now() + self._script.ttft_ms, self._deny)
        else:
            self._play()

    def gone(self) -> None:
        """The client left."""
        self._over = True
        if self._held is not None:
            self._held.cancel()
        self._settle("aborted")

    def resume(self) -> None:
        """The client reads again."""

    def _play(self) -> None:
        raise NotImplementedError

    def _settle(self, outcome: str) -> None:
        if self._settled:
            return
        self._settled = True
        if outcome == "finished":
            self._stats.finished += 1
        elif outcome == "aborted":
            self._stats.aborted += 1
        else:
            self._stats.faulted += 1
        if self._record is not None:
            self._record.outcome = outcome

    def _outcome(self) -> Outcome:
        return Outcome(b"".join(self._tokens), len(self._tokens), self._finish)

    def _deny(self) -> None:
        if self._over:
            return
        self._settle("faulted")
        status = STATUS_FAULTS.get(self._fault or "")
        if status is not None:
            self._over = True
            pause = self._script.retry_after_s
            if pause is None and status == 429:
                pause = 1
            extra = self._extra
            if pause is not None:
                extra += b"retry-after: %d\r\n" % pause
            body = self._wire.error(status, Refusal(status, self._wire.words(status)))
            self._connection.respond(status, body, JSON, extra)
        elif self._fault == "hang":
            self._hold()
        else:
            self._break()

    def _hold(self) -> None:
        self._held = self._wheel.later(self._hold_ms, self._break)

    def _break(self) -> None:
        if self._over:
            return
        self._over = True
        if self._fault in ("abort", "reset"):
            self._connection.reset()
        else:
            self._connection.close()


class Streamed(Reply):
    """A reply in tokens."""

    __slots__ = (
        "_begun",
        "_due_next",
        "_first",
        "_gap",
        "_next",
        "_open",
        "_parked",
        "_schedule",
        "_stop",
    )

    def _play(self) -> None:
        script = self._script
        self._next = 0
        self._stop = len(self._tokens) if self._fault is None else self._strikes_at()
        self._first = self._wheel.now() + script.ttft_ms
        self._gap = script.gap_ms
        self._schedule: list[float] | None = None
        if script.jitter_ms:
            self._schedule = self._jittered(Random(self._seed))
        self._begun = False
        self._open = False
        self._parked = False
        self._due_next = self._due(0)
        early = self._frames.early()
        if early:
            self._begin(early)
        self._wheel.at(self._due_next, self._tick)

    def _strikes_at(self) -> int:
        at, count = self._script.at, len(self._tokens)
        return count // 2 if at is None else min(at, count)

    def _jittered(self, random: Random) -> list[float]:
        jitter = self._script.jitter_ms
        drawn = [
            self._first + k * self._gap + random.uniform(0, jitter)
            for k in range(len(self._tokens) + 1)
        ]
        return list(accumulate(drawn, max))

    def _due(self, k: int) -> float:
        if self._schedule is not None:
            return self._schedule[k]
        return self._first + k * self._gap

    def resume(self) -> None:
        if self._parked:
            self._parked = False
            self._tick()

    def _tick(self) -> None:
        if self._over:
            return
        if self._connection.full:
            self._parked = True
            return
        # Written out, not in helpers: this runs for every token of every stream.
        frames, tokens, k, due = self._frames, self._tokens, self._next, self._due_next
        now = self._wheel.now() + 0.5
        data = b""
        if not self._open:
            self._open = True
            data = frames.opening()
        last = min(self._stop, k + BURST)
        while k < last and due <= now:
            data += frames.token(tokens[k])
            k += 1
            due = self._due(k)
        self._next = k
        self._due_next = due
        if k < self._stop:
            if self._begun:
                self._connection.send(data)
            else:
                self._begin(data)
            self._wheel.at(due, self._tick)
        else:
            self._reach(data, max(due, now + DELIVERY_MS))

    def _reach(self, data: bytes, strike_at: float) -> None:
        """Send the last tokens, and then end the reply, or go on to its fault."""
        if not self._begun:
            self._begin(data)
            data = b""
        if self._fault is None:
            self._over = True
            self._settle("finished")
            self._connection.finish(data + self._frames.closing(self._outcome()))
            return
        if data:
            self._connection.send(data)
        self._wheel.at(strike_at, self._strike)

    def _begin(self, data: bytes) -> None:
        self._begun = True
        self._connection.begin(EVENT_STREAM, self._extra, data)

    def _strike(self) -> None:
        if self._over:
            return
        if self._connection.unsent():
            self._wheel.at(self._wheel.now() + DELIVERY_MS, self._strike)
            return
        self._settle("faulted")
        fault = self._fault or ""
        if fault in SPOILT_FAULTS:
            self._go_on_after(fault)
        elif fault == "stall":
            self._hold()
        elif fault == "abort":
            self._break()
        else:
            self._over = True
            self._connection.finish(b"" if fault == "truncate" else self._frames.error(fault))

    def _go_on_after(self, fault: str) -> None:
        """The spoilt token stands in for a whole one: who skips it reports a wrong success."""
        k, count = self._next, len(self._tokens)
        text = self._tokens[k] if k < count else b""
        if fault == "oversize":
            self._connection.send(self._frames.token(text + OVERSIZE))
        else:
            self._connection.send(self._frames.broken(text))
        self._fault = None
        self._stop = count
        self._next = min(k + 1, count)
        self._due_next = self._due(self._next)
        self._wheel.at(self._due_next, self._tick)


class Whole(Reply):
    """A reply in one piece, when its last token would have been due.

    Faults within it strike in the middle of the body; `at` says nothing here.
    """

    __slots__ = ()

    def _play(self) -> None:
        script = self._script
        steps = max(len(self._tokens) - 1, 0)
        ready = script.ttft_ms + steps * script.gap_ms
        if script.jitter_ms:
            ready += Random(self._seed).uniform(0, script.jitter_ms)
        self._wheel.at(self._wheel.now() + ready, self._answer)

    def _answer(self) -> None:
        if self._over:
            return
        fault = self._fault
        outcome = self._outcome()
        if fault == "oversize":
            outcome = outcome._replace(text=outcome.text + OVERSIZE)
        body = self._frames.whole(outcome)
        if fault is None:
            self._over = True
            self._settle("finished")
            self._connection.respond(200, body, JSON, self._extra)
            return
        self._settle("faulted")
        if fault in ("in_band_error", "failed") or fault in SPOILT_FAULTS:
            self._over = True
            if fault == "malformed":
                body = body[: len(body) // 2]
            elif fault != "oversize":
                body = self._frames.failure(fault)
            self._connection.respond(200, body, JSON, self._extra)
            return
        self._connection.promise(len(body), JSON, self._extra, body[: len(body) // 2])
        if fault == "stall":
            self._hold()
        else:
            self._wheel.at(self._wheel.now() + DELIVERY_MS, self._break)
