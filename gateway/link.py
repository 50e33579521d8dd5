"""The gateway's link to session hosts: the calls that its routes make.

A call finds the session's host, asks, and asks again elsewhere when that host is lost or holds the
session no longer, until it is answered or has taken too long. What may be asked twice is decided
here, call by call. What becomes of readers is `gateway.audience`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from contracts.commands import (
    Accepted,
    AddItems,
    Cancel,
    Command,
    DeleteItem,
    DropSession,
    InputItem,
    SessionKey,
    Submit,
    TurnRequest,
    UpdateSession,
)
from contracts.errors import Conflict, Deposed, HostUnavailable, NotFound, TroupeError
from contracts.events import Cursor
from contracts.hosts import Fleet, HostAddress, HostClient, Locator
from contracts.messages import Message, ResponseRecord
from contracts.tasks import spawn
from gateway.audience import Audience
from gateway.fleet import FleetWatch
from gateway.line import Line, Unanswered
from gateway.placements import Placements
from gateway.reader import Reader, ReaderLimits
from gateway.retry import FIRST_PAUSE_S, jittered, longer

T = TypeVar("T")
log = logging.getLogger("troupe.gateway.link")


class Link:
    """See the module.

    Args:
        gateway_id: Unique among living gateways; hosts keep one pipe for each.
        locator: Finds and places sessions.
        connect: Makes the client of a host from its address.
        silence_s: A pipe silent for this long is given up.
        reader_events: How many events may wait in a reader before it is cut.
        reader_bytes: How many bytes of text; likewise.
        placements: How many session placements to remember.
        call_timeout_s: How long a call may take, with all its tries.
        reattach_s: How long a reader looks for its session before it ends.
        command_batch: Commands sent to a host at once.
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
        reader_bytes: int = 2**20,
        reattach_s: float = 15.0,
        command_batch: int = 256,
    ) -> None:
        self.gateway_id = gateway_id
        self._locator = locator
        self._connect = connect
        self._silence_s = silence_s
        self._limits = ReaderLimits(reader_events, reader_bytes)
        self._call_timeout_s = call_timeout_s
        self._command_batch = command_batch
        self._calls = itertools.count(1)
        self._lines: dict[str, Line] = {}
        self._placements = Placements(locator, self._line_to, placements)
        self._audience = Audience(self._placements, self._calls, reattach_s=reattach_s)
        self._fleet: FleetWatch | None = None

    def open(self, on_fleet: Callable[[Fleet], None]) -> None:
        """Keep a line to every living host from now on; `on_fleet` hears of all news."""
        self._fleet = FleetWatch(self._locator, self._line_to, on_fleet)

    async def close(self) -> None:
        """Drop every line; readers end with `HostUnavailable`."""
        leaving = HostUnavailable("The gateway is shutting down.", retry_after=1)
        if self._fleet is not None:
            await self._fleet.close()
        await self._audience.close(leaving)
        lines, self._lines = self._lines, {}
        for line in lines.values():
            line.fail(leaving)
            await line.close()
        await self._placements.close()

    # -- what routes call -----------------------------------------------------------------------

    async def attach(
        self,
        key: SessionKey,
        *,
        after: Cursor | None = None,
        response_id: str | None = None,
        number: int = -1,
        within_s: float | None = None,
    ) -> Reader:
        """Read a session's events: from now on, after a cursor, or from a place in a response.

        Close the reader when done. Raises `NotFound`, `Unavailable`.

        Args:
            within_s: How long to try; None: as long as any call may take.
        """

        async def once(line: Line) -> Reader:
            reader = Reader(
                key,
                self._limits,
                self._audience.leave,
                response_id=response_id,
                number=number,
                after=after,
            )
            self._audience.put_attach(line, reader)
            await self._audience.settle(reader)
            return reader

        return await self._until_answered(key, once, within_s=within_s)

    async def submit(self, key: SessionKey, turn: TurnRequest) -> Accepted | None:
        """Begin a turn; returns once its input is durable.

        None: it is, by a try whose answer was lost; only the store can say what it wrote.
        """

        async def once(line: Line) -> Accepted | None:
            try:
                return await self._ask(line, Submit(next(self._calls), key, turn))
            except Conflict as error:
                if not _is_own(error, turn):
                    raise
                return None

        return await self._until_answered(key, once)

    async def start(
        self, key: SessionKey, turn: TurnRequest, *, lasting: bool = True
    ) -> tuple[Accepted | None, Reader]:
        """Begin a turn, as `submit` does, and read all its events.

        Args:
            lasting: Whether the session can be found again when its host is lost.
        """

        async def once(line: Line) -> tuple[Accepted, Reader] | None:
            reader = Reader(
                key,
                self._limits,
                self._audience.leave,
                response_id=turn.response_id,
                from_now_on=True,
                lasting=lasting,
            )
            # In this order down one line: the reader is there before the turn can say a word.
            self._audience.put_attach(line, reader)
            try:
                accepted: Accepted = await self._ask(line, Submit(next(self._calls), key, turn))
            except BaseException as error:
                self._audience.leave(reader)
                if isinstance(error, Conflict) and _is_own(error, turn):
                    return None
                raise
            await self._audience.settle(reader)
            return accepted, reader

        begun = await self._until_answered(key, once)
        if begun is not None:
            return begun
        return None, await self.attach(key, response_id=turn.response_id)

    async def cancel(self, key: SessionKey, response_id: str | None = None) -> ResponseRecord:
        """End a running or queued turn. Raises `NotFound` when there is none.

        A turn that is not named is not cancelled twice: that might be the next one.
        """
        return await self._call(
            key, lambda call: Cancel(call, key, response_id), repeatable=response_id is not None
        )

    async def add_items(self, key: SessionKey, items: tuple[InputItem, ...]) -> list[Message]:
        """Append items to the conversation without a turn. Done twice it would append twice."""
        return await self._call(key, lambda call: AddItems(call, key, items), repeatable=False)

    async def delete_item(self, key: SessionKey, item_id: str) -> None:
        """Remove one item. Raises `NotFound`."""
        await self._call(key, lambda call: DeleteItem(call, key, item_id), absent_is_done=True)

    async def update(self, key: SessionKey, metadata: dict[str, str]) -> None:
        """Replace the conversation's metadata."""
        await self._call(key, lambda call: UpdateSession(call, key, metadata))

    async def drop(self, key: SessionKey, *, unused_since: float | None = None) -> None:
        """Delete the conversation and all it holds.

        Raises `Conflict` where something was said in it since `unused_since`.
        """
        await self._call(
            key, lambda call: DropSession(call, key, unused_since), absent_is_done=True
        )

    # -- calls ------------------------------------------------------------------------------------

    async def _call(
        self,
        key: SessionKey,
        make: Callable[[int], Command],
        *,
        repeatable: bool = True,
        absent_is_done: bool = False,
    ) -> Any:
        async def once(line: Line) -> Any:
            return await self._ask(line, make(next(self._calls)))

        return await self._until_answered(
            key, once, repeatable=repeatable, absent_is_done=absent_is_done
        )

    async def _until_answered(
        self,
        key: SessionKey,
        once: Callable[[Line], Awaitable[T]],
        *,
        within_s: float | None = None,
        repeatable: bool = True,
        absent_is_done: bool = False,
    ) -> T:
        """Ask wherever the session lives, again when its host is lost or holds it no longer.

        Args:
            repeatable: What was perhaps done may be done again.
            absent_is_done: `NotFound` after a try that got no answer: that try did it.
        """
        pause_s = FIRST_PAUSE_S
        fault: TroupeError = HostUnavailable(
            "The session did not answer in time.", code="host_timeout", retry_after=1
        )
        try:
            async with asyncio.timeout(self._call_timeout_s if within_s is None else within_s):
                while True:
                    line = None
                    try:
                        line = await self._placements.line_of(key)
                        self._audience.rouse(line, key)
                        return await once(line)
                    except NotFound:
                        if absent_is_done and isinstance(fault, Unanswered):
                            return cast("T", None)
                        raise
                    except (HostUnavailable, Deposed) as error:
                        fault = error
                        if line is not None:
                            self._placements.forget(key, line)
                        if isinstance(error, Unanswered) and not repeatable:
                            raise
                    await asyncio.sleep(jittered(pause_s))
                    pause_s = longer(pause_s)
        except TimeoutError:
            raise fault from None

    async def _ask(self, line: Line, command: Command) -> Any:
        future = line.ask(command)
        try:
            return await future
        finally:
            line.forget(command.call)

    # -- lines ------------------------------------------------------------------------------------

    def _line_to(self, address: HostAddress) -> Line:
        line = self._lines.get(address.host_id)
        if line is None:
            line = self._lines[address.host_id] = Line(
                self._connect(address),
                self.gateway_id,
                self._audience,
                self._lost,
                silence_s=self._silence_s,
                batch=self._command_batch,
            )
        return line

    def _lost(self, line: Line, error: BaseException) -> None:
        host_id = line.host.host_id
        if self._lines.get(host_id) is not line:
            return
        del self._lines[host_id]
        log.warning("host %s is given up: %r", host_id, error)
        gone = HostUnavailable("The session's host is gone; try again.", retry_after=1)
        line.fail(gone)
        self._placements.forget_line(line)
        self._audience.lost(line, gone.message)
        spawn(line.close(), name="link-close")


def _is_own(error: Conflict, turn: TurnRequest) -> bool:
    """Whether a turn was refused because an earlier try of it was taken."""
    return (
        error.cause_code == "duplicate_id" and error.details.get("response_id") == turn.response_id
    )
