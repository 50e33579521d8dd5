"""The bodies and queries of the operators' API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.fields import Body, Clean

Note = Annotated[Clean, Field(max_length=200)]
VersionNumber = Annotated[int, Field(ge=1, le=9_007_199_254_740_991)]


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
