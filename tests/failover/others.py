"""Turns that others answer: agents that stand in, and endpoints that were asked to be quicker.

Not the whole product of faults and points: those that are told, billed or moved on differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from actors.desk import Hedge, Seat
from contracts.messages import FailurePolicy
from tests.failover.expected import Bill, Expected, Leg, tokens
from tests.failover.faults import CONTRACTS, FAULTS, TOKENS, WIRES, Fault
from tests.failover.stage import Role, Stage

FIRST, SECOND, SPARE = "first", "second", "spare"
_FAULTS = {fault.name: fault for fault in FAULTS}


class Strike(NamedTuple):
    """A fault, and the tokens that come before it; None: not even a head."""

    name: str
    at: int | None = None

    @property
    def fault(self) -> Fault:
        return _FAULTS[self.name]

    @property
    def said(self) -> int:
        return self.at or 0

    def __str__(self) -> str:
        return self.name if self.at is None else f"{self.name} at {self.at}"


REFUSED = (Strike("server_error"), Strike("rate_limit"), Strike("unauthorized"))
SILENTLY = (Strike("in_band_error", 0), Strike("truncate", 0))
HALFWAY = (Strike("truncate", 3), Strike("malformed", 3), Strike("in_band_error", 3))


# -- agents that stand in ---------------------------------------------------------------------


class StandIn(NamedTuple):
    """An agent whose two endpoints both fail, and another that stands in for it.

    Args:
        last: What strikes the one that stands in; None: it answers.
    """

    wire: str
    contract: FailurePolicy
    first: Strike
    second: Strike
    last: Strike | None

    def __str__(self) -> str:
        met = ", ".join(map(str, (self.first, self.second, self.last or "fine")))
        return f"{self.wire}, {self.contract}: {met}"


def stand_ins() -> Iterator[StandIn]:
    unheard = [(strike, strike) for strike in (*REFUSED, *SILENTLY)]
    heard = [(strike, strike) for strike in HALFWAY]
    heard += [(REFUSED[0], HALFWAY[0]), (HALFWAY[0], REFUSED[0])]
    rejected = Strike("bad_request")
    for wire in WIRES:
        yield StandIn(wire, "continue", rejected, rejected, None)
        for first, second in unheard:
            for last in (None, second):
                yield StandIn(wire, "continue", first, second, last)
        for contract in CONTRACTS:
            for first, second in heard:
                for last in (None, second):
                    yield StandIn(wire, contract, first, second, last)


def stand_in_agents(stage: Stage[StandIn], name: str, case: StandIn) -> list[Seat]:
    own = [_role(FIRST, case.first), _role(SECOND, case.second)]
    other = [Role(SPARE) if case.last is None else _role(SPARE, case.last)]
    return [
        stage.seat(
            name,
            name,
            case.wire,
            own,
            attempts=3,
            on_failure=case.contract,
            fallbacks=(spare_of(name),),
        ),
        # What it would do about its own turns is not asked here.
        stage.seat(spare_of(name), name, case.wire, other, attempts=1, on_failure="stop"),
    ]


def spare_of(agent: str) -> str:
    return f"spare-of-{agent}"


def expected_stand_in(case: StandIn, agent: str) -> Expected:
    found = Expected(agent)
    said, lost, reason = 0, "", ""
    requests = (
        (agent, FIRST, case.first),
        (agent, SECOND, case.second),
        (spare_of(agent), SPARE, case.last),
    )
    for who, endpoint, strike in requests:
        name = f"{who}/{endpoint}"
        if said or found.legs:
            said = said if case.contract == "continue" else 0
            position = len(tokens(0, said))
            found.legs.append(Leg(case.contract, position, reason, lost, name))
        found.asked.append(endpoint)
        if strike is None:
            found.agent, found.text = who, tokens(0, TOKENS)
            found.told += [(endpoint, "spoke"), (endpoint, "done")]
            found.bills.append(Bill(who, endpoint, TOKENS - said, estimated=False))
            return found
        more = min(strike.said, TOKENS - said)
        _fails(found, who, endpoint, strike, more)
        said, lost, reason = said + more, name, strike.fault.code
        if not strike.fault.moves_on or (more and case.contract == "stop"):
            break
    if said:
        found.legs.append(Leg("stop", len(tokens(0, said)), reason, lost, None))
    found.text, found.error = tokens(0, said), reason
    return found


def _fails(found: Expected, agent: str, endpoint: str, strike: Strike, said: int) -> None:
    """A request that says some tokens, and then fails."""
    if said:
        found.agent = agent
        found.told.append((endpoint, "spoke"))
    found.told.append((endpoint, strike.fault.code))
    if said or strike.fault.bills:
        found.bills.append(Bill(agent, endpoint, said, estimated=True))


def _role(name: str, strike: Strike) -> Role:
    return Role(name, strike.name, strike.at)


# -- a second request where the first is silent -----------------------------------------------

HEDGE_NANO = 20_000_000
"""What it may cost: a thousand tokens of any endpoint here, and not two thousand of the dearest."""

Course = Literal[
    "the second speaks",
    "the first speaks after all",
    "the second fails",
    "the first fails",
    "both fail",
    "both fail once",
    "the second speaks and breaks off",
    "it may cost nothing",
    "it may cost nothing and the first fails",
    "who stands in speaks",
    "who stands in speaks and breaks off",
]


class Race(NamedTuple):
    """A turn whose first endpoint is silent for longer than `after_ms`.

    Args:
        strike: What strikes whoever fails.
    """

    wire: str
    contract: FailurePolicy
    course: Course
    strike: Strike | None = None

    @property
    def others(self) -> str:
        """The endpoint that is asked besides."""
        return SPARE if self.course.startswith("who stands in") else SECOND

    def __str__(self) -> str:
        return f"{self.wire}, {self.contract}: {self.course}, {self.strike}"


def races() -> Iterator[Race]:
    early: tuple[Strike, ...] = (*REFUSED, *SILENTLY)
    for wire in WIRES:
        for course in ("the second speaks", "the first speaks after all"):
            yield Race(wire, "continue", course)
        yield Race(wire, "continue", "it may cost nothing")
        yield Race(wire, "continue", "who stands in speaks")
        for strike in early:
            yield Race(wire, "continue", "the second fails", strike)
            yield Race(wire, "continue", "the first fails", strike)
            yield Race(wire, "continue", "both fail", strike)
        for strike in (REFUSED[0], *SILENTLY):
            yield Race(wire, "continue", "both fail once", strike)
            yield Race(wire, "continue", "it may cost nothing and the first fails", strike)
        for contract in CONTRACTS:
            for strike in HALFWAY:
                yield Race(wire, contract, "the second speaks and breaks off", strike)
            yield Race(wire, contract, "who stands in speaks and breaks off", HALFWAY[0])


def race_agents(stage: Stage[Race], name: str, case: Race) -> list[Seat]:
    course = case.course
    attempts = 3 if "once" in course or "breaks" in course else 2
    max_nano = 0 if "nothing" in course else HEDGE_NANO
    first, second = _racers(case)
    contract = {
        "attempts": attempts,
        "on_failure": case.contract,
        "hedge": Hedge(0.02, max_nano, 1.0),
    }
    if case.others == SECOND:
        return [stage.seat(name, name, case.wire, [first, second], **contract)]
    spare = spare_of(name)
    return [
        stage.seat(name, name, case.wire, [first], fallbacks=(spare,), **contract),
        stage.seat(spare, name, case.wire, [second], attempts=1, on_failure="stop"),
    ]


def _racers(case: Race) -> tuple[Role, Role]:
    """What the two do; who shall be slower waits until the other has done its part."""
    course, strike = case.course, case.strike
    silent = Role(FIRST, "hang", times=1, patient=True)
    if strike is None:
        if course == "the first speaks after all":
            return Role(FIRST, holds=_asked), Role(SECOND, "hang", patient=True)
        if course == "it may cost nothing":
            return Role(FIRST, holds=_over), Role(SECOND)
        return silent, Role(case.others)
    failing = _role(case.others, strike)
    if course == "the second fails":
        return Role(FIRST, holds=_over), failing
    if course == "the first fails":
        return Role(FIRST, *strike, holds=_asked), Role(SECOND, holds=_lost)
    if course == "it may cost nothing and the first fails":
        return Role(FIRST, *strike, holds=_over), Role(SECOND)
    if course in ("both fail", "both fail once"):
        once = 1 if course == "both fail once" else None
        first = Role(FIRST, *strike, times=once, holds=_asked)
        return first, Role(SECOND, *strike, times=once, holds=_lost)
    return silent, failing


def _asked(told: Sequence[tuple[str, str]], asked: Sequence[str]) -> bool:
    """The second one was asked."""
    return SECOND in asked


def _over(told: Sequence[tuple[str, str]], asked: Sequence[str]) -> bool:
    """The second one's ticket was given back."""
    return any(endpoint == SECOND for endpoint, _ in told)


