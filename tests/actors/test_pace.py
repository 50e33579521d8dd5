"""How long text is gathered: as short as it may while few speak, longer when many do."""

from __future__ import annotations

from typing import Any

import pytest

from actors.outlet import Pacer
from contracts.pace import Pace
from tests.simulator.clock import Clock

PACE = Pace(least_s=0.02, most_s=0.1, per_s=500)


def test_the_more_speak_the_longer_it_is_within_bounds() -> None:
    assert [PACE.of(n) for n in (0, 10, 20, 50, 10_000)] == [0.02, 0.02, 0.04, 0.1, 0.1]


class Speaker:
    """What a pacer knows of a session."""

    def __init__(self) -> None:
        self.shipped_at = 0.0
        self.times = 0


def test_many_that_speak_are_shipped_less_often_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("actors.outlet.asyncio.get_running_loop", lambda: clock)

    def shipped(count: int) -> float:
        """Shipments of each within a second, if all of them speak without a pause."""
        speakers = [Speaker() for _ in range(count)]

        def ship(session: Any) -> None:
            session.times += 1

        pacer = Pacer(PACE, 4, ship)
        for _ in range(500):
            for speaker in speakers:
                pacer.bulk(speaker)  # type: ignore[arg-type]
            clock.turn_to(clock.seconds + 0.002)
        assert all(speaker.times for speaker in speakers)
        return sum(speaker.times for speaker in speakers) / count

    assert shipped(45) < shipped(5)
