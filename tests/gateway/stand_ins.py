"""Hosts and a Directory that say what a test tells them, for what a real one does too rarely."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any

from contracts.commands import (
    Accepted,
    Attach,
    Attached,
    AwaitWake,
    Command,
    Detach,
    EventBatch,
    Reply,
    SessionKey,
    Submit,
)
from contracts.errors import HostUnavailable, TroupeError
from contracts.events import Event
from contracts.hosts import Fleet, HostAddress
from gateway.link import Link

KEY = SessionKey("org", "conv_1")
OTHER = SessionKey("org", "conv_2")
_SILENT = (Detach, AwaitWake)


class StandIn:
    """A `HostClient`. It answers every command at once unless it is `mute` or told otherwise.

    Attributes:
        answers: What to answer a kind of command: a value, an error, or a function of it.
        heard: All commands, batch by batch.
    """

    def __init__(self, host_id: str, epoch: int = 1, seq: int = 0) -> None:
        self.host_id = host_id
        self.epoch, self.seq = epoch, seq
        self.mute = False
        self.up = True
        self.answers: dict[type[Command], Any] = {Attach: self._attached, Submit: self._accepted}
        self.heard: list[list[Command]] = []
        self._pipes: list[asyncio.Queue[bytes | None]] = []

    def _attached(self, command: Command) -> Attached:
        return Attached(self.epoch, self.seq, True, ())

    def _accepted(self, command: Submit) -> Accepted:
        return Accepted(command.turn.response_id, self.epoch, self.seq, None)

    async def submit(self, gateway_id: str, commands: list[Command]) -> None:
        if not self.up:
            raise HostUnavailable("Down.")
        self.heard.append(commands)
        if not self.mute:
            self.say(*[self.answer(c) for c in commands if not isinstance(c, _SILENT)])

    def answer(self, command: Command) -> Reply:
        found = self.answers.get(type(command))
        value = found(command) if callable(found) else found
        if isinstance(value, TroupeError):
            return Reply(command.call, None, value)
        return Reply(command.call, value)

    async def pipe(self, gateway_id: str) -> AsyncIterator[bytes]:
        if not self.up:
            raise HostUnavailable("Down.")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pipes.append(queue)
        yield pickle.dumps([])
        while (data := await queue.get()) is not None:
            yield data
        raise HostUnavailable("Cut.")

    def say(self, *items: Any) -> None:
        """One parcel to whoever listens."""
        for pipe in self._pipes:
            pipe.put_nowait(pickle.dumps(list(items)))

    def tell(self, *events: Event, key: SessionKey = KEY) -> None:
        """Events of a session, consecutive."""
        self.seq = events[-1].seq
        self.say(EventBatch(key, self.epoch, events))

    def die(self) -> None:
        """Every pipe breaks and none can be opened."""
        self.up = False
        self.cut()

    def cut(self) -> None:
        """Every pipe breaks."""
        pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            pipe.put_nowait(None)

    @property
    def commands(self) -> list[Command]:
        return [command for batch in self.heard for command in batch]

    def asked(self, kind: type[Command]) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]


class Directory:
    """A `Locator`: every session lives on the `current` host."""

    def __init__(self, *hosts: StandIn) -> None:
        self.all = {host.host_id: host for host in hosts}
        self.current: StandIn | None = hosts[0]
        self.suspected: list[str] = []
        self.fleet = Fleet(1, (), 1)
        self._news = asyncio.Event()

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        if self.current is None:
            raise HostUnavailable("No session host is up.")
        return [self.address(self.current) for _ in keys]

    async def suspect(self, host_id: str) -> None:
        self.suspected.append(host_id)

    async def hosts(self) -> dict[str, int]:
        return dict.fromkeys(self.all, 0)

    async def watch(self, version: int) -> Fleet:
        while version == self.fleet.version:
            self._news.clear()
            await self._news.wait()
        return self.fleet

    def publish(self, *hosts: StandIn, generation: int = 1) -> None:
        addresses = tuple(self.address(host) for host in hosts)
        self.fleet = Fleet(self.fleet.version + 1, addresses, generation)
        self._news.set()

    def address(self, host: StandIn) -> HostAddress:
        return HostAddress(host.host_id, "", 0, "")

    def connect(self, address: HostAddress) -> StandIn:
        return self.all[address.host_id]


def link_over(directory: Directory, **settings: Any) -> Link:
    given: dict[str, Any] = {
        "silence_s": 60,
        "reader_events": 1000,
        "placements": 1000,
        "call_timeout_s": 30,
        "reattach_s": 5,
        **settings,
    }
    return Link("gw_1", directory, directory.connect, **given)


def delta(seq: int, text: str = "x", response_id: str = "resp_1", number: int = -1) -> Event:
    return Event(seq, "delta", response_id, seq if number < 0 else number, text)


async def until(holds: Callable[[], Any]) -> None:
    """Wait for a condition; in vain for half a minute at most."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


async def settled() -> None:
    """Let everything run that can; used only before saying that something did not happen."""
    for _ in itertools.repeat(None, 50):
        await asyncio.sleep(0)
