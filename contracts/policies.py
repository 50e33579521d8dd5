"""Policies: what operators change while Troupe runs, in versions: agents, rules, budgets.

A policy is a YAML document for one scope. `BASE` holds for all organizations and is laid over the
settings' own agents and rules; an organization's rules come before those of `BASE`.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

BASE = "base"
"""The scope of what holds for everybody."""


class Policy(NamedTuple):
    """One version of one scope's document.

    `version` counts the scope's own from 1; `revision` grows with every change of any scope, so
    whoever knows one can ask for what is newer. `rolled_back_to` is the version that it repeats.
    """

    scope: str
    version: int
    revision: int
    text: str
    created_at: float
    author: str | None = None
    note: str | None = None
    rolled_back_to: int | None = None


class PolicyStore(Protocol):
    """Every version there was; the newest of each scope is in force. May raise
    `StoreUnavailable`.
    """

    async def newer(self, revision: int) -> list[Policy]:
        """The newest version of each scope that changed after this revision."""
        ...

    async def newest(self, scope: str) -> Policy | None: ...

    async def version(self, scope: str, version: int) -> Policy:
        """Raises `NotFound`."""
        ...

    async def versions(self, scope: str, limit: int) -> list[Policy]:
        """The newest first."""
        ...

    async def put(
        self,
        scope: str,
        text: str,
        *,
        expected: int | None = None,
        after: int | None = None,
        author: str | None = None,
        note: str | None = None,
        rolled_back_to: int | None = None,
    ) -> Policy:
        """Keep a new version, in force from now on.

        `expected`: the version it follows, 0 for none; `Conflict` (`policy_changed`) if that is
        no longer the newest. `after`: the newest revision of any scope that it was checked
        against; likewise.
        """
        ...
