"""A session: a bounded mailbox, its turns, its conversation and its event log.

Commands are handled one after another, in the order in which they came, by a pump that lives only
while there is mail. Turns run beside the pump, one at a time (`turns`). Everything a session says
goes through its log and from there, in order, to every outlet that is attached. There MUST be no
`await` between appending an event and the change of state that it tells of.

    new ─ activate ─> active ─┬─ idle ──────────────> let go (its readers sleep)
                              ├─ a newer epoch ─────> deposed (its readers attach elsewhere)
                              ├─ the host drains ───> abandoned; open turns stay open in the store
                              └─ deleted, failed ───> stopped
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from actors.beginning import locked, messages_of
from actors.desk import Desk
from actors.limits import SessionLimits
from actors.log import EventLog
from actors.purse import Purse
from actors.turns import Turns, again_s, may_be_stored
from contracts.commands import (
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
    UpdateSession,
)
from contracts.errors import (
    Busy,
    Conflict,
    Deposed,
    HostUnavailable,
    NotFound,
    StoreUnavailable,
    TroupeError,
)
from contracts.events import Cursor, Event, Kind, events_of
from contracts.memory import Memory, SessionState
from contracts.messages import ENDED, Message
from contracts.money import usd
from contracts.tasks import spawn

log = logging.getLogger("troupe.actors.session")

_NOTED: frozenset[Kind] = frozenset({"accepted", "started", "delta", "resumed"})
"""What no row of the store holds when readers are told of it."""


class SessionPost(Protocol):
    """How a session's words leave the host."""

    def reply(self, gateway_id: str, reply: Reply) -> None: ...

    def attach(self, gateway_id: str, session: Session) -> None: ...

    def detach(self, gateway_id: str, session: Session) -> None: ...

    def woke(self, session: Session) -> None:
        """The session is active: whoever holds sleeping readers of it may attach them."""
        ...

    def urgent(self, session: Session) -> None:
        """Ship the session's events now: somebody waits for them."""
        ...

    def bulk(self, session: Session) -> None:
        """Ship them at the session's next tick."""
        ...

    def rested(self, session: Session) -> None:
        """Something has come to its end in it; maybe nothing is left to do."""
        ...

    def ended(self, session: Session, *, moved: bool) -> None:
        """The session stops: forget it; `moved`: tell its readers to come back."""
        ...


