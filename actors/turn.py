"""One turn: from an accepted request to its end, in its own task.

The model is asked at once, while the input is still being made durable: nothing the model says
leaves the turn before `open()`, which the session calls when the input is in the store. If the
store refuses, the turn is dropped and nobody hears of it.

Text is gathered as it arrives and becomes events only when the outlet's pace asks for it
(`cut`), so a token costs an append and no event of its own.

Where a provider fails, `_listen` is the one place that asks again (whom, `actors.attempts` knows).
As long as nobody has heard a word that is unseen. After that each change is told as a leg before
anything further is said, and the text that arrived is cut before the leg: it stands, or is taken
back.

A turn whose host was lost goes on here under its old record (`resume`), in a leg that is told once
it is known that it may: what the model says from then on is appended to what was recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from actors.attempts import Attempt, Attempts, Compose, provider_failed
from actors.charges import total
from actors.desk import Seat
from actors.hedge import first_to_speak
from actors.log import EventLog
from actors.takeover import stopped
from context.text import storable
from contracts.agents import End
from contracts.errors import ProviderInterrupted, ProviderTimeout, TroupeError
from contracts.events import (
    Event,
    first_number_of,
    leg_of,
    legs_missing,
    number_after_resumed,
    unfolds_to,
)
from contracts.messages import FailurePolicy, Leg, ResponseRecord
from contracts.tasks import spawn, stop
from routing.endpoints import Ticket
from routing.failover import goes_on

log = logging.getLogger("troupe.actors.turn")


class TurnOwner(Protocol):
    """What a turn tells its session."""

    def said(self, *, first: bool) -> None:
        """Text is there to be cut; `first`: somebody is waiting for it."""
        ...

    async def ended(self, turn: Turn) -> None:
        """The model has said its last; keep the record, then tell the readers."""
        ...

    def failed(self, error: BaseException) -> None:
        """The turn's own code failed; the session cannot go on."""
        ...


