"""What a client shows that obeys the protocol: appends deltas, cuts where it is told to."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.events import Event
from contracts.messages import ResponseRecord


class Screen:
    """One response on one device; `seq` is its cursor, `number` that of the Responses API."""

    def __init__(self, response_id: str) -> None:
        self.response_id = response_id
        self.text = ""
        self.seq = 0
        self.epoch = 0
        self.number = -1
        self.ended: ResponseRecord | None = None
        self.seqs: list[int] = []

    def show(self, events: Iterable[tuple[int, Event]]) -> None:
        for epoch, event in events:
            assert self.seq in (0, event.seq - 1), "a gap or a double"
            self.epoch, self.seq = epoch, event.seq
            self.seqs.append(event.seq)
            if event.response_id != self.response_id:
                continue
            self.number = max(self.number, event.number)
            if event.kind == "started":
                self.text = ""
            elif event.kind == "delta":
                self.text += event.data
            elif event.kind == "resumed":
                assert len(self.text) >= event.data.position, "cut where nothing is"
                self.text = self.text[: event.data.position]
            elif event.kind == "ended":
                self.ended = event.data
