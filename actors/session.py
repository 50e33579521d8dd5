"""A session: a bounded mailbox, one turn at a time, its conversation and its event log.

Commands are handled one after another, in the order in which they came, by a pump that lives only
while there is mail. Turns run beside the pump, one at a time; a turn that is asked for while
another runs waits its turn. Everything a session says goes through its log and from there, in
order, to every outlet that is attached. There MUST be no `await` between appending an event and
the change of state that it tells of.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.desk import Desk, Seat
from actors.log import EventLog
from actors.turn import Turn
from context.history import window
from contracts.agents import ModelRequest
from contracts.commands import (
    Accepted,
    AddItems,
    Attach,
    Attached,
    Cancel,
    Command,
    DeleteItem,
    Detach,
    DropSession,
    InputItem,
    Reply,
    SessionKey,
    Submit,
    TurnRequest,
    UpdateSession,
)
from contracts.decisions import RoutingInput
from contracts.errors import (
    Busy,
    Conflict,
    Deposed,
    HostUnavailable,
    NotFound,
    StoreUnavailable,
    TroupeError,
)
from contracts.events import Cursor, Event, events_of
from contracts.ids import MESSAGE, new_id
from contracts.memory import Memory, SessionState
from contracts.messages import ENDED, Message, ResponseRecord
from contracts.tasks import spawn

log = logging.getLogger("troupe.actors.session")


class SessionPost(Protocol):
    """How a session's words leave the host."""

    def reply(self, gateway_id: str, reply: Reply) -> None: ...

    def attach(self, gateway_id: str, session: Session) -> None: ...

    def detach(self, gateway_id: str, session: Session) -> None: ...

    def urgent(self, session: Session) -> None:
        """Ship the session's events now: somebody waits for them."""
        ...

    def bulk(self, session: Session) -> None:
        """Ship them at the session's next tick."""
        ...

    def ended(self, session: Session, *, moved: bool) -> None:
        """The session stops: forget it; `moved`: tell its readers to come back."""
        ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session.

    Args:
        mailbox: Turns that may run and wait at once.
        mail: Commands that may wait to be handled.
        messages: Messages kept in memory, newest first to stay.
        replay_events: Events rebuilt from the store for one reader at most.
        save_attempts: How often an ended turn is offered to a store that is away, about a
            second apart, before the host gives it up.
    """

    mailbox: int
    mail: int
    messages: int
    replay_events: int
    save_attempts: int


@dataclass(slots=True)
class Waiting:
    """A turn whose input is durable and whose time has not come."""

    record: ResponseRecord
    seat: Seat
    instructions: str | None
    answer_position: int


class Session:
    """One activation of one session. See the module for its rules.

    Args:
        key: Its address.
        memory: Where it is activated from and kept in.
        desk: Who can answer.
        post: The way out.
        clock: Unix seconds.
    """

    def __init__(
        self,
        key: SessionKey,
        memory: Memory,
        desk: Desk,
        post: SessionPost,
        limits: SessionLimits,
        clock: Callable[[], float],
    ) -> None:
        self.key = key
        self.idle_since = clock()
        self.shipped_at = 0.0
        """When the pacer last shipped it, by the loop's clock; the pacer's own."""
        self.log = EventLog(0, 0)
        self._memory = memory
        self._desk = desk
        self._post = post
        self._limits = limits
        self._clock = clock
        self._state: SessionState | None = None
        self._mail: deque[tuple[str, Command]] = deque()
        self._pumping = False
        self._turn: Turn | None = None
        self._queue: deque[Waiting] = deque()
        self._stopped = False

    # -- mailbox --------------------------------------------------------------------------------

    def put(self, gateway_id: str, command: Command) -> None:
        """Take a command; it is answered through the post, never by raising."""
        if self._stopped:
            self._refuse(gateway_id, command, Deposed("The session has moved."))
            return
        if len(self._mail) >= self._limits.mail:
            full = Busy("The session's mailbox is full.", code="mailbox_full", retry_after=1)
            self._refuse(gateway_id, command, full)
            return
        self._mail.append((gateway_id, command))
        if not self._pumping:
            self._pumping = True
            spawn(self._pump(), name=f"session-{self.key.session_id}", on_error=self._pump_died)

    def _refuse(self, gateway_id: str, command: Command, error: TroupeError) -> None:
        if not isinstance(command, Detach):
            self._post.reply(gateway_id, Reply(command.call, None, error))

    async def _pump(self) -> None:
        if self._state is None and not await self._activate():
            return
        while self._mail:
            gateway_id, command = self._mail.popleft()
            try:
                value = await self._handle(gateway_id, command)
            except Deposed as error:
                self._refuse(gateway_id, command, error)
                await self._depose()
                return
            except TroupeError as error:
                self._refuse(gateway_id, command, error)
                continue
            if not isinstance(command, Detach):
                self._post.reply(gateway_id, Reply(command.call, value))
        self._pumping = False
        self._touch()

    def _pump_died(self, error: BaseException) -> None:
        log.error("session %s failed", self.key.session_id, exc_info=error)
        self._stop(HostUnavailable("The session failed; try again.", retry_after=1), moved=True)

    async def _activate(self) -> bool:
        try:
            state = await self._memory.activate(self.key)
        except TroupeError as error:
            self._stop(error, moved=False)
            return False
        self._state = state
        self.log = EventLog(state.epoch, state.seq)
        return True

    @property
    def state(self) -> SessionState:
        """What the activation stands on; only for an active session."""
        assert self._state is not None, "the session is not active"
        return self._state

    # -- commands -------------------------------------------------------------------------------

    async def _handle(self, gateway_id: str, command: Command) -> Any:
        match command:
            case Submit():
                return await self._submit(gateway_id, command.turn)
            case Attach():
                return await self._attach(gateway_id, command)
            case Detach():
                self._post.detach(gateway_id, self)
                return None
            case Cancel():
                return await self._cancel(command.response_id)
            case AddItems():
                return await self._add_items(command.items)
            case DeleteItem():
                return await self._delete_item(command.item_id)
            case UpdateSession():
                state = self.state
                await self._memory.update_metadata(self.key, state.epoch, command.metadata)
                state.metadata = command.metadata
                return None
            case DropSession():
                await self._drop()
                return None
            case _:
                raise AssertionError(f"no such command: {command!r}")

    async def _attach(self, gateway_id: str, command: Attach) -> Attached:
        # Ship first: those already attached get what is there before the newcomer's replay ends.
        self._ship()
        events = self.log
        recovered, snapshot = True, None
        replay: tuple[Event, ...] | None = ()
        if command.response_id is not None:
            replay = events.of(command.response_id, command.number)
            if replay is None:
                replay = await self._ended_response(command.response_id)
        elif command.after is not None:
            after = command.after
            replay = events.since(after.seq) if after.epoch == events.epoch else None
            if replay is None and after.epoch > 0:
                replay = await self._replay(after)
            if replay is None:
                recovered = False
                snapshot, replay = self._snapshot()
        # The store was asked meanwhile: what was said since then belongs to the replay as well.
        # Nothing awaits between here and the reply, which the post queues before later events.
        self._post.attach(gateway_id, self)
        return Attached(events.epoch, events.shipped_seq, recovered, replay or (), snapshot)

    async def _replay(self, after: Cursor) -> tuple[Event, ...] | None:
        """Events after the cursor from the store, then from the log: gap-free or None."""
        stored = await self._memory.events_since(self.key, after, self._limits.replay_events)
        if stored is None:
            return None
        self._ship()
        fresh = self.log.since(stored[-1].seq if stored else after.seq)
        return None if fresh is None else (*stored, *fresh)

    async def _ended_response(self, response_id: str) -> tuple[Event, ...]:
        record = await self._memory.response(self.key.org_id, response_id)
        if record.session_id != self.key.session_id or record.status not in ENDED:
            raise NotFound(f"No response {response_id!r} to read here.", param="response_id")
        return tuple(events_of(record))

    def _snapshot(self) -> tuple[tuple[Message, ...], tuple[Event, ...]]:
        """What to show in place of what was: the newest messages, the running turn's events."""
        events: tuple[Event, ...] = ()
        if self._turn is not None and self._turn.is_open:
            events = self.log.since(self._turn.record.first_seq - 1) or ()
        return tuple(self.state.messages), events

    async def _submit(self, gateway_id: str, asked: TurnRequest) -> Accepted:
        state = self.state
        running = self._turn is not None
        if running + len(self._queue) >= self._limits.mailbox:
            raise Busy(
                f"{self._limits.mailbox} turns are running or waiting in this conversation.",
                code="mailbox_full",
                retry_after=1,
            )
        previous = asked.previous_response_id
        if previous is not None and previous != state.last_response_id:
            raise Conflict(
                "The conversation has gone on since that response.",
                param="previous_response_id",
                code="conversation_advanced",
            )
        text = asked.input[-1].text if asked.input else ""
        metadata = {**state.metadata, **asked.metadata}
        decision, seat = self._desk.choose(
            asked.model, RoutingInput(text, metadata, asked.user or state.user)
        )
        record = ResponseRecord(
            id=asked.response_id,
            session_id=self.key.session_id,
            status="queued",
            model=asked.model,
            agent=seat.name,
            created_at=self._clock(),
            item_id=new_id(MESSAGE),
            epoch=state.epoch,
            client_id=asked.client_id,
            user=asked.user,
            previous_response_id=previous,
            instructions=asked.instructions,
            temperature=asked.temperature,
            top_p=asked.top_p,
            max_output_tokens=asked.max_output_tokens,
            background=asked.background,
            metadata=dict(asked.metadata),
            decision=decision.as_dict(),
        )
        log.info(
            "%s in %s goes to %s: %s", record.id, self.key.session_id, seat.name, decision.reason
        )
        items = self._messages(asked.input, record.id)
        waiting = Waiting(record, seat, asked.instructions, state.position + len(items) + 1)
        turn = None
        if not running:
            # The model is asked while the store writes: see turn.py.
            turn = self._turn = self._make_turn(waiting, items)
            turn.start()
        try:
            await self._memory.accept(self.key, state.epoch, self.log.seq, record, items)
        except BaseException:
            if turn is not None:
                await turn.drop()
                self._turn = None
            raise
        # The answer's place is kept now: what is said meanwhile comes after it.
        state.position = waiting.answer_position
        state.messages.extend(items)
        state.last_response_id = record.id
        accepted = self.log.append(
            "accepted", record.id, -1, {"input": items, "client_id": asked.client_id}
        )
        record.accepted_seq = accepted.seq
        if turn is not None:
            turn.open(self.log)
        elif self._turn is None:
            # The turn before ended while the store wrote.
            self._begin(waiting)
        else:
            self._queue.append(waiting)
        self._post.urgent(self)
        return Accepted(record.id, state.epoch, accepted.seq, record.snapshot())

    def _begin(self, waiting: Waiting) -> None:
        self._turn = self._make_turn(waiting)
        self._turn.start()
        self._turn.open(self.log)

    def _make_turn(self, waiting: Waiting, items: Sequence[Message] = ()) -> Turn:
        seat, record = waiting.seat, waiting.record
        before = [m for m in self.state.messages if m.position < waiting.answer_position]
        messages = [*before, *items]
        instructions = waiting.instructions or seat.instructions
        request = ModelRequest(
            model=seat.model,
            messages=tuple(window(messages, seat.context_tokens, instructions)),
            instructions=instructions,
            temperature=record.temperature if record.temperature is not None else seat.temperature,
            top_p=record.top_p,
            max_output_tokens=record.max_output_tokens or seat.max_output_tokens,
        )
        return Turn(record, seat, request, waiting.answer_position, self, self._clock)

    def _messages(self, items: tuple[InputItem, ...], response_id: str | None) -> list[Message]:
        now = self._clock()
        return [
            Message(
                new_id(MESSAGE), self.state.position + n, item.role, item.text, now, response_id
            )
            for n, item in enumerate(items, start=1)
        ]

    async def _cancel(self, response_id: str | None) -> ResponseRecord:
        turn = self._turn
        if turn is not None and response_id in (None, turn.record.id):
            turn.cancel()
            await turn.done.wait()
            return turn.record.snapshot()
        for waiting in self._queue:
            if waiting.record.id == response_id:
                self._queue.remove(waiting)
                turn = self._make_turn(waiting)
                turn.open(self.log)
                turn.record.status = "cancelled"
                await self.ended(turn)
                return turn.record.snapshot()
        raise NotFound("No turn is running under that id.", param="response_id")

    async def _add_items(self, items: tuple[InputItem, ...]) -> list[Message]:
        self._not_during_a_turn()
        state = self.state
        messages = self._messages(items, None)
        kept = [*state.messages, *messages][-self._limits.messages :]
        seq = self.log.seq + 1
        await self._memory.add_items(self.key, state.epoch, seq, messages, kept)
        state.position += len(messages)
        state.messages = kept
        self.log.append("item", None, -1, {"items": messages})
        self._post.urgent(self)
        return messages

    async def _delete_item(self, item_id: str) -> None:
        self._not_during_a_turn()
        state = self.state
        kept = [message for message in state.messages if message.id != item_id]
        await self._memory.delete_item(self.key, state.epoch, item_id, kept)
        state.messages = kept

    def _not_during_a_turn(self) -> None:
        if self._turn is not None or self._queue:
            raise Conflict(
                "A turn is running in this conversation.", code="conversation_locked", retry_after=1
            )

    async def _drop(self) -> None:
        if self._turn is not None:
            await self._turn.drop()
            self._turn = None
        self._queue.clear()
        await self._memory.drop(self.key, self.state.epoch)
        self._stop(NotFound("The conversation was deleted."), moved=True)

    # -- the turn's side (TurnOwner) ------------------------------------------------------------

    def said(self, *, first: bool) -> None:
        if first:
            self._post.urgent(self)
        else:
            self._post.bulk(self)

    async def ended(self, turn: Turn) -> None:
        state = self.state
        record = turn.record
        turn.finalize(self.log)
        answer = None
        if record.text:
            at = record.completed_at or 0.0
            answer = Message(
                record.item_id, turn.answer_position, "assistant", record.text, at, record.id
            )
            insort(state.messages, answer, key=_position)
        del state.messages[: -self._limits.messages]
        try:
            await self._keep(record, answer)
        except Deposed:
            await self._depose()
            return
        # Durable first, then told: until `close`, the log holds back the end and what follows.
        turn.close(self.log)
        if self._turn is turn:
            self._turn = None
            if self._queue:
                self._begin(self._queue.popleft())
        self._post.urgent(self)
        self._touch()

    def failed(self, error: BaseException) -> None:
        self._stop(HostUnavailable("The session failed; try again.", retry_after=1), moved=True)

    async def _keep(self, record: ResponseRecord, answer: Message | None) -> None:
        """Make the end durable; a store that is away is asked again, within bounds."""
        state = self.state
        away = StoreUnavailable("The store is away.")
        for attempt in range(1, self._limits.save_attempts + 1):
            try:
                await self._memory.finish(
                    self.key, state.epoch, record.last_seq, record, answer, list(state.messages)
                )
                return
            except StoreUnavailable as error:
                log.warning("%s cannot be kept yet (%d): %s", record.id, attempt, error.message)
                away = error
                await asyncio.sleep(min(1.0, 0.1 * attempt))
        log.error("%s could not be kept: the store stayed away", record.id)
        record.status = "failed"
        record.error = {"code": away.cause_code, "message": "The answer could not be stored."}

    # -- events ---------------------------------------------------------------------------------

    def take(self) -> tuple[int, tuple[Event, ...]]:
        """Cut the running turn's text and hand out what nobody was given yet (post only)."""
        if self._turn is not None:
            self._turn.cut(self.log)
        return self.log.epoch, self.log.unshipped()

    def _ship(self) -> None:
        self._post.urgent(self)

    def _touch(self) -> None:
        self.idle_since = self._clock()

    @property
    def is_idle(self) -> bool:
        """Nothing runs, waits or is being handled."""
        return self._turn is None and not self._queue and not self._pumping

    def rest(self) -> None:
        """Forget the events of ended turns; the store can give them back."""
        if self.is_idle:
            self.log.trim()

    # -- the end --------------------------------------------------------------------------------

    async def _depose(self) -> None:
        log.warning("session %s epoch %d is deposed", self.key.session_id, self.log.epoch)
        turn, self._turn = self._turn, None
        self._stop(Deposed("The session has moved."), moved=True)
        if turn is not None:
            await turn.drop()

    def _stop(self, error: TroupeError, *, moved: bool) -> None:
        self._stopped = True
        while self._mail:
            gateway_id, command = self._mail.popleft()
            self._refuse(gateway_id, command, error)
        self._queue.clear()
        self._pumping = False
        self._post.ended(self, moved=moved)

    async def close(self) -> None:
        """Stop for good. A running turn ends as failed and is kept with what was said."""
        turn = self._turn
        self._queue.clear()
        if turn is not None:
            turn.interrupt(HostUnavailable("The host is shutting down.", code="host_shutdown"))
            await turn.done.wait()
        self._stop(HostUnavailable("The host is shutting down.", retry_after=1), moved=True)


def _position(message: Message) -> int:
    return message.position
