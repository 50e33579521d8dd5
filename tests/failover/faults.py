"""Every fault of a provider that an adapter for streams can meet, and when it may strike.

The table is the promise: what a row says holds for every wire, every contract and every point at
which its fault can strike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from contracts.messages import FailurePolicy

WIRES = ("openai-chat", "openai-responses", "gemini")
CONTRACTS: tuple[FailurePolicy, ...] = ("continue", "restart", "stop")

TOKENS = 10
POINTS: dict[str, int | None] = {
    "before the headers": None,
    "after the headers": 0,
    "after the first token": 1,
    "in the middle": TOKENS // 2,
    "before the end": TOKENS,
}
"""Points of a stream, by the tokens that come before; None: not even a head."""

Point = Literal[
    "before the headers",
    "after the headers",
    "after the first token",
    "in the middle",
    "before the end",
]
BEFORE: tuple[Point, ...] = ("before the headers",)
WITHIN: tuple[Point, ...] = (
    "after the headers",
    "after the first token",
    "in the middle",
    "before the end",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    Args:
        name: As the simulator calls it; `refused` is a port where nobody listens.
        code: How the turn's error and its leg call it.
        points: When it may strike.
        moves_on: Whether another request may succeed: elsewhere, or here a little later.
        again: Whether that includes the same endpoint.
        bills: Whether a request that failed so before its first token is paid for: a model was
            at work, as far as anybody knows. After the first token every request is.
        wires: Who can meet it.
    """

    name: str
    code: str
    points: tuple[Point, ...]
    moves_on: bool
    again: bool
    bills: bool
    wires: tuple[str, ...] = WIRES


FAULTS = (
    #     name             code                      strikes  moves on  again  bills
    Fault("rate_limit", "provider_rate_limited", BEFORE, True, True, False),
    Fault("server_error", "provider_unavailable", BEFORE, True, True, False),
    Fault("overloaded", "provider_unavailable", BEFORE, True, True, False),
    Fault("unauthorized", "provider_unauthorized", BEFORE, True, False, False),
    Fault("bad_request", "provider_rejected", BEFORE, False, False, False),
    Fault("refused", "provider_unavailable", BEFORE, True, True, False),
    Fault("reset", "provider_unavailable", BEFORE, True, True, False),
    Fault("close", "provider_unavailable", BEFORE, True, True, False),
    Fault("hang", "provider_timeout", BEFORE, True, True, True),
    Fault("stall", "provider_timeout", WITHIN, True, True, True),
    Fault("abort", "provider_interrupted", WITHIN, True, True, True),
    Fault("truncate", "provider_interrupted", WITHIN, True, True, True),
    Fault("malformed", "provider_protocol_error", WITHIN, True, True, True),
    Fault("oversize", "provider_protocol_error", WITHIN, True, True, True),
    Fault("in_band_error", "provider_unavailable", WITHIN, True, True, False),
    Fault("failed", "provider_unavailable", WITHIN, True, True, False, ("openai-responses",)),
)

Else = Literal["another is fine", "the same is fine again", "no other is fine"]
"""What a turn finds once it looks for somewhere to go on."""


class Case(NamedTuple):
    """One turn that meets a fault."""

    wire: str
    fault: Fault
    point: Point
    contract: FailurePolicy
    otherwise: Else

    @property
    def at(self) -> int:
        """Tokens that come before the fault."""
        return POINTS[self.point] or 0

    def __str__(self) -> str:
        return f"{self.wire}: {self.fault.name} {self.point}, {self.contract}, {self.otherwise}"


def cases() -> Iterator[Case]:
    """All of them: where another endpoint is fine, every fault, point and contract."""
    for wire in WIRES:
        for fault in FAULTS:
            if wire not in fault.wires:
                continue
            for point in fault.points:
                for contract in CONTRACTS:
                    yield Case(wire, fault, point, contract, "another is fine")
                    yield Case(wire, fault, point, contract, "no other is fine")
                    if fault.name != "refused":  # a port does not begin to listen for one test
                        yield Case(wire, fault, point, contract, "the same is fine again")
