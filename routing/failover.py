"""What a turn does when one of its requests to a provider fails: its contract, and nothing else.

Pure. Two questions, since what an answer can become depends on who goes on with it: `after` says
whether the turn may ask again, and how; `goes_on` says, once the next endpoint is known, what
becomes of the text that was said.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from contracts.errors import Busy, ProviderError, ProviderUnauthorized, TroupeError
from contracts.events import LEGS_OF_ATTEMPT
from contracts.messages import FailurePolicy

SPENT = 0.95
"""Of a turn's whole time: what fails later than that would not be complete in time either."""


class Contract(NamedTuple):
    """What one turn may do; see `actors.desk.Seat`.

    Args:
        turn_s: Seconds it may take in all.
        backoff_s: Seconds before the same endpoint is asked again; as much longer each time.
        backoff_max_s: Seconds of that at most, also where the provider wishes for more.
    """

    attempts: int
    retry_s: float
    retry_nano: int | None
    on_failure: FailurePolicy
    turn_s: float
    backoff_s: float
    backoff_max_s: float


class Failure(NamedTuple):
    """What a turn has come to as one of its requests failed.

    Args:
        error: Why.
        heard: Text was let through to readers.
        requests: The turn has made, this one among them.
        elapsed_s: Seconds since the turn began.
        silent_s: Seconds since the turn began, or since it lost an answer that had begun.
        extra_nano: Nano-dollars that requests after the first have cost.
        next_nano: What the next one will cost at least; 0 where nobody knows.
        changes: How often the turn has gone on elsewhere in this activation.
    """

    error: TroupeError
    heard: bool
    requests: int
    elapsed_s: float
    silent_s: float
    extra_nano: int = 0
    next_nano: int = 0
    changes: int = 0


class Again(NamedTuple):
    """Ask again: at once where an endpoint is left that has not failed the turn, otherwise after
    `wait_s` seconds. `same`: the one that failed may be asked again.
    """

    wait_s: float
    same: bool


class GiveUp(NamedTuple):
    """The turn fails with the error it has."""

    why: Literal["rejected", "stop", "attempts", "time", "spend"]


def after(contract: Contract, failure: Failure) -> Again | GiveUp:
    """Whether the turn may make another request."""
    error = failure.error
    moves_on = isinstance(error, (ProviderUnauthorized, Busy))
    if not moves_on and not (isinstance(error, ProviderError) and error.retryable):
        return GiveUp("rejected")
    if failure.heard and contract.on_failure == "stop":
        return GiveUp("stop")
    # The last leg is kept for telling that nobody goes on.
    if failure.requests >= contract.attempts or failure.changes >= LEGS_OF_ATTEMPT - 2:
        return GiveUp("attempts")
    if failure.silent_s >= contract.retry_s or failure.elapsed_s >= SPENT * contract.turn_s:
        return GiveUp("time")
    budget = contract.retry_nano
    if budget is not None and failure.extra_nano + failure.next_nano > budget:
        return GiveUp("spend")
    wish = error.retry_after
    wait_s = contract.backoff_s * failure.requests if wish is None else wish
    return Again(min(wait_s, contract.backoff_max_s), not isinstance(error, ProviderUnauthorized))


def goes_on(
    on_failure: FailurePolicy, *, continues: bool, tool_open: bool = False
) -> FailurePolicy:
    """What becomes of a begun answer at its next endpoint: that model goes on, or begins anew.

    Args:
        on_failure: What the contract asks for.
        continues: Whether that endpoint's model can go on with another's answer.
        tool_open: A tool was called and has not answered: nobody but the caller can go on there.
    """
    if on_failure == "restart" or tool_open or not continues:
        return "restart"
    return "continue"
