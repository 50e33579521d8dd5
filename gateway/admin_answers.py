"""What the operators' API answers, as `/openapi.json` describes it. Documentation only, as
`gateway.answers`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contracts.messages import FailurePolicy
from gateway.answers import Count, Dollars, Seconds, Shape


class VersionObject(Shape):
    """One version of a policy."""

    scope: str
    version: Count = Field(description="Counts the scope's own; 0: nobody has put one.")
    revision: Count = Field(description="Grows with every change of any scope.")
    created_at: Seconds
    author: str | None
    note: str | None
    rolled_back_to: Count | None = Field(description="The version that it repeats.")


class PolicyObject(VersionObject):
    """One version of a policy, with its text."""

    text: str


class VersionList(Shape):
    """The newest first."""

    object: Literal["list"]
    data: list[VersionObject]


class PolicyList(VersionList):
    """The newest of each scope."""

    revision: Count = Field(description="Of what is in force at this gateway.")
    problem: str | None = Field(description="Why what is newest is not in force there.")


class PutObject(Shape):
    """What was put."""

    scope: str
    version: Count
    revision: Count


class CheckObject(Shape):
    """What would hold."""

    scope: str
    valid: Literal[True]
    agents: list[str]
    rules: list[str] = Field(description="The rules' names in their order.")


class RoutesObject(Shape):
    """Rules in their order."""

    org: str | None
    version: str = Field(description="Of the policies they come from; 0 stands for settings.")
    rules: list[dict[str, Any]] = Field(
        description="Each as it was written, with `from`: an organization, `base` or `settings`."
    )


class StepObject(Shape):
    """What a rule said of the message."""

    rule: str
    from_: str = Field(alias="from")
    when: Any
    outcome: Literal["match", "no", "failed", "skipped"]
    why: str


class CandidateObject(Shape):
    """An endpoint of the chosen agent, over all hosts."""

    endpoint: str
    state: str
    expected_ms: Count | None = Field(description="To a first token; null: nobody knows.")
    running: Count


class ExplainObject(Shape):
    """The way of a message."""

    version: str
    path: list[StepObject]
    agent: str | None = Field(description="None: only a model can tell.")
    reason: str
    leads_to: dict[str, Any] = Field(description="Where the rule that matched leads, as written.")
    candidates: list[CandidateObject] | None = Field(
        description="The agent's endpoints; null: hosts cannot be heard."
    )


class ChangeObject(Shape):
    """A message that another agent would get, or the same under another contract."""

    response_id: str
    session_id: str
    before: str
    after: str
    rule_before: str
    rule_after: str
    reason: str
    on_failure_before: FailurePolicy | None = Field(
        description="What the rule said of a begun answer whose provider fails; null: nothing, so "
        "the agent's own word holds."
    )
    on_failure_after: FailurePolicy | None
    text: str = Field(description="How it begins.")


class MoveObject(Shape):
    """How many would go from whom to whom."""

    before: str
    after: str
    count: Count


class ReplayFault(Shape):
    """Why a rule had no answer, and how often."""

    rule: str
    source: str
    reason: str
    count: Count
    last: float


class ReplayObject(Shape):
    """What would change."""

    org: str
    version: str
    messages: Count
    same: Count
    changed: Count
    would_ask: Count = Field(description="Those that only a model could lead.")
    named: Count = Field(description="Those whose caller chose the agent.")
    moves: list[MoveObject]
    rules: dict[str, Count] = Field(description="How many each rule would take.")
    changes: list[ChangeObject]
    faults: list[ReplayFault]
    has_more: bool
    last_id: str | None


class LimitObject(Shape):
    soft_usd: Dollars | None = Field(description="Beyond it turns go on and say so.")
    hard_usd: Dollars | None = Field(description="At it further turns are refused.")


class BudgetsObject(Shape):
    """What may be spent. Days and months are of UTC's calendar."""

    turn: LimitObject
    session: LimitObject
    user_day: LimitObject
    user_month: LimitObject
    org_day: LimitObject
    org_month: LimitObject


class DaySpentObject(Shape):
    day: str = Field(description="As `2026-11-30`.")
    cost_usd: Dollars
    turns: Count = Field(description="Those that cost something.")


class UserSpentObject(Shape):
    user: str
    today_usd: Dollars
    month_usd: Dollars


class SpendObject(Shape):
    """What was spent."""

    org: str
    user: str | None
    today_usd: Dollars
    month_usd: Dollars
    budgets: BudgetsObject
    days: list[DaySpentObject] = Field(description="On which anything was; the newest first.")
    users: list[UserSpentObject] = Field(description="Who spent most this month.")


class EndpointObject(Shape):
    """One endpoint, over all hosts."""

    agent: str
    endpoint: str
    model: str
    region: str | None
    state: Literal["closed", "open", "probing"] = Field(
        description="Of its circuit, the worst of all hosts'. `open`: it is not asked. `probing`: "
        "one request at a time, until one goes well."
    )
    expected_ms: Count | None = Field(description="To a first token; null: nobody knows.")
    running: Count
    asked: Count = Field(description="Requests since each host has had this agent.")
    failed: Count = Field(description="Of these, those that the endpoint is to blame for.")
    rate_limited_until: Seconds | None


class HostObject(Shape):
    """What a host says of itself."""

    host: str
    at: Seconds
    revision: Count = Field(description="Of the policies that it answers by; 0: settings alone.")
    rules: list[dict[str, Any]] = Field(
        description="Each with `rule`, `source`, `matched` and `faults` of `reason`, `count`, "
        "`last`."
    )
    policy_errors: list[str] = Field(description="Why newer policies are not in force there.")


class EndpointsObject(Shape):
    """How endpoints stand, and the hosts that say so."""

    hosts: list[HostObject]
    endpoints: list[EndpointObject]
