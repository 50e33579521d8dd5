"""A streamed reply against a clock turned by hand: when it says what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.asks import Ask
from simulator.openai_chat import WIRE
from simulator.playback import BURST, Streamed
from simulator.script import Script
from simulator.stats import Stats
from simulator.wheel import Wheel
from tests.simulator.clock import PATIENT, Clock


class Line:
    """A connection that keeps what it is given, each piece with its millisecond."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.full = False
        self.reply: Any = None
        self.heard: list[tuple[int, list[int]]] = []
        self.ended = False

    def begin(self, media: bytes, extra: bytes, first: bytes) -> None:
        self._hear(first)

    def send(self, data: bytes) -> None:
        assert data
        self._hear(data)

    def finish(self, data: bytes = b"") -> None:
        self._hear(data)
        self.ended = True

    def unsent(self) -> int:
        return 0

    def _hear(self, data: bytes) -> None:
        assert not self.ended
        tokens = [int(part.split(b' "')[0]) for part in data.split(b'"content":"t')[1:]]
        if tokens:
            self.heard.append((self.clock.ms(), tokens))


class Play:
    """One reply, started at millisecond 0."""

    def __init__(self, script: Script, seed: int = 0) -> None:
        self.clock = Clock()
        self.line = Line(self.clock)
        self.stats = Stats(())
        self.reply = Streamed(
            connection=self.line,  # type: ignore[arg-type]
            wheel=Wheel(self.clock),  # type: ignore[arg-type]
            stats=self.stats,
            record=None,
            wire=WIRE,
            frames=WIRE.frames(Ask("m")),
            script=script,
            fault=script.fault,
            tokens=[b"t%d " % k for k in range(script.tokens or 0)],
            finish="stop",
            seed=seed,
            hold_ms=1000,
            extra=b"",
        )
        self.reply.start()

    def until(self, ms: int) -> list[tuple[int, list[int]]]:
        """Turn the clock millisecond by millisecond; what was heard up to then."""
        for now in range(self.clock.ms(), ms + 1):
            self.clock.turn_to_ms(now)
        return self.line.heard


def test_each_token_at_its_time() -> None:
    play = Play(Script(ttft_ms=30, gap_ms=20, tokens=4))
    assert play.until(29) == []
    assert play.until(200) == [(30, [0]), (50, [1]), (70, [2]), (90, [3])]
    assert play.line.ended
    assert play.stats.as_dict()["finished"] == 1


def test_a_late_token_does_not_delay_the_next() -> None:
    play = Play(Script(ttft_ms=30, gap_ms=20, tokens=5))
    play.until(30)
    play.clock.turn_to_ms(75)
    assert play.until(200) == [(30, [0]), (75, [1, 2]), (90, [3]), (110, [4])]


def test_one_that_cannot_take_more_is_sent_what_came_due_once_it_can() -> None:
    play = Play(Script(ttft_ms=10, gap_ms=10, tokens=6))
    play.until(20)
    play.line.full = True
    assert play.until(45) == [(10, [0]), (20, [1])]
    play.line.full = False
    play.reply.resume()
    assert play.until(100)[2:] == [(45, [2, 3]), (50, [4]), (60, [5])]
    play.reply.resume()
    assert play.line.ended


def test_without_gaps_it_comes_in_bursts_that_leave_room_for_others() -> None:
    play = Play(Script(tokens=BURST * 2 + 1))
    assert [len(tokens) for _, tokens in play.until(5)] == [BURST, BURST, 1]


def test_a_client_that_left_is_sent_nothing_and_counted_once() -> None:
    play = Play(Script(ttft_ms=10, gap_ms=10, tokens=100))
    play.until(20)
    play.reply.gone()
    assert play.until(300) == [(10, [0]), (20, [1])]
    play.reply.gone()
    counts = play.stats.as_dict()
    assert (counts["active"], counts["aborted"], counts["finished"]) == (0, 1, 0)
    assert play.clock.living() == []


def test_a_client_that_leaves_a_stall_leaves_no_timer_behind() -> None:
    play = Play(Script(tokens=4, fault="stall", at=2))
    play.until(20)
    assert len(play.clock.living()) == 1
    play.reply.gone()
    assert play.clock.living() == []
    assert play.stats.as_dict()["faulted"] == 1


@PATIENT
@given(st.integers(0, 50), st.integers(0, 30), st.integers(1, 60), st.integers(0, 1000))
def test_jitter_is_the_seeds_and_keeps_the_order(
    ttft: int, gap: int, jitter: int, seed: int
) -> None:
    script = Script(ttft_ms=ttft, gap_ms=gap, jitter_ms=jitter, tokens=8)
    end = ttft + 8 * gap + jitter + 2
    heard = Play(script, seed).until(end)
    assert [token for _, tokens in heard for token in tokens] == list(range(8))
    assert Play(script, seed).until(end) == heard
    for ms, tokens in heard:
        assert all(ms >= ttft + token * gap for token in tokens)
        assert all(ms <= ttft + token * gap + jitter + 1 for token in tokens)


@pytest.mark.parametrize("seed", [1, 2])
def test_another_seed_is_another_rhythm(seed: int) -> None:
    script = Script(gap_ms=10, jitter_ms=40, tokens=8)
    assert Play(script, seed).until(200) != Play(script, seed + 2).until(200)
