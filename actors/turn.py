"""One turn: from an accepted request to its end, in its own task.

The model is asked at once, while the input is still being made durable: nothing the model says
leaves the turn before `open()`, which the session calls when the input is in the store. If the
store refuses, the turn is dropped and nobody hears of it.

Text is gathered as it arrives and becomes events only when the outlet's pace asks for it
(`cut`), so a token costs an append and no event of its own.

A turn whose host was lost goes on here under its old record: `resume` says in which leg, and what
the model says from then on is appended to what was recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from actors.desk import Seat
from actors.log import EventLog
from context.text import storable
from contracts.agents import End, ModelRequest
from contracts.errors import ProviderError, ProviderInterrupted, TroupeError
from contracts.events import (
    Event,
    first_number_of,
    legs_missing,
    number_after_resumed,
    unfolds_to,
)
from contracts.messages import Leg, ResponseRecord
from contracts.tasks import spawn, stop

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
    """A turn in flight. Its session is its only caller."""

    def __init__(
        self,
        record: ResponseRecord,
        seat: Seat,
        request: ModelRequest,
        answer_position: int,
        owner: TurnOwner,
        clock: Callable[[], float],
    ) -> None:
        self.record = record
        self.seat = seat
        self.request = request
        self.answer_position = answer_position
        self._owner = owner
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._pending: list[str] = []
        self._parts = [record.text] if record.text else []
        self._number = 0
        self._chars = len(record.text)
        self._heard = False
        self._listening = False
        self._interrupted = False
        self._reason: TroupeError | None = None
        self._ending = False
        self.done = asyncio.Event()

    def start(self, failure: TroupeError | None = None) -> None:
        """Ask the model, or with a `failure` end at once. Nothing is emitted before `open`."""
        work = self._run(failure)
        self._task = spawn(work, name=f"turn-{self.record.id}", on_error=self._died)

    def open(self, events: EventLog) -> None:
        """The input is durable: say that the turn has started, and let text through."""
        self._say_started(events)
        self._opened.set()

    def resume(self, events: EventLog, leg: Leg) -> None:
        """Go on with what an earlier activation began, in a new leg; then let text through.

        What was recorded in a way that readers cannot have followed (`first_seq` 0) is said anew,
        behind the leg's beginning, where every reader takes it in the place of all it had.
        """
        record, said = self.record, self.record.text
        known = record.first_seq > 0
        self._parts.clear()
        if not known:
            record.text, record.cuts, record.epoch = "", [], events.epoch
            legs, record.legs = record.legs, []
            self._say_started(events)
            for old in legs:
                self._say_leg(events, old._replace(cuts=0, position=0, epoch=events.epoch))
            leg = leg._replace(cuts=0, position=0)
        elif leg.policy == "restart":
            record.text, record.cuts = "", [0] * len(record.cuts)
        else:
            self._parts.append(said)
        # Each activation has a leg, also one that left no record of it: what its readers saw is
        # taken back as far as the record goes.
        for number in legs_missing(record):
            self._say_leg(events, leg._replace(number=number))
        if leg.policy == "restart":
            self._chars = 0
        elif said and not known:
            self._pending.append(said)
        record.status = "in_progress"
        self._opened.set()
        self.cut(events)

    def _say_leg(self, events: EventLog, leg: Leg) -> None:
        record = self.record
        record.legs.append(leg)
        events.append("resumed", record.id, first_number_of(leg.number), leg)
        self._number = number_after_resumed(leg.number, opened=bool(record.cuts))

    def _say_started(self, events: EventLog) -> None:
        record = self.record
        record.first_seq = events.seq + 1
        # The model may have said its last word already; to readers the turn starts all the same.
        started = replace(
            record.snapshot(), status="in_progress", usage=None, error=None, incomplete_reason=None
        )
        if record.status == "queued":
            record.status = "in_progress"
        events.append("started", record.id, first_number_of(0), started)
        self._number = unfolds_to("started", opens=False)

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def cut(self, events: EventLog) -> None:
        """Turn the text gathered so far into one event."""
        if not self._pending or not self._opened.is_set():
            return
        # Cleaned here, so that a screen, the journal and the store count the same characters.
        text = storable("".join(self._pending))
        self._pending.clear()
        if not text:
            return
        opens = not self.record.cuts
        events.append("delta", self.record.id, self._number, text)
        self._number += unfolds_to("delta", opens=opens)
        self.record.cuts.append(len(text))
        self._parts.append(text)

    def finalize(self, events: EventLog) -> None:
        """Fix the record, and reserve the place of its end until `close`."""
        self.cut(events)
        self.record.text = "".join(self._parts)
        self.record.completed_at = self._clock()
        self.record.last_seq = events.reserve()

    def close(self, events: EventLog) -> None:
        """Let the readers hear of the end."""
        record = self.record
        events.fill(Event(record.last_seq, "ended", record.id, self._number, record.snapshot()))

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
        self.done.set()

    def _died(self, error: BaseException) -> None:
        log.error("turn %s died", self.record.id, exc_info=error)
        self._owner.failed(error)
        self.done.set()

    async def _run(self, failure: TroupeError | None) -> None:
        try:
            self._listening = True
            if failure is not None:
                raise failure
            if self._interrupted:
                raise asyncio.CancelledError
            await self._listen()
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            self.record.status = "cancelled"
            if self._reason is not None:
                self._fail(self._reason)
        except TroupeError as error:
            self._fail(error)
        except Exception:
            log.exception("turn %s: the adapter leaked an error", self.record.id)
            self._fail(ProviderError("The agent failed in a way that Troupe does not know."))
        self._ending = True
        await self._opened.wait()
        await self._owner.ended(self)
        self.done.set()

    def _fail(self, error: TroupeError) -> None:
        self.record.status = "failed"
        self.record.error = {"code": error.cause_code, "message": error.message}
        if error.retry_after is not None:
            self.record.error["retry_after"] = error.retry_after
        log.warning("turn %s failed: %s: %s", self.record.id, error.cause_code, error.message)

    async def _listen(self) -> None:
        """One loop for all attempts; a new one only as long as nobody has heard a word."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._listen_once()
                return
            except ProviderError as error:
                if not (error.retryable and not self._heard and attempt < self.seat.attempts):
                    raise
                log.info("turn %s: attempt %d: %s", self.record.id, attempt, error.cause_code)
                # The provider's own wish is honoured only as far as a person would wait.
                await asyncio.sleep(min(error.retry_after or 0.1 * attempt, 1.0))

    async def _listen_once(self) -> None:
        stream = self.seat.first.agent.stream(self.request)
        async with aclosing(stream) as items:  # type: ignore[type-var]
            async for item in items:
                if not isinstance(item, str):
                    self._end(item)
                    return
                first = not self._heard
                self._heard = True
                self._chars += len(item)
                self._pending.append(item)
                if self._opened.is_set():
                    self._owner.said(first=first)
                if self._chars >= self.seat.max_answer_chars:
                    self._end(End("length", None))
                    return
        raise ProviderInterrupted("The provider's stream stopped without an end.")

    def _end(self, end: End) -> None:
        self.record.usage = end.usage
        if end.reason == "stop":
            self.record.status = "completed"
        else:
            self.record.status = "incomplete"
            self.record.incomplete_reason = (
                "max_output_tokens" if end.reason == "length" else "content_filter"
            )
