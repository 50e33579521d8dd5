"""The line to one host: commands up in batches, replies and events down one pipe.

Its sender task keeps one batch in flight and gathers the next meanwhile, so commands of one
gateway reach a host in order. Its receiver task reads the host's pipe and hands out what comes,
synchronously and in order: that is why a `Reader` that begins while the reply to its `Attach` is
handled sees every later event and no earlier one. There MUST be no `await` between taking a
parcel and handing out its items.

A host that breaks its pipe, or stays silent past the keep-alive, is given up, and what it was
asked fails as `Unanswered`. Acting on mere suspicion is safe, because a session's epoch fences the
host that lives on.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from contracts.commands import (
    Attach,
    Command,
    EventBatch,
    Moved,
    Parcel,
    Reply,
    SessionKey,
    Slept,
    Woke,
)
from contracts.errors import HostUnavailable, TroupeError
from contracts.hosts import HostClient
from contracts.tasks import spawn, stop
from gateway.patience import Patience


class Unanswered(HostUnavailable):
    """The host was asked and has not answered: whether it did what it was asked is not known."""


class Listening(Protocol):
    """Who hears what comes down a line."""

    def opened(self, line: Line) -> None: ...
    def deliver(self, line: Line, batch: EventBatch) -> None: ...
    def moved(self, line: Line, key: SessionKey) -> None: ...
    def slept(self, line: Line, key: SessionKey) -> None: ...
    def woke(self, line: Line, key: SessionKey) -> None: ...


class Asked(NamedTuple):
    """A command that waits for its reply; `on_value` is called before any later event comes."""

    command: Command
    future: asyncio.Future[Any]
    on_value: Callable[[Any], None] | None


class Line:
    """See the module.

    Attributes:
        waiting: What was asked and not answered, by call.
        is_open: The host takes commands and will say by itself what wakes there.
    """

    def __init__(
        self,
        host: HostClient,
        gateway_id: str,
        audience: Listening,
        lost: Callable[[Line, BaseException], None],
        *,
        silence_s: float,
        batch: int,
    ) -> None:
        self.host = host
        self.waiting: dict[int, Asked] = {}
        self.is_open = False
        self.is_lost = False
        self._gateway_id = gateway_id
        self._audience = audience
        self._lost = lost
        self._silence_s = silence_s
        self._batch = batch
        self._outgoing: list[Command] = []
        self._wanted = asyncio.Event()
        self._opened = asyncio.Event()
        name = host.host_id
        self._tasks = [
            spawn(self._receive(), name=f"link-receive-{name}", on_error=self._broken),
            spawn(self._send(), name=f"link-send-{name}", on_error=self._broken),
        ]

    def put(self, command: Command) -> None:
        """Send a command that is not replied to."""
        if not self.is_lost:
            self._outgoing.append(command)
            self._wanted.set()

    def ask(
        self, command: Command, on_value: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        """Send a command; the future gets its reply. Whoever stops waiting calls `forget`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.is_lost:
            future.set_exception(HostUnavailable("The session's host is gone.", retry_after=1))
            return future
        self.waiting[command.call] = Asked(command, future, on_value)
        self.put(command)
        return future

    def attaches(self, key: SessionKey) -> bool:
        """Whether an attachment of this session waits for its reply."""
        return any(
            isinstance(asked.command, Attach) and asked.command.key == key
            for asked in self.waiting.values()
        )

    def forget(self, call: int) -> None:
        """Nobody waits for this reply any longer."""
        self.waiting.pop(call, None)

    def fail(self, gone: HostUnavailable) -> None:
        """Answer everything that waits: with `gone` what was never sent, else `Unanswered`."""
        self.is_lost = True
        unsent = {command.call for command in self._outgoing}
        waiting, self.waiting = self.waiting, {}
        for call, asked in waiting.items():
            if not asked.future.done():
                kind = HostUnavailable if call in unsent else Unanswered
                asked.future.set_exception(kind(gone.message, retry_after=gone.retry_after))

    def _broken(self, error: BaseException) -> None:
        self._lost(self, error)

    async def _send(self) -> None:
        # The pipe is opened first: an answer must never find the host without a way back.
        await self._opened.wait()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._outgoing:
                batch = self._outgoing[: self._batch]
                del self._outgoing[: self._batch]
                await self.host.submit(self._gateway_id, batch)

    async def _receive(self) -> None:
        pipe = self.host.pipe(self._gateway_id)
        async with aclosing(pipe) as parcels:  # type: ignore[type-var]
            with Patience(self._silence_s) as patience:
                while True:
                    patience.begin()
                    data = await anext(parcels)
                    if not self.is_open:
                        self.is_open = True
                        self._audience.opened(self)
                        self._opened.set()
                    self._hand_out(pickle.loads(data))

    def _hand_out(self, parcel: Parcel) -> None:
        for item in parcel:
            match item:
                case EventBatch():
                    self._audience.deliver(self, item)
                case Reply():
                    self._answer(item)
                case Woke():
                    self._audience.woke(self, item.key)
                case Slept():
                    self._audience.slept(self, item.key)
                case Moved():
                    self._audience.moved(self, item.key)

    def _answer(self, reply: Reply) -> None:
        asked = self.waiting.get(reply.call)
        if asked is None or asked.future.done():
            return  # whoever asked was interrupted, and tidies up by itself
        del self.waiting[reply.call]
        if reply.error is not None:
            asked.future.set_exception(reply.error)
            return
        try:
            if asked.on_value is not None:
                asked.on_value(reply.value)
        except TroupeError as error:
            asked.future.set_exception(error)
        else:
            asked.future.set_result(reply.value)

    async def close(self) -> None:
        await stop(*self._tasks)
