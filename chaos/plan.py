"""What is asked of a run, and nothing of how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.record import Kind

FAULTS = (
    *("host", "gateway", "directory", "haproxy", "valkey", "postgres", "backend"),
    *("freeze", "wipe", "amnesia", "drain", "redeploy"),
)
"""Every fault there is, in the order in which they are tried in turn."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. What strikes when follows from `seed`; what it hits is drawn from it as well.

    The faults strike in turn, each once all is well again, until the last has; then at random,
    `gap_s` apart at least and twice that at most, until `seconds` have passed since the first.
    Clients pause `think_s` on average between an answer and their next message.
    """

    sessions: int = 200
    seconds: float = 300.0
    seed: int = 1
    faults: tuple[str, ...] = FAULTS
    gap_s: float = 4.0
    calm_s: float = 4.0
    calm_limit_s: float = 20.0
    think_s: float = 1.5
    freeze_s: float = 8.0
    ttft_ms: int = 200
    gap_ms: int = 60
    tokens: int = 50
    hosts: int = 2
    gateways: int = 2
    back_limit_s: float = 60.0
    settle_limit_s: float = 60.0
    stall_s: float = 20.0
    start_limit_s: float = 240.0
    plant: str | None = None
    out: Path = Path("chaos/results")

    @property
    def provider_model(self) -> str:
        """The model name that scripts the simulator: numbered tokens."""
        return f"scripted.ttft_ms-{self.ttft_ms}.gap_ms-{self.gap_ms}.tokens-{self.tokens}"

    def kind(self, index: int) -> Kind:
        """How the client of this session speaks: of ten, eight native and two by events.

        The stock SDK costs ten times the CPU of the others, so one in forty does.
        """
        if index % 40 == 3:
            return "stock"
        return "stream" if index % 5 == 3 else "native"
