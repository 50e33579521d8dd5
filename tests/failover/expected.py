"""What a turn must come to that meets a fault, worked out from the table and the contract alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.messages import FailurePolicy
from tests.failover.faults import TOKENS, Case

ATTEMPTS = 2
BAD, GOOD = "bad", "good"


def tokens(first: int, end: int) -> str:
    """Numbered tokens from `first` up to, not including, `end`."""
    return "".join(f"t{k} " for k in range(first, end))


@dataclass(frozen=True, slots=True)
class Leg:
    """A `response.resumed` as a client is told of it."""

    policy: FailurePolicy
    position: int
    reason: str
    source: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Bill:
    """One request that is paid for, and the tokens that its model is known to have said."""

    agent: str
    endpoint: str
    said: int
    estimated: bool


@dataclass(slots=True)
class Expected:
    """All that can be seen of a turn from outside.

    Args:
        agent: Who answered, or was to.
        text: What stands in the end.
        error: None: it was completed.
        legs: What its readers were told between.
        asked: The endpoints that were asked, in order.
        told: What their tickets heard.
        bills: What was paid for.
    """

    agent: str
    text: str = ""
    error: str | None = None
    legs: list[Leg] = field(default_factory=list[Leg])
    asked: list[str] = field(default_factory=list[str])
    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    bills: list[Bill] = field(default_factory=list[Bill])


def expected(case: Case, agent: str, heard: int, more: int) -> Expected:
    """What becomes of a case.

    Args:
        agent: Its name, as legs say it.
        heard: Tokens that were heard of the answer that failed first.
        more: Likewise of the second, where that fails too.
    """
    found = Expected(agent)
    fault = case.fault
    second = BAD if case.otherwise == "the same is fine again" else GOOD
    _fails(found, case, agent, BAD, heard)
    may_move = fault.moves_on and (second != BAD or fault.again)
    if heard and (case.contract == "stop" or not may_move):
        found.legs.append(_leg(case, agent, heard, "stop", BAD, None))
        may_move = False
    if not may_move:
        found.text, found.error = tokens(0, heard), fault.code
        return found
    kept = kept_of(case, heard)
    if heard:
        found.legs.append(_leg(case, agent, kept, case.contract, BAD, second))
    if case.otherwise == "no other is fine":
        _fails(found, case, agent, GOOD, more)
        if kept + more:
            found.legs.append(_leg(case, agent, kept + more, "stop", GOOD, None))
        found.text, found.error = tokens(0, kept + more), fault.code
        return found
    found.asked.append(second)
    found.told += [(second, "spoke"), (second, "done")]
    found.bills.append(Bill(agent, second, TOKENS - kept, estimated=False))
    found.text = tokens(0, TOKENS)
    return found


def kept_of(case: Case, heard: int) -> int:
    """Tokens of the first answer that stand when another request goes on."""
    return heard if case.contract == "continue" else 0


def _fails(found: Expected, case: Case, agent: str, endpoint: str, said: int) -> None:
    """A request that says some tokens, and then meets the fault."""
    found.asked.append(endpoint)
    if said:
        found.told.append((endpoint, "spoke"))
    found.told.append((endpoint, case.fault.code))
    if said or case.fault.bills:
        found.bills.append(Bill(agent, endpoint, said, estimated=True))


def _leg(
    case: Case, agent: str, kept: int, policy: FailurePolicy, source: str, target: str | None
) -> Leg:
    to = None if target is None else f"{agent}/{target}"
    return Leg(policy, len(tokens(0, kept)), case.fault.code, f"{agent}/{source}", to)
