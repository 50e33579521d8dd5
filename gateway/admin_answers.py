"""What the operators' API answers, as `/openapi.json` describes it. Documentation only, as
`gateway.answers`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.answers import Count, Seconds, Shape


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


class PolicyList(Shape):
    object: Literal["list"]
    data: list[VersionObject]


class VersionList(PolicyList):
    """The newest first."""


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
