"""The turns of one session: one runs, others wait, and each is accepted before it is told of.

Turns come in three ways: a message asks for one (`submit`), one that waited begins when the one
before it has ended, or an earlier activation left one open (`take_over`). They end in one: the
record is made durable, then the readers are told.

There MUST be no `await` between appending an event and the change of state that it tells of.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from actors.attempts import seats_of, tokens_of, unavailable
from actors.beginning import facts, locked, messages_of, question, record_of, replaced_by
from actors.charges import lost_charges
from actors.composing import Composer
from actors.desk import Desk, Seat
from actors.limits import SessionLimits
from actors.log import EventLog
from actors.purse import Purse
from actors.summarizer import Summarizer
from actors.takeover import agent_gone, resumption
from actors.turn import Turn
from contracts.commands import Accepted, TurnRequest
from contracts.decisions import Decision, RoutingInput
from contracts.errors import (
    Busy,
    Deposed,
    NotFound,
    StoreUnavailable,
    TroupeError,
)
from contracts.events import Event, accepted_data
from contracts.memory import Memory, OpenTurn, SessionState
from contracts.messages import Message, ResponseRecord
from contracts.tasks import spawn

log = logging.getLogger("troupe.actors.turns")


class TurnsOwner(Protocol):
    """What the turns tell their session."""

    def urgent(self) -> None:
        """Somebody waits for what is in the log."""
        ...

    def bulk(self) -> None:
        """Text is there to be cut at the next tick."""
        ...

    def rested(self) -> None:
        """A turn has ended; maybe none is left."""
        ...

    async def deposed(self) -> None:
        """The store refused a write: a newer activation owns the session."""
        ...

    def failed(self, error: BaseException) -> None:
        """A turn's own code failed; the session cannot go on."""
        ...


@dataclass(slots=True)
class Waiting:
    """A turn whose input is durable and whose time has not come."""

    record: ResponseRecord
    seat: Seat
    answer_position: int
    accepted: Event | None = None
    gone: bool = False
    """Its agent is no longer there: `seat` is any other, and the turn is to end."""