class Turn:
    """A turn in flight. Its session is its only caller.

    Args:
        record: What becomes of it.
        seat: The agent.
        find: Other agents by name, for those that stand in for it.
        compose: Makes the requests.
        answer_position: The place that is kept for the answer.
        events: The session's log.
        owner: The session's turns.
        clock: Unix seconds.
        turn_s: Seconds that it may take in all.
        most_nano: Nano-dollars that it may cost.
    """

    def __init__(
        self,
        record: ResponseRecord,
        seat: Seat,
        find: Callable[[str], Seat | None],
        compose: Compose,
        answer_position: int,
        events: EventLog,
        owner: TurnOwner,
        clock: Callable[[], float],
        turn_s: float,
        most_nano: int | None = None,
    ) -> None:
        self.record = record
        self.seat = seat
        self.answer_position = answer_position
        self._log = events
        self._owner = owner
        self._clock = clock
        self._turn_s = turn_s
        self._attempts = Attempts(record, seat, find, compose, self._text, turn_s, most_nano)
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._pending: list[str] = []
        self._parts = [record.text] if record.text else []
        self._number = 0
        self._chars = len(record.text)
        self._leg: Leg | None = None
        """Which an earlier activation's turn is to go on in, until it is told."""
        self._target: str | None = None
        """Where the last leg said that it goes on."""
        self._listening = False
        self._interrupted = False
        self._reason: TroupeError | None = None
        self._ending = False
        self._given_up = False
        self.done = asyncio.Event()

    def admit(self) -> None:
        """Take a place at an endpoint, before anything is kept of the turn.

        Raises `OverBudget` if what would be sent costs more than the turn may, `AgentUnavailable`
        if no endpoint has room for it now.
        """
        self._attempts.begin(at_once=True)

    def start(
        self,
        failure: TroupeError | None = None,
        permit: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Ask the model, or with a `failure` end at once. Nothing is emitted before `open`.

        `permit` is waited for first, before a place is taken; the turn fails of what it raises.
        """
        work = self._run(failure, permit)
        self._task = spawn(work, name=f"turn-{self.record.id}", on_error=self._died)

    def open(self) -> None:
        """The input is durable: say that the turn has started, and let text through."""
        self._say_started()
        self._opened.set()

    def resume(
        self,
        leg: Leg,
        failure: TroupeError | None,
        permit: Callable[[], Awaitable[object]],
    ) -> None:
        """Go on in this leg with what an earlier activation began; the rest as with `start`."""
        self._leg = leg
        if self.record.first_seq > 0:
            # Readers know of it, and may come back to it before they hear of the leg.
            self._opened.set()
        self.start(failure, permit)

    def _take_up(self, leg: Leg) -> None:
        """Say that the turn goes on in this leg, or ends by it; then let text through.

        What was recorded in a way that readers cannot have followed (`first_seq` 0) is said anew,
        behind the leg's beginning, where every reader takes it in the place of all it had.
        """
        self._leg = None
        record, said = self.record, self.record.text
        known = record.first_seq > 0
        self._parts.clear()
        if not known:
            epoch = self._log.epoch
            record.text, record.cuts, record.epoch = "", [], epoch
            legs, record.legs = record.legs, []
            self._say_started()
            for old in legs:
                self._say_leg(old._replace(cuts=0, position=0, epoch=epoch))
            leg = leg._replace(cuts=0, position=0)
        elif leg.policy == "restart":
            record.text, record.cuts = "", [0] * len(record.cuts)
        else:
            self._parts.append(said)
        # Each activation has a leg, also one that left no record of it: what its readers saw is
        # taken back as far as the record goes.
        for number in legs_missing(record):
            self._say_leg(leg._replace(number=number))
        if leg.policy == "restart":
            self._chars = 0
        elif said and not known:
            self._pending.append(said)
        if not self._ending:
            record.status = "in_progress"
        self._opened.set()
        self.cut()

    def _say_leg(self, leg: Leg) -> None:
        record = self.record
        record.legs.append(leg)
        self._log.append("resumed", record.id, first_number_of(leg.number), leg)
        self._number = number_after_resumed(leg.number, opened=bool(record.cuts))

    def _say_started(self) -> None:
        record = self.record
        record.first_seq = self._log.seq + 1
        # The model may have said its last word already; to readers the turn starts all the same.
        started = replace(
            record.snapshot(),
            status="in_progress",
            usage=None,
            charges=[],
            error=None,
            incomplete_reason=None,
        )
        if record.status == "queued":
            record.status = "in_progress"
        self._log.append("started", record.id, first_number_of(0), started)
        self._number = unfolds_to("started", opens=False)

    @property
    def ticket(self) -> Ticket | None:
        """The place that it has at an endpoint, if it has one now."""
        current = self._attempts.current
        return None if current is None else current.ticket

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    @property
    def is_ending(self) -> bool:
        """The model has said its last; what became of it is being kept, or waits for `open`."""
        return self._ending

    def _text(self) -> str:
        """The answer so far."""
        return "".join(self._parts) + storable("".join(self._pending))

    def cut(self) -> None:
        """Turn the text gathered so far into one event."""
        if not self._pending or not self._opened.is_set():
            return
        # Cleaned here, so that a screen, the journal and the store count the same characters.
        text = storable("".join(self._pending))
        self._pending.clear()
        if not text:
            return
        opens = not self.record.cuts
        self._log.append("delta", self.record.id, self._number, text)
        self._number += unfolds_to("delta", opens=opens)
        self.record.cuts.append(len(text))
        self._parts.append(text)

    def finalize(self) -> None:
        """Fix the record, and reserve the place of its end until `close`."""
        self.cut()
        self.record.text = "".join(self._parts)
        self.record.completed_at = self._clock()
        self.record.last_seq = self._log.reserve()

    def close(self) -> None:
        """Let the readers hear of the end."""
        record = self.record
        ended = Event(record.last_seq, "ended", record.id, self._number, record.snapshot())
        self._log.fill(ended)

    def cancel(self) -> None:
        """End the turn now; what was said stays. Too late once the end is being kept."""
        self._interrupt(None)

    def interrupt(self, error: TroupeError) -> None:
        """End the turn now as failed; what was said stays."""
        self._interrupt(error)

    def _interrupt(self, error: TroupeError | None) -> None:
        if self._ending or self._interrupted:
            return
        self._interrupted = True
        self._reason = error
        if self._listening and self._task is not None:
            self._task.cancel()

    async def drop(self) -> None:
        """Forget the turn: its input never became durable, or the session is deposed."""
        if self._task is not asyncio.current_task():
            await stop(self._task)
        # A task that was stopped before its first step has left nothing itself.
        self._attempts.leave()
        self.done.set()

    def _died(self, error: BaseException) -> None:
        self._attempts.leave()
        log.error("turn %s died", self.record.id, exc_info=error)
        self._owner.failed(error)
        self.done.set()

    async def _run(
        self, failure: TroupeError | None, permit: Callable[[], Awaitable[object]] | None
    ) -> None:
        refusal: TroupeError | None = None
        try:
            self._listening = True
            if failure is not None:
                raise failure
            if self._interrupted:
                raise asyncio.CancelledError
            if permit is not None:
                await permit()
            if self._attempts.current is None:
                self._attempts.begin()
            if self._leg is not None:
                self._take_up(self._leg)
            async with asyncio.timeout(self._turn_s):
                await self._listen()
        except TimeoutError:
            error = ProviderTimeout("The answer was not complete in time.")
            self._attempts.give_up(error)
            self._fail(error)
            self._given_up = True
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            self.record.status = "cancelled"
            if self._reason is not None:
                self._fail(self._reason)
        except TroupeError as error:
            self._fail(error)
            self._given_up = error is self._attempts.error
            refusal = error
        self._ending = True
        if self._leg is not None:
            self._take_up(stopped(self._leg, self.record, refusal))
        self._attempts.leave()
        self.record.usage = total(self.record.charges)
        await self._opened.wait()
        self._say_stop()
        await self._owner.ended(self)
        self.done.set()

    def _fail(self, error: TroupeError) -> None:
        self.record.status = "failed"
        self.record.error = {"code": error.cause_code, "message": error.message}
        if error.retry_after is not None:
            self.record.error["retry_after"] = error.retry_after
        log.warning("turn %s failed: %s: %s", self.record.id, error.cause_code, error.message)

    async def _listen(self) -> None:
        """One loop for all requests of the turn."""
        attempts = self._attempts
        while True:
            attempt = await attempts.next()
            attempts.ask(attempt, self._go_on_at(attempt))
            try:
                await self._hear(attempt)
                return
            except Exception as error:
                if not isinstance(error, TroupeError):
                    log.exception("turn %s: the adapter leaked an error", self.record.id)
                # Of two that were asked this is the one that failed last.
                attempt = attempts.current or attempt
                heard = attempt.heard and self._opened.is_set()
                attempts.go_on(attempt, provider_failed(error), heard=heard)
                if not self._opened.is_set():
                    # Nobody has heard a word of it, and nobody is to: it is said anew.
                    self._pending.clear()
                    self._chars = 0

    async def _hear(self, attempt: Attempt) -> None:
        hedge = self.seat.hedge
        if hedge is None or attempt.seat is not self.seat or self._attempts.lost is not None:
            items = attempt.stream()
        else:
            attempt, item, items = await first_to_speak(self._attempts, hedge)
            if self._take(attempt, item):
                await items.aclose()
                return
        async with aclosing(items):
            async for item in items:
                if self._take(attempt, item):
                    return
        raise ProviderInterrupted("The provider's stream stopped without an end.")

    def _take(self, attempt: Attempt, item: str | End) -> bool:
        """One item of a stream; whether it is the last one."""
        first = not attempt.heard
        if first:
            attempt.spoke()
            self.record.agent = attempt.seat.name
        if not isinstance(item, str):
            self._attempts.done(attempt, item.usage)
            self._end(item)
            return True
        attempt.heard = True
        self._chars += len(item)
        self._pending.append(item)
        if self._opened.is_set():
            self._owner.said(first=first)
        if self._chars >= self.seat.max_answer_chars:
            self._end(End("length", None))
            return True
        return False

    def _go_on_at(self, attempt: Attempt) -> str | None:
        """How the answer has begun, for the next request; what changes by it is told first."""
        lost = self._attempts.lost
        text = self._text()
        heard = bool(text) and lost is not None and lost.heard
        moved = self._target not in (None, attempt.name)
        if not heard and not moved and (attempt.place.continues or not text):
            return text or None
        on_failure = self._attempts.contract.on_failure
        policy = goes_on(on_failure, continues=attempt.place.continues)
        self._change(policy, attempt.name)
        return self._text() or None

    def _say_stop(self) -> None:
        """A provider was lost after readers had heard of the answer, and nobody goes on."""
        if self._given_up and self._text():
            self._change("stop", None)

    def _change(self, policy: FailurePolicy, target: str | None) -> None:
        """Say that the answer goes on elsewhere, or nowhere."""
        attempts, record = self._attempts, self.record
        self.cut()
        attempts.changes += 1
        number = leg_of(record.attempts, attempts.changes)
        lost = attempts.lost
        source = None if lost is None else lost.name
        reason = "not_continued" if attempts.error is None else attempts.error.cause_code
        position = sum(record.cuts)
        if policy == "restart":
            position = self._chars = 0
            record.text, record.cuts = "", [0] * len(record.cuts)
            self._parts.clear()
        cuts, epoch = len(record.cuts), self._log.epoch
        self._say_leg(Leg(cuts, position, policy, reason, epoch, number, source, target))
        self._target = target
        self._owner.said(first=True)

    def _end(self, end: End) -> None:
        if end.reason == "stop":
            self.record.status = "completed"
        else:
            self.record.status = "incomplete"
            self.record.incomplete_reason = (
                "max_output_tokens" if end.reason == "length" else "content_filter"
            )