def _lost(told: Sequence[tuple[str, str]], asked: Sequence[str]) -> bool:
    """The first one's ticket was given back."""
    return any(endpoint == FIRST for endpoint, _ in told)


def expected_race(case: Race, agent: str) -> Expected:
    found = Expected(agent)
    course, strike = case.course, case.strike
    other = spare_of(agent) if case.others == SPARE else agent
    if course in ("the second speaks", "who stands in speaks"):
        _left(found, agent, FIRST)
        _answers(found, other, case.others)
    elif course == "the first speaks after all":
        _left(found, agent, SECOND)
        _answers(found, agent, FIRST)
    elif course == "it may cost nothing":
        found.told.append((SECOND, "unused"))
        _answers(found, agent, FIRST)
    elif strike is None:
        raise AssertionError(f"nothing strikes where {course}")
    elif course == "it may cost nothing and the first fails":
        found.told.append((SECOND, "unused"))
        _fails(found, agent, FIRST, strike, 0)
        _answers(found, agent, SECOND)
    elif course == "the second fails":
        _fails(found, agent, SECOND, strike, 0)
        _answers(found, agent, FIRST)
    elif course == "the first fails":
        _fails(found, agent, FIRST, strike, 0)
        _answers(found, agent, SECOND)
    elif course == "both fail" or (course == "both fail once" and not strike.fault.again):
        _fails(found, agent, FIRST, strike, 0)
        _fails(found, agent, SECOND, strike, 0)
        found.error = strike.fault.code
    elif course == "both fail once":
        _fails(found, agent, FIRST, strike, 0)
        _fails(found, agent, SECOND, strike, 0)
        _answers(found, agent, FIRST)
    else:
        _left(found, agent, FIRST)
        _fails(found, other, case.others, strike, strike.said)
        _goes_on(found, case, agent, f"{other}/{case.others}", strike)
    return found


def _goes_on(found: Expected, case: Race, agent: str, lost: str, strike: Strike) -> None:
    """What was heard has broken off; the first endpoint, which was left, may go on."""
    kept = 0 if case.contract == "restart" else strike.said
    to = None if case.contract == "stop" else f"{agent}/{FIRST}"
    position = len(tokens(0, kept))
    found.legs.append(Leg(case.contract, position, strike.fault.code, lost, to))
    if to is None:
        found.text, found.error = tokens(0, kept), strike.fault.code
    else:
        _answers(found, agent, FIRST, kept)


def _left(found: Expected, agent: str, endpoint: str) -> None:
    """A request that the other one has outrun: it is paid for by estimate."""
    found.told.append((endpoint, "left"))
    found.bills.append(Bill(agent, endpoint, 0, estimated=True))


def _answers(found: Expected, agent: str, endpoint: str, kept: int = 0) -> None:
    found.agent, found.text = agent, tokens(0, TOKENS)
    found.told += [(endpoint, "spoke"), (endpoint, "done")]
    found.bills.append(Bill(agent, endpoint, TOKENS - kept, estimated=False))