class Session:
    """One activation of one session. See the module for its rules.

    Args:
        key: Its address.
        memory: Where it is activated from and kept in.
        desk: Who can answer.
        purse: What that may cost.
        post: The way out.
        clock: Unix seconds.
    """

    def __init__(
        self,
        key: SessionKey,
        memory: Memory,
        desk: Desk,
        purse: Purse,
        post: SessionPost,
        limits: SessionLimits,
        clock: Callable[[], float],
    ) -> None:
        self.key = key
        self.idle_since = clock()
        self.shipped_at = 0.0
        """When the pacer last shipped it, by the loop's clock; the pacer's own."""
        self._memory = memory
        self.log = EventLog(0, 0)
        self._desk = desk
        self._purse = purse
        self._post = post
        self._limits = limits
        self._clock = clock
        self._state: SessionState | None = None
        self._turns: Turns | None = None
        self._mail: deque[tuple[str, Command]] = deque()
        self._pumping = False
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
        if self._turns is not None and isinstance(command, (Cancel, DropSession)):
            self._turns.hurry()
        self.wake()

    def wake(self) -> None:
        """Activate it, and handle what is there."""
        if not self._pumping and not self._stopped:
            self._pumping = True
            spawn(self._pump(), name=f"session-{self.key.session_id}", on_error=self.failed)

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
                await self.deposed()
                return
            except TroupeError as error:
                self._refuse(gateway_id, command, error)
                continue
            if not isinstance(command, Detach):
                self._post.reply(gateway_id, Reply(command.call, value))
        self._pumping = False
        self._touch()
        self._post.rested(self)

    async def _activate(self) -> bool:
        try:
            state = await self._memory.activate(self.key)
        except TroupeError as error:
            self._stop(error, moved=False)
            return False
        if self._stopped:
            return False
        self._state = state
        known = state.open_turns[0].record.epoch if state.events else state.written_epoch
        self.log = EventLog(state.epoch, state.seq, known, state.events)
        self._turns = Turns(
            state, self.log, self._memory, self._desk, self._purse, self._limits, self._clock, self
        )
        self._post.woke(self)
        if state.open_turns:
            self._turns.take_over(state.open_turns)
            state.open_turns, state.events = [], []
        return True

    @property
    def state(self) -> SessionState:
        """What the activation stands on; only for an active session."""
        assert self._state is not None, "the session is not active"
        return self._state

    @property
    def turns(self) -> Turns:
        """What runs and waits; only for an active session."""
        assert self._turns is not None, "the session is not active"
        return self._turns

    # -- commands -------------------------------------------------------------------------------

    async def _handle(self, gateway_id: str, command: Command) -> Any:
        match command:
            case Submit():
                return await self.turns.submit(command.turn)
            case Attach():
                return await self._attach(gateway_id, command)
            case Detach():
                self._post.detach(gateway_id, self)
                return None
            case Cancel():
                return await self.turns.cancel(command.response_id)
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
                self._not_in_use(command.unused_since)
                await self._drop()
                return None
            case _:
                raise AssertionError(f"no such command: {command!r}")

    async def _attach(self, gateway_id: str, command: Attach) -> Attached:
        # Ship first: those already attached get what is there before the newcomer's replay ends.
        self.urgent()
        events = self.log
        recovered, snapshot = True, None
        replay: tuple[Event, ...] | None = ()
        if command.response_id is not None:
            replay = events.of(command.response_id, command.number)
            if replay is None:
                replay = await self._ended_response(command.response_id)
        elif command.after is not None:
            replay = events.since(command.after)
            if replay is None and command.after.epoch > 0:
                replay = await self._replay(command.after)
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
        self.urgent()
        fresh = self.log.after(stored[-1].seq if stored else after.seq)
        return None if fresh is None else (*stored, *fresh)

    async def _ended_response(self, response_id: str) -> tuple[Event, ...]:
        record = await self._memory.response(self.key.org_id, response_id)
        if record.session_id != self.key.session_id or record.status not in ENDED:
            raise NotFound(f"No response {response_id!r} to read here.", param="response_id")
        return tuple(events_of(record))

    def _snapshot(self) -> tuple[tuple[Message, ...], tuple[Event, ...]]:
        """What to show in place of what was: the newest messages, the running turn's events."""
        events: tuple[Event, ...] = ()
        turn = self.turns.running
        if turn is not None and turn.is_open:
            events = self.log.after(turn.record.first_seq - 1) or ()
        return tuple(self.state.messages), events

    async def _add_items(self, items: tuple[InputItem, ...]) -> list[Message]:
        self._not_during_a_turn()
        state = self.state
        messages = messages_of(items, state.position, self._clock(), None)
        kept = [*state.messages, *messages][-self._limits.messages :]
        seq = self.log.seq + 1
        await self._memory.add_items(self.key, state.epoch, seq, messages, kept)
        state.position += len(messages)
        state.messages = kept
        self.log.append("item", None, -1, {"items": messages})
        self.urgent()
        return messages

    async def _delete_item(self, item_id: str) -> None:
        self._not_during_a_turn()
        state = self.state
        kept = [message for message in state.messages if message.id != item_id]
        await self._memory.delete_item(self.key, state.epoch, item_id, kept)
        # One that is no longer loaded is older than all that are.
        gone = [message.position for message in state.messages if message.id == item_id]
        self.turns.item_deleted(gone[0] if gone else 0)
        state.messages = kept

    def _not_during_a_turn(self) -> None:
        if not self.turns.none:
            raise locked()

    def _not_in_use(self, since: float | None) -> None:
        """Refuse if a turn runs, or something was said at that moment or later."""
        if since is None:
            return
        messages = self.state.messages
        if not self.turns.none or (messages and messages[-1].created_at >= since):
            raise Conflict("The conversation is in use.", code="conversation_in_use")

    async def _drop(self) -> None:
        stopped = await self.turns.give_up()
        try:
            await self._delete()
        except TroupeError as error:
            # What ran has stopped already; whoever activates the session next goes on with it.
            nano = sum(record.nano for record in stopped)
            if nano and may_be_stored(error):
                org_id, why = self.key.org_id, error.message
                log.error("%s: $%.6f may not be counted: %s", org_id, usd(nano), why)
            self._stop(Deposed("The session has moved.", retry_after=0), moved=True)
            raise
        for record in stopped:
            self.turns.pay(record, turns=1)
        self._stop(NotFound("The conversation was deleted."), moved=True)

    async def _delete(self) -> None:
        """Delete it in the store, which is asked again where its answer was lost, within bounds.

        Nobody can activate what was deleted: whether it was decides who pays for what ran.
        """
        doubt: StoreUnavailable | None = None
        for attempt in range(1, self._limits.save_attempts + 1):
            try:
                await self._memory.drop(self.key, self.state.epoch)
                return
            except NotFound:
                if doubt is None:
                    raise
                return
            except StoreUnavailable as error:
                if doubt is None and not may_be_stored(error):
                    raise
                doubt = doubt or error
                await asyncio.sleep(again_s(attempt))
        assert doubt is not None, "it is asked at least once"
        raise doubt

    # -- the turns' side (TurnsOwner) -----------------------------------------------------------

    def urgent(self) -> None:
        self._post.urgent(self)

    def bulk(self) -> None:
        self._post.bulk(self)

    def rested(self) -> None:
        self.urgent()
        self._touch()
        self._post.rested(self)

    async def deposed(self) -> None:
        log.warning("session %s epoch %d is deposed", self.key.session_id, self.log.epoch)
        self._stop(Deposed("The session has moved."), moved=True)
        if self._turns is not None:
            await self._turns.abandon()

    def failed(self, error: BaseException) -> None:
        log.error("session %s failed", self.key.session_id, exc_info=error)
        self._stop(HostUnavailable("The session failed; try again.", retry_after=1), moved=True)

    # -- events ---------------------------------------------------------------------------------

    def take(self) -> tuple[int, tuple[Event, ...]]:
        """Cut the running turn's text and hand out what nobody was given yet (post only).

        What is durable nowhere else is noted first: readers are told nothing that is not on record.
        """
        if self._turns is None:
            return self.log.epoch, ()
        self._turns.cut()
        events, settled = self.log.unshipped(), self._turns.settled_seq
        noted = [event for event in events if event.seq > settled and event.kind in _NOTED]
        if noted:
            self._memory.note_events(self.key, self.log.epoch, noted)
        return self.log.epoch, events

    def _touch(self) -> None:
        self.idle_since = self._clock()

    @property
    def is_active(self) -> bool:
        """Activated and not stopped."""
        return self._state is not None and not self._stopped

    @property
    def is_busy(self) -> bool:
        """Commands are being handled."""
        return self._pumping

    @property
    def is_idle(self) -> bool:
        """Nothing runs, waits or is being handled."""
        return not self._pumping and (self._turns is None or self._turns.none)

    @property
    def has_turn(self) -> bool:
        """A turn is running."""
        return self._turns is not None and self._turns.running is not None

    @property
    def waiting(self) -> int:
        """Turns that wait for another one to end."""
        return 0 if self._turns is None else self._turns.waiting

    def rest(self) -> None:
        """Forget the events of ended turns; the store can give them back."""
        if self.is_idle:
            self.log.trim()

    # -- the end --------------------------------------------------------------------------------

    def _stop(self, error: TroupeError, *, moved: bool) -> None:
        self._stopped = True
        while self._mail:
            gateway_id, command = self._mail.popleft()
            self._refuse(gateway_id, command, error)
        self._pumping = False
        self._post.ended(self, moved=moved)

    def drain(self) -> None:
        """Begin no further turn here."""
        if self._turns is not None:
            self._turns.drain()

    async def abandon(self) -> None:
        """Stop here and leave open turns to the next activation; readers attach there."""
        if self._turns is not None:
            await self._turns.abandon()
            self.urgent()
        self._stop(Deposed("The session has moved.", retry_after=0), moved=True)

    async def close(self) -> None:
        """Stop for good. A running turn ends as failed and is kept with what was said."""
        if self._turns is not None:
            shutdown = HostUnavailable("The host is shutting down.", code="host_shutdown")
            await self._turns.finish(shutdown)
        self._stop(HostUnavailable("The host is shutting down.", retry_after=1), moved=True)
