"""The rulebook: agents and rules as they are in force, and how operators change them.

What is put is read together with all that is there before it is kept, so that what a host cannot
use is refused here, with everything that is wrong with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from context.watch import PolicyWatch
from contracts.errors import Conflict, InvalidRequest, TooLarge
from contracts.money import NO_BUDGETS, Budgets
from contracts.policies import Policy, PolicyStore
from routing.rules import RuleSet

_TRIES = 5


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent as callers see it."""

    name: str
    description: str = ""
    owner: str = "troupe"
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Rules in their order.

    Args:
        rules: Compiled.
        rows: As they were written, each with `from`: the scope of its policy, or `settings`.
        version: Of the policies they come from, as `base.3+org_x.7`; 0 stands for settings.
    """

    rules: RuleSet
    rows: tuple[Mapping[str, Any], ...]
    version: str = "0"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force.

    Args:
        cards: The agents.
        rules: For everybody who has none of their own.
        rules_of: By organization.
        tiers: By organization.
        revision: Of the newest policy in it; 0: settings alone.
        budgets: Where an organization has nothing of its own.
        budgets_of: By organization.
        made_from: What was read for it, held so that what stays is not read and compiled again.
    """

    cards: tuple[AgentCard, ...]
    rules: Listing
    rules_of: Mapping[str, Listing] = field(default_factory=dict[str, Listing])
    tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: int = 0
    budgets: Budgets = NO_BUDGETS
    budgets_of: Mapping[str, Budgets] = field(default_factory=dict[str, Budgets])
    made_from: object = field(default=None, repr=False, compare=False)

    def budget(self, org_id: str) -> Budgets:
        """What an organization may spend."""
        return self.budgets_of.get(org_id, self.budgets)

    @property
    def agents(self) -> tuple[str, ...]:
        """The names of the agents."""
        return tuple(card.name for card in self.cards)

    def of(self, org_id: str) -> Listing:
        """The rules of an organization."""
        return self.rules_of.get(org_id, self.rules)


class Rulebook:
    """See the module.

    Args:
        store: Keeps the policies.
        read: What holds with these policies; takes its time, and raises `InvalidRequest`
            (`invalid_policy`).
        scopes: Policies in force at most.
        chars: Of one policy at most; a longer one is not even read.
        poll_s: Seconds between two looks for what others have put.
    """

    def __init__(
        self,
        store: PolicyStore,
        read: Callable[[Sequence[Policy]], Standing],
        *,
        scopes: int = 1000,
        chars: int = 200_000,
        poll_s: float = 1.0,
    ) -> None:
        self.store = store
        self.standing = read(())
        self.watch = PolicyWatch(store, self._apply, poll_s=poll_s)
        self._read = read
        self._scopes = scopes
        self._chars = chars

    async def check(self, scope: str, text: str) -> Standing:
        """What would hold with this text. Raises `InvalidRequest`."""
        return (await self._checked(scope, text))[0]

    async def draft(self, scope: str, text: str | None) -> Standing:
        """What would hold with this text, or what does without one, for one to try and throw away.

        Raises `InvalidRequest`.
        """
        if text is not None:
            return await self.check(scope, text)
        return await asyncio.to_thread(self._read, tuple(self.watch.known))

    async def put(
        self,
        scope: str,
        text: str,
        *,
        expected: int | None = None,
        author: str | None = None,
        note: str | None = None,
        rolled_back_to: int | None = None,
    ) -> Policy:
        """Keep a new version, which is in force here at once, elsewhere soon.

        Raises:
            InvalidRequest: Something is wrong with it; nothing has changed.
            Conflict: The version it was to follow is no longer the newest.
        """
        for _ in range(_TRIES - 1):
            _, newest = await self._checked(scope, text)
            try:
                policy = await self.store.put(
                    scope,
                    text,
                    expected=expected,
                    after=newest,
                    author=author,
                    note=note,
                    rolled_back_to=rolled_back_to,
                )
            except Conflict:
                # Another policy came while this one was read; only its own version is for good.
                if expected is not None and await self._version(scope) != expected:
                    raise
                continue
            await self.watch.look()
            return policy
        raise Conflict(
            "Policies change faster than this one can be checked.",
            code="policy_changed",
            retry_after=1,
        )

    async def roll_back(
        self,
        scope: str,
        version: int,
        *,
        expected: int | None = None,
        author: str | None = None,
        note: str | None = None,
    ) -> Policy:
        """Put the text of an older version again. Raises `NotFound`, and as `put` does."""
        former = await self.store.version(scope, version)
        return await self.put(
            scope,
            former.text,
            expected=expected,
            author=author,
            note=note,
            rolled_back_to=version,
        )

    async def _checked(self, scope: str, text: str) -> tuple[Standing, int]:
        """What would hold, and the newest revision that this is said of."""
        if len(text) > self._chars:
            raise TooLarge(
                f"A policy has at most {self._chars} characters.",
                code="policy_too_large",
                details={"limit": self._chars},
            )
        there = {policy.scope: policy for policy in await self.store.newer(0)}
        newest = max((policy.revision for policy in there.values()), default=0)
        if scope not in there and len(there) >= self._scopes:
            raise InvalidRequest(
                f"There are policies of {self._scopes} scopes already.",
                param="scope",
                code="too_many_policies",
                details={"limit": self._scopes},
            )
        version = there[scope].version + 1 if scope in there else 1
        there[scope] = Policy(scope, version, newest + 1, text, time.time())
        return await asyncio.to_thread(self._read, tuple(there.values())), newest

    async def _version(self, scope: str) -> int:
        newest = await self.store.newest(scope)
        return newest.version if newest else 0

    async def _apply(self, policies: Sequence[Policy]) -> None:
        self.standing = await asyncio.to_thread(self._read, tuple(policies))
