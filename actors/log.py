"""A session's event log: numbered without a gap, held while somebody may ask for it.

The log gives out `seq`; nothing else may. What it no longer holds can be rebuilt from the store,
so trimming it loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.events import Cursor, Event, Kind


class EventLog:
    """Events after `base`, in memory.

    Args:
        epoch: The activation these events belong to.
        seq: The last seq that was given out before; the first event gets `seq + 1`.
        known_epoch: Nobody said anything else than is known here under this epoch or a later one,
            but for what was lost with a host: see `since`.
        restored: The events up to `seq` that earlier activations said and readers may ask for.
    """

    def __init__(
        self, epoch: int, seq: int, known_epoch: int = 0, restored: Sequence[Event] = ()
    ) -> None:
        self.epoch = epoch
        self._inherited = seq
        self._known_epoch = known_epoch
        self._base = seq - len(restored)
        self._events: list[Event | None] = list(restored)
        self._shipped = len(restored)

    @property
    def seq(self) -> int:
        """The last seq given out."""
        return self._base + len(self._events)

    @property
    def shipped_seq(self) -> int:
        """The last seq that readers have been told."""
        return self._base + self._shipped

    def append(self, kind: Kind, response_id: str | None, number: int, data: Any) -> Event:
        event = Event(self.seq + 1, kind, response_id, number, data)
        self._events.append(event)
        return event

    def reserve(self) -> int:
        """Give out a seq whose event must wait, and hold back all later ones until `fill`."""
        self._events.append(None)
        return self.seq

    def fill(self, event: Event) -> None:
        """Put the event in its reserved place."""
        index = event.seq - self._base - 1
        assert self._events[index] is None, "that seq was not reserved"
        self._events[index] = event

    def unshipped(self) -> tuple[Event, ...]:
        """Events that no outlet has been given yet, up to a reserved place; each only once."""
        events: list[Event] = []
        for event in self._events[self._shipped :]:
            if event is None:
                break
            events.append(event)
        self._shipped += len(events)
        return tuple(events)

    def _told(self) -> list[Event]:
        return [event for event in self._events[: self._shipped] if event is not None]

    def since(self, cursor: Cursor) -> tuple[Event, ...] | None:
        """Shipped events that a reader at `cursor` has yet to be told; None if this cannot say.

        A reader of an activation before may have been told more than was recorded: it gets what
        follows the record, whose `resumed` says where its copy is to be cut. Epoch 0 is nobody's:
        such a reader has no place in the log.
        """
        if cursor.epoch == self.epoch:
            return self.after(cursor.seq)
        if not max(1, self._known_epoch) <= cursor.epoch < self.epoch:
            return None
        seq = min(cursor.seq, self._inherited)
        for event in self._told():
            if event.kind == "resumed" and event.data.epoch > cursor.epoch:
                seq = min(seq, event.seq - 1)
        return self.after(seq)

    def after(self, seq: int) -> tuple[Event, ...] | None:
        """Shipped events after `seq`; None when the log no longer, or never, held them."""
        if not self._base <= seq <= self.shipped_seq:
            return None
        return tuple(self._told()[seq - self._base :])

    def of(self, response_id: str, number: int) -> tuple[Event, ...] | None:
        """Shipped events of one response that unfold beyond `number`; None if not from its start.

        An event that unfolds across `number` is included; the reader's projection skips what is
        at or below it.
        """
        events = [event for event in self._told() if event.response_id == response_id]
        begun = [event for event in events if event.kind != "accepted"]
        if not begun:
            return () if events else None
        if begun[0].kind != "started":
            return None
        ends = [later.number for later in begun[1:]]
        return tuple(
            event
            for event, end in zip(begun, [*ends, None], strict=True)
            if end is None or end - 1 > number
        )

    def trim(self) -> None:
        """Forget what readers have been told; the store can give it back."""
        del self._events[: self._shipped]
        self._base += self._shipped
        self._shipped = 0
