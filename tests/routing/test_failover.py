"""What a failed request means for its turn: every line of the contract."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import (
    AgentUnavailable,
    Busy,
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
    TroupeError,
)
from contracts.events import LEGS_OF_ATTEMPT
from routing.failover import Again, Contract, Failure, GiveUp, after, goes_on

CONTRACT = Contract(
    attempts=3,
    retry_s=10.0,
    retry_nano=None,
    on_failure="continue",
    turn_s=600.0,
    backoff_s=0.1,
    backoff_max_s=1.0,
)


def failure(error: TroupeError | None = None, **fields: Any) -> Failure:
    told = {"heard": False, "requests": 1, "elapsed_s": 0.0, "silent_s": 0.0, **fields}
    return Failure(error or ProviderUnavailable("away"), **told)


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("x"),
        ProviderTimeout("x"),
        ProviderInterrupted("x"),
        ProviderProtocol("x"),
        ProviderRateLimited("x"),
        Busy("x"),
    ],
    ids=lambda error: error.code,
)
@pytest.mark.parametrize("heard", [False, True])
def test_what_may_pass_is_asked_again(error: TroupeError, heard: bool) -> None:
    step = after(CONTRACT, failure(error, heard=heard))
    assert isinstance(step, Again) and step.same


@pytest.mark.parametrize(
    "error",
    [ProviderRejected("x"), ProviderError("x"), AgentUnavailable("x")],
    ids=lambda error: error.code,
)
@pytest.mark.parametrize("heard", [False, True])
def test_what_fails_everywhere_is_not(error: TroupeError, heard: bool) -> None:
    assert after(CONTRACT, failure(error, heard=heard)) == GiveUp("rejected")


def test_a_refused_key_sends_the_turn_elsewhere_and_never_back() -> None:
    step = after(CONTRACT, failure(ProviderUnauthorized("x")))
    assert isinstance(step, Again) and not step.same


@pytest.mark.parametrize(
    ("contract", "fields", "why"),
    [
        ({"on_failure": "stop"}, {"heard": True}, "stop"),
        ({"on_failure": "stop"}, {"heard": False}, None),
        ({}, {"requests": 3}, "attempts"),
        ({}, {"requests": 2}, None),
        ({"attempts": 1}, {}, "attempts"),
        ({"attempts": 99}, {"changes": LEGS_OF_ATTEMPT - 2}, "attempts"),
        ({"attempts": 99}, {"changes": LEGS_OF_ATTEMPT - 3}, None),
        ({}, {"silent_s": 10.0}, "time"),
        ({}, {"silent_s": 9.9}, None),
        ({}, {"elapsed_s": 599.9}, "time"),
        ({}, {"elapsed_s": 500.0}, None),
        ({"retry_nano": 100}, {"next_nano": 101}, "spend"),
        ({"retry_nano": 100}, {"extra_nano": 60, "next_nano": 41}, "spend"),
        ({"retry_nano": 100}, {"extra_nano": 60, "next_nano": 40}, None),
        ({"retry_nano": 0}, {}, None),
        ({}, {"extra_nano": 10**12}, None),
    ],
)
def test_each_budget_ends_it(
    contract: dict[str, Any], fields: dict[str, Any], why: str | None
) -> None:
    step = after(CONTRACT._replace(**contract), failure(**fields))
    assert (step.why if isinstance(step, GiveUp) else None) == why


@pytest.mark.parametrize(
    ("retry_after", "requests", "wait_s"),
    [
        (None, 1, 0.1),
        (None, 2, 0.2),
        (0.0, 1, 0.0),
        (0.3, 1, 0.3),
        (60, 1, 1.0),
        (None, 9, 0.9),
        (None, 12, 1.0),
    ],
)
def test_the_pause(retry_after: float | None, requests: int, wait_s: float) -> None:
    error = ProviderRateLimited("x", retry_after=retry_after)
    step = after(CONTRACT._replace(attempts=15), failure(error, requests=requests))
    assert isinstance(step, Again)
    assert step.wait_s == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("on_failure", "continues", "tool_open", "policy"),
    [
        ("continue", True, False, "continue"),
        ("continue", False, False, "restart"),
        ("continue", True, True, "restart"),
        ("restart", True, False, "restart"),
        ("restart", False, True, "restart"),
    ],
)
def test_what_becomes_of_the_text(
    on_failure: Any, continues: bool, tool_open: bool, policy: str
) -> None:
    assert goes_on(on_failure, continues=continues, tool_open=tool_open) == policy
