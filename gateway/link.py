"""The gateway's link to session hosts: commands up in batches, replies and events down one pipe.

A `Line` is the link to one host. Its sender task keeps one batch in flight and gathers the next
meanwhile, so commands of one gateway reach a host in order. Its receiver task reads the host's
pipe and hands out what comes, synchronously and in order: that is why a `Reader` that is added
while the reply to its `Attach` is handled sees every later event and no earlier one. There MUST
be no `await` between taking a parcel and handing out its items.

A host that breaks its pipe, or stays silent past the keep-alive, is given up: its pending calls
fail with `HostUnavailable` and its readers end with it; callers come back and are placed elsewhere.
Acting on mere suspicion is safe, because a session's epoch fences the host that lives on.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

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
    EventBatch,
    InputItem,
    Moved,
    Parcel,
    SessionKey,
    Slept,
    Submit,
    TurnRequest,
    UpdateSession,
    Woke,
)
from contracts.errors import Busy, Deposed, HostUnavailable, TroupeError
from contracts.events import Cursor, Event
from contracts.hosts import HostAddress, HostClient, Locator
from contracts.messages import Message, ResponseRecord
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.gateway.link")


class Reader:
    """One reader's share of a session's events: bounded, never blocking the link.

    A reader that does not keep up is cut with `Busy` (code `slow_reader`); it may come back with
    its cursor and will get what it missed.
    """

    def __init__(self, key: SessionKey, limit: int, close: Callable[[Reader], None]) -> None:
        self.key = key
        self.attached = Attached(0, 0, True, ())
        self._limit = limit
        self._close = close
        self._events: list[tuple[int, Event]] = []
        self._arrived: asyncio.Future[None] | None = None
        self._error: TroupeError | None = None

    def push(self, epoch: int, events: Sequence[Event]) -> None:
        """Called by the link."""
        if self._error is not None:
            return
        if len(self._events) + len(events) > self._limit:
            self.fail(Busy("The reader did not keep up with the session.", code="slow_reader"))
            return
        self._events.extend([(epoch, event) for event in events])
        self._wake()

    def begin(self, attached: Attached) -> None:
        """Called by the link with the answer to `Attach`, before any live event."""
        self.attached = attached
        self._events.extend([(attached.epoch, event) for event in attached.events])
        self._wake()

    def fail(self, error: TroupeError) -> None:
        """End the reader with `error`, after what it already holds has been read."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def next(self) -> list[tuple[int, Event]]:
        """All events that are there, at least one, each with its epoch.

        Raises:
            TroupeError: the reader was cut or its host is gone.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        events, self._events = self._events, []
        return events

    async def of(self, response_id: str) -> AsyncIterator[tuple[int, Event]]:
        """The events of one response, up to and including its end."""
        while True:
            for epoch, event in await self.next():
                if event.response_id == response_id:
                    yield epoch, event
                    if event.kind == "ended":
                        return

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._close(self)


Waiter = tuple["asyncio.Future[Any]", "Callable[[Any], None] | None", SessionKey]


class Line:
    """The link to one host."""

    def __init__(
        self,
        host: HostClient,
        gateway_id: str,
        silence_s: float,
        deliver: Callable[[EventBatch], None],
        moved: Callable[[Moved], None],
        lost: Callable[[Line, BaseException], None],
    ) -> None:
        self.host = host
        self.waiting: dict[int, Waiter] = {}
        self._gateway_id = gateway_id
        self._silence_s = silence_s
        self._deliver = deliver
        self._moved = moved
        self._lost = lost
        self._outgoing: list[Command] = []
        self._wanted = asyncio.Event()
        self._opened = asyncio.Event()
        name = host.host_id
        self._tasks = [
            spawn(self._receive(), name=f"link-receive-{name}", on_error=self._broken),
            spawn(self._send(), name=f"link-send-{name}", on_error=self._broken),
        ]

    def put(self, command: Command) -> None:
        self._outgoing.append(command)
        self._wanted.set()

    def _broken(self, error: BaseException) -> None:
        self._lost(self, error)

    async def _send(self) -> None:
        # The pipe is opened first: an answer must never find the host without a way back.
        await self._opened.wait()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            batch, self._outgoing = self._outgoing, []
            if batch:
                await self.host.submit(self._gateway_id, batch)

    async def _receive(self) -> None:
        pipe = self.host.pipe(self._gateway_id)
        async with aclosing(pipe) as parcels:  # type: ignore[type-var]
            while True:
                async with asyncio.timeout(self._silence_s):
                    data = await anext(parcels)
                self._opened.set()
                self._hand_out(pickle.loads(data))

    def _hand_out(self, parcel: Parcel) -> None:
        for item in parcel:
            if isinstance(item, EventBatch):
                self._deliver(item)
                continue
            if isinstance(item, (Moved, Slept)):
                self._moved(Moved(item.key))
                continue
            if isinstance(item, Woke):
                continue
            waiter = self.waiting.pop(item.call, None)
            if waiter is None:
                continue
            future, on_value, _ = waiter
            if future.done():
                continue
            if item.error is not None:
                future.set_exception(item.error)
                continue
            if on_value is not None:
                on_value(item.value)
            future.set_result(item.value)

    async def close(self) -> None:
        await stop(*self._tasks)


class Link:
    """All of a gateway's lines, its readers, and the calls its routes make.

    Args:
        gateway_id: Unique among living gateways; hosts keep one pipe for each.
        locator: Finds and places sessions.
        connect: Makes the client of a host from its address.
        silence_s: A pipe silent for this long is given up.
        reader_events: How many events a reader may hold before it is cut.
        placements: How many session placements to remember.
        call_timeout_s: How long a call may wait for its reply.
    """

    def __init__(
        self,
        gateway_id: str,
        locator: Locator,
        connect: Callable[[HostAddress], HostClient],
        *,
        silence_s: float,
        reader_events: int,
        placements: int,
        call_timeout_s: float,
    ) -> None:
        self.gateway_id = gateway_id
        self._locator = locator
        self._connect = connect
        self._silence_s = silence_s
        self._reader_events = reader_events
        self._max_placements = placements
        self._call_timeout_s = call_timeout_s
        self._calls = itertools.count(1)
        self._lines: dict[str, Line] = {}
        self._placed: OrderedDict[SessionKey, Line] = OrderedDict()
        self._locating: dict[SessionKey, asyncio.Future[Line]] = {}
        self._to_locate: list[SessionKey] = []
        self._readers: dict[SessionKey, list[Reader]] = {}
        self._locate_task: asyncio.Task[None] | None = None

    # -- what routes call -----------------------------------------------------------------------

    async def attach(
        self,
        key: SessionKey,
        *,
        after: Cursor | None = None,
        response_id: str | None = None,
        number: int = -1,
    ) -> Reader:
        """Read a session's events: from now on, after a cursor, or from a place in a response.

        Close the reader when done. Raises `NotFound`, `HostUnavailable`.
        """
        line = await self._line_of(key)
        reader = Reader(key, self._reader_events, self._close_reader)
        await self._attach(line, reader, after, response_id, number)
        return reader

    async def submit(self, key: SessionKey, turn: TurnRequest) -> Accepted:
        """Begin a turn; returns once its input is durable."""
        return await self._call(key, lambda call: Submit(call, key, turn))

    async def start(self, key: SessionKey, turn: TurnRequest) -> tuple[Accepted, Reader]:
        """Begin a turn and read its session's events from just before it."""
        line = await self._line_of(key)
        reader = Reader(key, self._reader_events, self._close_reader)
        attached = spawn(self._attach(line, reader, None, None, -1), name="attach", on_error=_seen)
        # One batch, in order: the attachment is made before the turn can say a word.
        await asyncio.sleep(0)
        try:
            accepted: Accepted = await self._request(
                line, lambda call: Submit(call, key, turn), key
            )
            await attached
        except BaseException:
            await stop(attached)
            reader.close()
            raise
        return accepted, reader

    async def cancel(self, key: SessionKey, response_id: str | None = None) -> ResponseRecord:
        """End a running or queued turn. Raises `NotFound` when there is none."""
        return await self._call(key, lambda call: Cancel(call, key, response_id))

    async def add_items(self, key: SessionKey, items: tuple[InputItem, ...]) -> list[Message]:
        """Append items to the conversation without a turn."""
        return await self._call(key, lambda call: AddItems(call, key, items))

    async def delete_item(self, key: SessionKey, item_id: str) -> None:
        """Remove one item. Raises `NotFound`."""
        await self._call(key, lambda call: DeleteItem(call, key, item_id))

    async def update(self, key: SessionKey, metadata: dict[str, str]) -> None:
        """Replace the conversation's metadata."""
        await self._call(key, lambda call: UpdateSession(call, key, metadata))

    async def drop(self, key: SessionKey, *, unused_since: float | None = None) -> None:
        """Delete the conversation and all it holds.

        Raises `Conflict` where something was said in it since `unused_since`.
        """
        await self._call(key, lambda call: DropSession(call, key, unused_since))

    async def close(self) -> None:
        """Drop every line; readers end with `HostUnavailable`."""
        for line in list(self._lines.values()):
            self._give_up(line, HostUnavailable("The gateway is shutting down."))
            await line.close()
        await stop(self._locate_task)

    # -- calls ------------------------------------------------------------------------------------

    async def _call(self, key: SessionKey, make: Callable[[int], Command]) -> Any:
        line = await self._line_of(key)
        try:
            return await self._request(line, make, key)
        except Deposed:
            # The session lives elsewhere now; what was asked was not done, so ask there, once.
            self._placed.pop(key, None)
            return await self._request(await self._line_of(key), make, key)

    async def _request(
        self,
        line: Line,
        make: Callable[[int], Command],
        key: SessionKey,
        on_value: Callable[[Any], None] | None = None,
    ) -> Any:
        call = next(self._calls)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        line.waiting[call] = (future, on_value, key)
        line.put(make(call))
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await future
        except TimeoutError:
            raise HostUnavailable(
                "The session did not answer in time.", code="host_timeout", retry_after=1
            ) from None
        finally:
            line.waiting.pop(call, None)

    async def _attach(
        self,
        line: Line,
        reader: Reader,
        after: Cursor | None,
        response_id: str | None,
        number: int,
    ) -> None:
        key = reader.key

        def begin(attached: Attached) -> None:
            reader.begin(attached)
            self._readers.setdefault(key, []).append(reader)

        await self._request(
            line, lambda call: Attach(call, key, after, response_id, number), key, begin
        )

    # -- events -----------------------------------------------------------------------------------

    def _deliver(self, batch: EventBatch) -> None:
        for reader in self._readers.get(batch.key, ()):
            reader.push(batch.epoch, batch.events)

    def _close_reader(self, reader: Reader) -> None:
        readers = self._readers.get(reader.key)
        if readers is None or reader not in readers:
            return
        readers.remove(reader)
        if not readers:
            del self._readers[reader.key]
            line = self._placed.get(reader.key)
            if line is not None:
                line.put(Detach(next(self._calls), reader.key))

    # -- placement --------------------------------------------------------------------------------

    async def _line_of(self, key: SessionKey) -> Line:
        line = self._placed.get(key)
        if line is not None:
            self._placed.move_to_end(key)
            return line
        future = self._locating.get(key)
        if future is None:
            future = self._locating[key] = asyncio.get_running_loop().create_future()
            self._to_locate.append(key)
            if self._locate_task is None or self._locate_task.done():
                self._locate_task = spawn(self._locate(), name="link-locate")
        return await asyncio.shield(future)

    async def _locate(self) -> None:
        while self._to_locate:
            keys, self._to_locate = self._to_locate, []
            try:
                hosts = await self._locator.locate(keys)
            except Exception as error:
                if not isinstance(error, TroupeError):
                    log.error("cannot locate sessions", exc_info=error)
                    error = HostUnavailable("Sessions cannot be placed now.", retry_after=1)
                for key in keys:
                    future = self._locating.pop(key)
                    future.set_exception(error)
                    future.exception()  # a caller that went away leaves nobody to retrieve it
                continue
            for key, address in zip(keys, hosts, strict=True):
                line = self._lines.get(address.host_id)
                if line is None:
                    line = self._lines[address.host_id] = Line(
                        self._connect(address),
                        self.gateway_id,
                        self._silence_s,
                        self._deliver,
                        self._forget,
                        self._give_up,
                    )
                self._placed[key] = line
                self._locating.pop(key).set_result(line)
            while len(self._placed) > self._max_placements:
                oldest = next((key for key in self._placed if key not in self._readers), None)
                if oldest is None:
                    break
                del self._placed[oldest]

    def _forget(self, moved: Moved) -> None:
        self._placed.pop(moved.key, None)
        for reader in self._readers.pop(moved.key, ()):
            reader.fail(Deposed("The session has moved; attach again.", retry_after=0))

    def _give_up(self, line: Line, error: BaseException) -> None:
        if self._lines.get(line.host.host_id) is not line:
            return
        del self._lines[line.host.host_id]
        log.warning("host %s is given up: %r", line.host.host_id, error)
        gone = HostUnavailable("The session's host is gone; try again.", retry_after=1)
        for future, _, _ in line.waiting.values():
            if not future.done():
                future.set_exception(gone)
        for key in [key for key, placed in self._placed.items() if placed is line]:
            del self._placed[key]
            for reader in self._readers.pop(key, ()):
                reader.fail(gone)
        spawn(line.close(), name="link-close")
        spawn(self._locator.suspect(line.host.host_id), name="link-suspect", on_error=_seen)


def _seen(error: BaseException) -> None:
    """The awaiting caller hears of it too; the log keeps a trace for those who went away."""
    log.debug("background call failed", exc_info=error)