class Turns:
    """What runs and waits in one active session.

    Args:
        state: The activation's; the conversation in it is kept up to date here.
        events: The session's log.
        memory: Where turns are made durable.
        desk: Who can answer.
        purse: What that may cost.
        limits: How many may run and wait.
        clock: Unix seconds.
        owner: The session.
    """

    def __init__(
        self,
        state: SessionState,
        events: EventLog,
        memory: Memory,
        desk: Desk,
        purse: Purse,
        limits: SessionLimits,
        clock: Callable[[], float],
        owner: TurnsOwner,
    ) -> None:
        self._state = state
        self._log = events
        self._memory = memory
        self._desk = desk
        self._purse = purse
        self._limits = limits
        self._clock = clock
        self._owner = owner
        self._turn: Turn | None = None
        self._queue: deque[Waiting] = deque()
        self._summarizer = Summarizer(state, memory, desk, purse)
        self._choosing: asyncio.Timeout | None = None
        self._draining = False
        self._abandoned = False
        self._deleting = False
        self._unkept: deque[ResponseRecord] = deque(maxlen=limits.mailbox)
        """Turns that ended here, and in the store did not."""
        self.settled_seq = 0
        """Up to here the rows of the store hold all that was said, but for what waits."""

    @property
    def none(self) -> bool:
        """Nothing runs and nothing waits."""
        return self._turn is None and not self._queue

    @property
    def waiting(self) -> int:
        """Turns whose time has not come."""
        return len(self._queue)

    @property
    def running(self) -> Turn | None:
        return self._turn

    def cut(self) -> None:
        """Turn the running turn's text into an event."""
        if self._turn is not None:
            self._turn.cut()

    # -- beginning ------------------------------------------------------------------------------

    async def submit(self, asked: TurnRequest) -> Accepted:
        """Accept a turn: its input becomes durable while the model is already asked."""
        state = self._state
        text = question(asked, state, replaced_by(asked, state))
        tier = self._desk.tier(state.key.org_id)
        given = facts(asked, state, text, self._clock(), tier)
        beyond = await self._beyond(asked.user)
        decision, seat = await self._choose(asked.model, given)
        # Choosing may have taken its time: what follows is decided by what stands now.
        if self._abandoned:
            raise Deposed("The session has moved.", retry_after=0)
        replaced = replaced_by(asked, state)
        question(asked, state, replaced)
        on_busy = asked.on_busy or seat.on_busy
        self._refuse_if_busy(asked, on_busy)
        view = seat.endpoints.view(asyncio.get_running_loop().time())
        decision = replace(decision, candidates=view)
        record = record_of(asked, state, seat, decision, replaced, self._clock())
        if beyond:
            record.decision["budget"] = list(beyond)
        items = messages_of(asked.input, state.position, self._clock(), record.id)
        waiting = Waiting(record, seat, state.position + len(items) + 1)
        turn = None
        if self.none:
            # The model is asked while the store writes: see turn.py.
            turn = self._make_turn(waiting, items, without=replaced)
            turn.admit()
            self._turn = turn
            turn.start()
        elif on_busy == "interrupt":
            self._refuse_if_full(waiting, items)
        log.info(
            "%s in %s goes to %s: %s", record.id, record.session_id, seat.name, decision.reason
        )
        try:
            await self._memory.accept(state.key, state.epoch, self._log.seq, record, items)
        except BaseException as error:
            if turn is not None:
                await turn.drop()
                self._turn = None
                if not may_be_stored(error):
                    self.pay(record)
            raise
        # The answer's place is kept now: what is said meanwhile comes after it.
        state.position = waiting.answer_position
        state.turns += 1
        if replaced is not None:
            state.messages.remove(replaced)
            self._summarizer.forget(replaced.position)
        state.messages.extend(items)
        state.last_response_id = record.id
        accepted = self._say_accepted(waiting, items)
        if self._abandoned:
            pass  # durable, and so for the next activation
        elif turn is not None:
            turn.open()
        elif on_busy == "interrupt":
            self._interrupt_for(waiting)
        elif self._turn is None:
            # The turn before ended while the store wrote.
            self._begin(waiting)
        else:
            self._queue.append(waiting)
        self._owner.urgent()
        return Accepted(record.id, state.epoch, accepted, record.snapshot())

    async def _choose(self, model: str, given: RoutingInput) -> tuple[Decision, Seat]:
        choosing = asyncio.timeout(None)
        try:
            async with choosing:
                self._choosing = choosing
                return await self._desk.choose(model, given, pay=self._purse.charge)
        except TimeoutError:
            if not choosing.expired():
                raise
            return await self._desk.choose(model, given, ask=False)
        finally:
            self._choosing = None

    def hurry(self) -> None:
        """Somebody waits behind the choice of an agent: no model is asked for it any longer."""
        choosing, self._choosing = self._choosing, None
        if choosing is not None:
            choosing.reschedule(asyncio.get_running_loop().time())

    def _refuse_if_busy(self, asked: TurnRequest, on_busy: str) -> None:
        if self.none:
            return
        if on_busy == "reject" or not asked.input:
            raise locked()
        if on_busy == "queue" and 1 + len(self._queue) >= self._limits.mailbox:
            raise Busy(
                f"{self._limits.mailbox} turns are running or waiting in this conversation.",
                code="mailbox_full",
                retry_after=1,
            )

    def _refuse_if_full(self, waiting: Waiting, items: Sequence[Message]) -> None:
        """A turn that is to end the one that runs finds an endpoint, or is refused.

        What runs gives its place back, which may be the one that is needed.
        """
        seat, leaving = waiting.seat, self._turn and self._turn.ticket
        tokens = tokens_of(self._composer(waiting, items)(seat, seat.first, None))
        now, wait_s = asyncio.get_running_loop().time(), math.inf
        for one in seats_of(seat, self._desk.seat):
            wait_s = min(wait_s, one.endpoints.wait_s(now, tokens=tokens, leaving=leaving))
            if wait_s <= 0:
                return
        raise unavailable(seat, wait_s)

    def _say_accepted(self, waiting: Waiting, items: Sequence[Message]) -> int:
        record = waiting.record
        waiting.accepted = self._log.append("accepted", record.id, -1, accepted_data(record, items))
        record.accepted_seq = waiting.accepted.seq
        return record.accepted_seq

    def _interrupt_for(self, waiting: Waiting) -> None:
        """The newest message stands for what the person wants now: all before it ends."""
        superseded = list(self._queue)
        self._queue.clear()
        self._queue.append(waiting)
        if self._turn is None:
            self._begin(self._queue.popleft())
        else:
            self._turn.cancel()
        for other in superseded:
            turn = self._end_unheard(other)
            spawn(self._settle(turn), name=f"turn-{other.record.id}", on_error=self._owner.failed)

    def _begin(self, waiting: Waiting) -> None:
        turn = self._turn = self._make_turn(waiting)
        # It may have waited for long, and others have spent meanwhile.
        turn.start(agent_gone() if waiting.gone else None, lambda: self._permit(waiting))
        turn.open()

    async def _permit(self, waiting: Waiting) -> None:
        """Raise if nothing more may be spent; what is beyond a soft limit is in the decision.

        The turn was accepted: while nobody knows what was spent it waits, as long as its contract
        lets it.
        """
        record, now = waiting.record, asyncio.get_running_loop().time
        until, asked = now() + waiting.seat.retry_s, 0
        while True:
            asked += 1
            try:
                beyond = list(await self._beyond(record.user))
                break
            except StoreUnavailable:
                left_s = until - now()
                if left_s <= 0:
                    raise
                await asyncio.sleep(min(left_s, again_s(asked)))
        if beyond != record.decision.get("budget", []):
            decision = {name: of for name, of in record.decision.items() if name != "budget"}
            record.decision = {**decision, "budget": beyond} if beyond else decision

    async def _beyond(self, user: str | None) -> tuple[str, ...]:
        """The budgets that are beyond their soft limits.

        Raises `OverBudget`, or `StoreUnavailable` where nobody knows.
        """
        state = self._state
        return await self._purse.check(state.key.org_id, user or state.user, state.spent)

    def _make_turn(
        self,
        waiting: Waiting,
        items: Sequence[Message] = (),
        *,
        without: Message | None = None,
    ) -> Turn:
        compose = self._composer(waiting, items, without)
        return Turn(
            waiting.record,
            waiting.seat,
            self._desk.seat,
            compose,
            waiting.answer_position,
            self._log,
            self,
            self._clock,
            self._limits.turn_s,
            self._desk.budgets(self._state.key.org_id).turn.hard,
        )

    def _composer(
        self, waiting: Waiting, items: Sequence[Message] = (), without: Message | None = None
    ) -> Composer:
        before = [
            message
            for message in self._state.messages
            if message.position < waiting.answer_position and message is not without
        ]
        return Composer(waiting.record, waiting.seat, [*before, *items], self._state.summary)

    # -- what an earlier activation left --------------------------------------------------------

    def take_over(self, left: Sequence[OpenTurn]) -> None:
        """Go on with the turns that were open; the first may have begun, the others waited."""
        for number, one in enumerate(left):
            record = one.record
            seat = self._desk.seat(record.agent)
            gone = seat is None
            seat = seat or self._desk.any_seat()
            waiting = Waiting(record, seat, one.answer_position, gone=gone)
            # Not known where it stood in the log: then it is said again.
            if not record.accepted_seq or (one.may_have_begun and not record.first_seq):
                record.epoch = self._state.epoch
                self._say_accepted(waiting, one.input)
            else:
                waiting.accepted = Event(
                    record.accepted_seq, "accepted", record.id, -1, accepted_data(record, one.input)
                )
            if number == 0 and (one.may_have_begun or gone):
                self._resume(waiting)
            elif number == 0:
                self._begin(waiting)
            else:
                self._queue.append(waiting)
        self._owner.urgent()

    def _resume(self, waiting: Waiting) -> None:
        record, seat = waiting.record, waiting.seat
        most, epoch = self._limits.turn_attempts, self._state.epoch
        leg, failure = resumption(record, None if waiting.gone else seat, most, epoch)
        log.warning("%s lost its host: %s (attempt %d)", record.id, leg.policy, record.attempts)
        asked = self._composer(waiting)(seat, seat.first, None)
        record.charges = lost_charges(record, self._desk.in_force.seats, asked)
        turn = self._turn = self._make_turn(waiting)
        turn.resume(leg, failure, lambda: self._permit(waiting))

    # -- ending ---------------------------------------------------------------------------------

    async def cancel(self, response_id: str | None) -> ResponseRecord:
        """End the running turn or one that waits. Raises `NotFound`."""
        turn = self._turn
        if turn is not None and response_id in (None, turn.record.id):
            turn.cancel()
            await turn.done.wait()
            return turn.record.snapshot()
        for waiting in self._queue:
            if waiting.record.id == response_id:
                self._queue.remove(waiting)
                await self._settle(self._end_unheard(waiting))
                return waiting.record.snapshot()
        raise NotFound("No turn is running under that id.", param="response_id")

    def _end_unheard(self, waiting: Waiting) -> Turn:
        """Say all that a turn has to say that is cancelled while it waits; to be settled.

        In one go, since it stands in the midst of another turn's events: `context.replay` tells
        them apart by this.
        """
        turn = self._make_turn(waiting)
        turn.open()
        turn.record.status = "cancelled"
        turn.finalize()
        return turn

    def said(self, *, first: bool) -> None:
        if first:
            self._owner.urgent()
        else:
            self._owner.bulk()

    async def ended(self, turn: Turn) -> None:
        turn.finalize()
        await self._settle(turn)

    async def _settle(self, turn: Turn) -> None:
        state = self._state
        record = turn.record
        answer = None
        if record.text:
            at = record.completed_at or 0.0
            answer = Message(
                record.item_id, turn.answer_position, "assistant", record.text, at, record.id
            )
            insort(state.messages, answer, key=_position)
        del state.messages[: -self._limits.messages]
        self._purse.warn(state.key.org_id, record)
        try:
            await self._keep(record, answer)
        except Deposed:
            await self._owner.deposed()
            return
        self._note_end(record)
        self._purse.ended(state.key, record.user or state.user, record)
        # Durable first, then told: until `close`, the log holds back the end and what follows.
        turn.close()
        if self._turn is turn:
            self._turn = None
            self.settled_seq = self._log.seq
            kept = [waiting.accepted for waiting in self._queue if waiting.accepted is not None]
            self._memory.forget_events(state.key, state.epoch, kept)
            if self._queue and not self._draining:
                self._begin(self._queue.popleft())
            self._summarizer.consider(turn.seat, self._open_from())
        self._owner.rested()

    def _note_end(self, record: ResponseRecord) -> None:
        """The facts that rules ask for, as the next turn finds them."""
        state = self._state
        if record.text:
            state.agent = record.chosen
        state.spent += record.nano
        if record.status == "failed":
            state.failures += 1
        elif record.status != "cancelled":
            state.failures = 0

    def _open_from(self) -> int | None:
        """Position of the first message of what runs or waits."""
        if self._turn is None:
            return None
        mine = [m for m in self._state.messages if m.response_id == self._turn.record.id]
        return mine[0].position if mine else self._turn.answer_position

    def item_deleted(self, position: int) -> None:
        """A message is gone from the conversation."""
        self._summarizer.forget(position)

    def failed(self, error: BaseException) -> None:
        self._owner.failed(error)

    async def _keep(self, record: ResponseRecord, answer: Message | None) -> None:
        """Make the end durable; a store that is away is asked again, within bounds."""
        state = self._state
        away, in_doubt = StoreUnavailable("The store is away."), False
        for attempt in range(1, self._limits.save_attempts + 1):
            try:
                await self._memory.finish(
                    state.key, state.epoch, record.last_seq, record, answer, list(state.messages)
                )
                return
            except StoreUnavailable as error:
                log.warning("%s cannot be kept yet (%d): %s", record.id, attempt, error.message)
                away = error
                in_doubt = in_doubt or may_be_stored(error)
                if self._deleting:
                    break
                await asyncio.sleep(again_s(attempt))
        if not in_doubt:
            self._unkept.append(record)
        log.error("%s could not be kept: the store stayed away", record.id)
        record.status = "failed"
        record.error = {"code": away.cause_code, "message": "The answer could not be stored."}
        if away.retry_after is not None:
            record.error["retry_after"] = away.retry_after

    # -- leaving --------------------------------------------------------------------------------

    def drain(self) -> None:
        """Begin no further turn; what waits is for the next activation."""
        self._draining = True

    async def abandon(self) -> ResponseRecord | None:
        """Stop what runs without ending it: it stays open in the store, for whoever comes next.

        Whoever goes on with it estimates what it has cost.
        """
        self._abandoned = True
        self._queue.clear()
        await self._summarizer.stop()
        turn, self._turn = self._turn, None
        if turn is None:
            return None
        turn.cut()
        await turn.drop()
        return turn.record

    async def give_up(self) -> list[ResponseRecord]:
        """Stop what runs, since all of it is to be deleted; the turns of which nothing is counted.

        An end that is being written is written, with what it has cost, or it is known that it is
        not.
        """
        self._deleting = True
        self.drain()
        if self._turn is not None and self._turn.is_ending:
            await self._turn.done.wait()
        stopped = await self.abandon()
        return [*self._unkept, stopped] if stopped is not None else list(self._unkept)

    def pay(self, record: ResponseRecord, *, turns: int = 0) -> None:
        """Count what was asked for a turn of which the store will never hear."""
        state = self._state
        self._purse.charge(state.key.org_id, record.user or state.user, record.charges, turns=turns)

    async def finish(self, error: TroupeError) -> None:
        """End what runs as failed, and keep it."""
        self._queue.clear()
        await self._summarizer.stop()
        if self._turn is not None:
            self._turn.interrupt(error)
            await self._turn.done.wait()


def again_s(attempt: int) -> float:
    """Seconds after which a store that was away so often is asked again."""
    return min(1.0, 0.1 * attempt)


def may_be_stored(error: BaseException) -> bool:
    """Whether the write that ended by this may have gone through all the same."""
    return not isinstance(error, TroupeError) or error.details.get("written") == "unknown"


def _position(message: Message) -> int:
    return message.position
