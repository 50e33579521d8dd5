"""What is asked of a run, and nothing of how it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Target = Literal["troupe", "proxy"]
Part = Literal["load", "wake", "sleep", "rules", "storm"]
PARTS: tuple[Part, ...] = ("load", "wake", "sleep", "rules", "storm")

_START_S = 45.0
_TO_SLEEP_S = 28.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the benchmark. Every figure is repeatable from this and the revision.

    `window_s` is counted, `warm_s` before it is not; `drain_s` bounds the wait for turns that
    were sent inside the window. The provider sends `tokens` numbered tokens `gap_ms` apart, the
    first after `ttft_ms`.

    The part `wake` has `waking` sessions wake together and `waking_alone` one at a time, each with
    `waking_messages` messages to remember. The part `sleep` has `asleep` sockets connected and
    asleep, `talking` of which then talk. The part `rules` makes `decisions` over as many `rules`.
    The part `storm` has `storm` sessions at work.

    `settings`: variables that Troupe is started with beyond those that lead it to the provider.
    """

    parts: tuple[Part, ...] = PARTS
    counts: tuple[int, ...] = (100, 500, 1000, 2000)
    targets: tuple[Target, ...] = ("troupe", "proxy")
    window_s: float = 40.0
    warm_s: float = 8.0
    drain_s: float = 30.0
    idle_s: float = 5.0
    think_s: float = 5.0
    seed: int = 1
    ttft_ms: int = 300
    gap_ms: int = 20
    tokens: int = 40
    waking: int = 1000
    waking_alone: int = 100
    waking_messages: int = 10
    asleep: int = 5000
    talking: int = 200
    rules: int = 100
    decisions: int = 5000
    storm: int = 500
    generators: int = 1
    start_limit_s: float = 240.0
    out: Path = Path("bench/results")
    url: str | None = None
    pid: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def provider_model(self) -> str:
        """The model name that scripts the simulator."""
        return f"scripted.ttft_ms-{self.ttft_ms}.gap_ms-{self.gap_ms}.tokens-{self.tokens}"

    @property
    def provider_turn_ms(self) -> float:
        """How long the provider itself takes for a turn."""
        return self.ttft_ms + self.gap_ms * (self.tokens - 1)

    def activation_s(self, sessions: int) -> float:
        """Over how long the first turns are spread: well below the load that is measured."""
        return max(3.0, sessions / 150)

    def estimate_s(self) -> float:
        """About how long the run takes."""
        parts = {
            "load": self._load_s,
            "wake": self._wake_s,
            "sleep": self._sleep_s,
            "rules": lambda: 3.0,
            "storm": self._storm_s,
        }
        return sum(parts[part]() for part in self.parts)

    def _load_s(self) -> float:
        total = 0.0
        for target in self.targets:
            start = _START_S if target == "troupe" and self.url is None else 3.0
            for sessions in self.counts:
                once = self.activation_s(sessions) + 2 * self.idle_s + sessions / 150
                total += start + once + self.warm_s + self.window_s + 3.0
        return total

    def _wake_s(self) -> float:
        return _START_S + self.activation_s(self.waking) + self.waking / 15 + 4 * _TO_SLEEP_S

    def _sleep_s(self) -> float:
        opening = self.asleep / 60 + self.activation_s(self.asleep)
        return _START_S + opening + 3 * _TO_SLEEP_S + 2 * (self.warm_s + self.window_s + 5.0)

    def _storm_s(self) -> float:
        once = self.activation_s(self.storm) + 2 * self.idle_s + self.storm / 150
        return _START_S + once + 2 * (self.warm_s + self.window_s + 5.0)
