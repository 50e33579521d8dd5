"""The bodies and queries of the operators' API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.fields import Body, Clean, Metadata, Name, Said, whole
from gateway.requests import LAST_SECOND

Note = Annotated[Clean, Field(max_length=200)]
Organization = Annotated[str, Field(pattern=r"^org_[a-z0-9_]{1,60}$")]
Scope = Annotated[str, Field(pattern=r"^(base|org_[a-z0-9_]{1,60})$")]
Time = Annotated[float, Field(ge=0, le=LAST_SECOND)]
VersionNumber = Annotated[int, Field(ge=1, le=9_007_199_254_740_991), BeforeValidator(whole)]
Count = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(whole)]


class AdminQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PutQuery(AdminQuery):
    """What is kept with a version."""

    author: Note | None = Field(None, description="Who puts it.")
    note: Note | None = Field(None, description="What for.")


class VersionsQuery(AdminQuery):
    """How many versions to list."""

    limit: int = Field(20, ge=1, le=100)


class RollBack(Body):
    """Which version is to hold again."""

    version: VersionNumber
    author: Note | None = None
    note: Note | None = None


class RoutesQuery(AdminQuery):
    """Whose rules."""

    org: Organization | None = Field(None, description="None: who has none of their own.")


class SessionFacts(Body):
    """What rules may ask of the conversation."""

    id: Name | None = Field(default=None, description="By it a split by session draws.")
    agent: Name | None = Field(default=None, description="Who was chosen for the last answer.")
    turns: Count = 0
    messages: Count = 0
    failures: Count = Field(default=0, description="Turns that failed in a row until now.")


class Explain(Body):
    """A message, as a caller would send it."""

    text: Said
    org: Organization | None = None
    user: Name | None = None
    model: Name = "auto"
    metadata: Metadata | None = None
    session: SessionFacts = SessionFacts()
    background: bool = False
    regenerate: bool = Field(default=False, description="It answers the last message anew.")
    now: Time | None = Field(None, description="Unix seconds.")


class Replay(Body):
    """Which messages, and which rules."""

    since: Time = Field(description="Unix seconds.")
    scope: Scope = "base"
    text: Clean | None = Field(None, description="A policy for `scope`. None: what is in force.")
    org: Organization | None = Field(
        None, description="Whose messages. None: of the scope, or of this gateway's callers."
    )
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)] = 200
    before: Annotated[Clean, Field(max_length=64)] | None = Field(
        None, description="The `last_id` of the answer before, to go on."
    )


class SpendQuery(AdminQuery):
    """Whose spending."""

    org: Organization | None = Field(None, description="None: the one that the API's key acts for.")
    user: Name | None = Field(None, description="None: the whole organization.")
    days: int = Field(30, ge=1, le=400, description="How many days back to tell of, with today.")
