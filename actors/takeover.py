"""What becomes of a turn whose host was lost: who goes on, from where, or why nobody does. Pure."""

from __future__ import annotations

from typing import NamedTuple

from actors.desk import Seat
from contracts.errors import HostUnavailable, TroupeError
from contracts.events import leg_of
from contracts.messages import Leg, ResponseRecord

HOST_LOST = "host_lost"


class Resumption(NamedTuple):
    """The leg with which the turn goes on, and the error with which it is to end at once."""

    leg: Leg
    failure: TroupeError | None


def resumption(record: ResponseRecord, seat: Seat | None, most: int, epoch: int) -> Resumption:
    """How a turn that may have begun goes on.

    Args:
        record: As it was found.
        seat: Its agent; None: it is no longer there.
        most: Activations that may run one turn.
        epoch: Of the activation that goes on.
    """
    policy = "stop" if seat is None else seat.on_host_loss
    failure: TroupeError | None = None
    if seat is None:
        failure = agent_gone()
    elif record.attempts > most:
        failure = HostUnavailable(
            f"{record.attempts - 1} hosts were lost with this turn.", code=HOST_LOST
        )
    elif policy == "stop":
        failure = HostUnavailable("The host of this turn was lost.", code=HOST_LOST)
    if failure is not None:
        policy = "stop"
    elif not record.text:
        policy = "restart"
    position = 0 if policy == "restart" else len(record.text)
    number = leg_of(record.attempts, 0)
    return Resumption(Leg(len(record.cuts), position, policy, HOST_LOST, epoch, number), failure)


def agent_gone() -> HostUnavailable:
    """Why a turn ends whose agent was taken away while nobody ran it."""
    return HostUnavailable("The agent of this turn is no longer there.", code=HOST_LOST)


def stopped(leg: Leg, record: ResponseRecord, error: TroupeError | None) -> Leg:
    """The leg of a turn that was to go on by `leg` and does not: what was said stands."""
    reason = leg.reason if error is None else error.cause_code
    return leg._replace(position=len(record.text), policy="stop", reason=reason)
