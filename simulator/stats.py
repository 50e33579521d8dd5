"""Counters of what the simulator did, for tests and for a benchmark's own sanity."""

from __future__ import annotations

from collections.abc import Sized


class Stats:
    """`started` = `active` + `finished` + `aborted` + `faulted`, at every moment.

    A reply counts once, streamed or not: `finished` as the protocol wants it, `aborted` by the
    client before that, or `faulted` because its script says so.
    """

    __slots__ = (
        "_connections",
        "aborted",
        "faulted",
        "finished",
        "requests",
        "started",
    )

    def __init__(self, connections: Sized) -> None:
        self._connections = connections
        self.requests = 0
        self.started = 0
        self.finished = 0
        self.aborted = 0
        self.faulted = 0

    def as_dict(self) -> dict[str, int]:
        """`connections` are open now; everything but `active` counts from the start."""
        return {
            "active": self.started - self.finished - self.aborted - self.faulted,
            "started": self.started,
            "finished": self.finished,
            "aborted": self.aborted,
            "faulted": self.faulted,
            "requests": self.requests,
            "connections": len(self._connections),
        }
