"""A client's device by hand: a pipe to a host, a cursor, and what it shows of every response."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

from actors.runtime import HostRuntime
from contracts.commands import (
    Attach,
    Attached,
    EventBatch,
    Moved,
    Parcel,
    Reply,
    SessionKey,
    Slept,
    Woke,
)
from contracts.events import Cursor, Event
from contracts.messages import ResponseRecord
from contracts.tasks import spawn, stop

_names = itertools.count(1)


class Device:
    """Obeys the protocol: appends deltas, cuts where it is told, comes back with its cursor.

    `calls` holds the answers to what was asked through it, by call.
    """

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.name = f"gw_{next(_names)}"
        self.cursor: Cursor | None = None
        self.texts: dict[str, str] = {}
        self.ended: dict[str, ResponseRecord] = {}
        self.accepted: list[str] = []
        self.calls: dict[int, Reply] = {}
        self.snapshots = 0
        self.errors: list[BaseException] = []
        self.attached = False
        self._call = itertools.count(1)
        self._attach_call = 0
        self._task: Any = None
        self.runtime: HostRuntime | None = None

    def plug(self, runtime: HostRuntime) -> None:
        """Read this host from now on; what was attached elsewhere is forgotten."""
        self.runtime = runtime
        self.attached = False
        self._task = spawn(self._read(runtime), name=self.name, on_error=self.errors.append)

    async def unplug(self) -> None:
        task, self._task = self._task, None
        await stop(task)

    async def send(self, make: Any) -> int:
        """Ask something; `make` gets the call's number."""
        assert self.runtime is not None
        call = next(self._call)
        await self.runtime.submit(self.name, [make(call)])
        return call

    async def attach(self) -> None:
        # As the chat page does: whoever has seen nothing asks for all, and gets a snapshot.
        cursor = self.cursor or Cursor(0, 0)
        self._attach_call = await self.send(lambda call: Attach(call, self.key, cursor))

    async def _read(self, runtime: HostRuntime) -> None:
        async for data in runtime.pipe(self.name):
            parcel: Parcel = pickle.loads(data)
            for item in parcel:
                self._take(item)

    def _take(self, item: Any) -> None:
        if isinstance(item, EventBatch):
            if self.attached:
                for event in item.events:
                    self._show(item.epoch, event)
        elif isinstance(item, (Moved, Slept)):
            self.attached = False
        elif isinstance(item, Reply):
            self.calls[item.call] = item
            if item.call == self._attach_call and item.error is None:
                self._begin(item.value)
        else:
            assert isinstance(item, Woke)

    def _begin(self, attached: Attached) -> None:
        if not attached.recovered:
            self.snapshots += 1
            self.texts = {
                message.response_id: message.text
                for message in attached.snapshot or ()
                if message.role == "assistant" and message.response_id
            }
            self.cursor = None
        elif attached.events and self.cursor is not None:
            first = attached.events[0].seq
            if first <= self.cursor.seq:
                assert attached.epoch > self.cursor.epoch, "told twice by one activation"
                self.cursor = self.cursor._replace(seq=first - 1)
        for event in attached.events:
            self._show(attached.epoch, event)
        self.cursor = Cursor(attached.epoch, attached.seq)
        self.attached = True

    def _show(self, epoch: int, event: Event) -> None:
        if self.cursor is not None:
            assert event.seq == self.cursor.seq + 1, f"{self.cursor} then {event}"
        self.cursor = Cursor(epoch, event.seq)
        name = event.response_id
        if name is None:
            return
        if event.kind == "accepted":
            self.accepted.append(name)
        elif event.kind == "started":
            self.texts[name] = ""
        elif event.kind == "delta":
            self.texts[name] = self.texts.get(name, "") + event.data
        elif event.kind == "resumed":
            assert len(self.texts[name]) >= event.data.position, "cut where nothing is"
            self.texts[name] = self.texts[name][: event.data.position]
        elif event.kind == "ended":
            self.ended[name] = event.data
