"""The purse of a host: whether a further turn may be paid for, and what was.

Where nothing limits what is spent, nobody is asked and a check costs a microsecond. Else the sums
of users and organizations are known for `refresh_s` from when the store was asked for them, and
what this host spends meanwhile is added at once: another host's spending is noticed that much
later, one's own never late. Callers that ask for the same sums at the same time share the question.

What is added while a question is under way may be in its answer or not, so it is added to it, and
so is what the store had not confirmed when it was asked: a sum may be too high until it is asked
for again, and never too low by what was spent here.

What no turn in the store has in it is written by one task, summed up by user and day. While the
store is away that waits, within bounds, and is offered to it again. Where nobody can know whether
it was taken it is not, for then it would count twice; the log says how much that was.

While the store is away what was known last holds, and whoever has spent nothing here that is known
is refused: a limit that nobody checks is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import NamedTuple

from contracts.commands import SessionKey
from contracts.errors import OverBudget, StoreUnavailable
from contracts.ids import is_stateless
from contracts.memory import Ledger
from contracts.messages import ResponseRecord
from contracts.money import (
    NO_BUDGETS,
    NO_LIMIT,
    Budgets,
    Charge,
    Limit,
    day_of,
    until_next_month,
    until_tomorrow,
    usd,
)
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.actors.purse")

TOGETHER = 256
"""Sums that are offered to the store at once."""
CLOSE_S = 5.0
"""What a host that ends waits for the store to take what it has not taken yet."""

_SAID = {
    "turn": "This turn would cost more than one may",
    "session": "This conversation has spent what it may spend",
    "user_day": "This user has spent what it may spend today",
    "user_month": "This user has spent what it may spend this month",
    "org_day": "The organization has spent what it may spend today",
    "org_month": "The organization has spent what it may spend this month",
}


@dataclass(slots=True)
class _Sum:
    """What one subject has spent, as far as it is known here. `noted` only ever grows."""

    on: date
    day: int = 0
    month: int = 0
    noted: int = 0
    read_at: float | None = None

    def turn_to(self, today: date) -> None:
        """At the beginning of a day, and of a month, nothing was spent."""
        if self.on == today:
            return
        if (self.on.year, self.on.month) != (today.year, today.month):
            self.month = 0
        self.on, self.day = today, 0

    def add(self, nano: int) -> None:
        self.day += nano
        self.month += nano
        self.noted += nano

    def learn(self, day: int, month: int, stored: int, read_at: float) -> None:
        """`stored`: how much of what is noted the store had for certain when it was asked."""
        since = self.noted - stored
        self.day, self.month, self.read_at = day + since, month + since, read_at


Name = tuple[str, str | None]
"""An organization and one of its users, or None for all of it."""


class _Owed(NamedTuple):
    """What is written as one sum."""

    org_id: str
    user: str | None
    day: date

    @property
    def names(self) -> tuple[Name, ...]:
        return _names(self.org_id, self.user)


class Purse:
    """One host's. Only what other processes spend is asked for.

    Args:
        ledger: Knows what was spent.
        budgets_of: What an organization may spend.
        clock: Unix seconds.
        refresh_s: Seconds for which sums hold.
        remembered: Sums that are kept at most, and as many that wait to be written.
        patience_s: Seconds that the store may take to answer.
        again_s: Seconds after which what it did not take is offered to it again.
    """

    def __init__(
        self,
        ledger: Ledger,
        budgets_of: Callable[[str], Budgets],
        clock: Callable[[], float],
        *,
        refresh_s: float = 2.0,
        remembered: int = 20_000,
        patience_s: float = 1.0,
        again_s: float = 1.0,
    ) -> None:
        self._ledger = ledger
        self._budgets_of = budgets_of
        self._clock = clock
        self._refresh_s = refresh_s
        self._remembered = remembered
        self._patience_s = patience_s
        self._sums: OrderedDict[Name, _Sum] = OrderedDict()
        self._asking: dict[Name, asyncio.Task[None]] = {}
        self._away_until = 0.0
        self._again_s = again_s
        self._unwritten: dict[_Owed, tuple[int, int]] = {}
        """Nano-dollars and turns that are to be written."""
        self._pending: dict[Name, int] = {}
        """Nano-dollars of which the store has not said that it has them."""
        self._writer: asyncio.Task[None] | None = None

    # -- before a turn --------------------------------------------------------------------------

    async def check(self, org_id: str, user: str | None, spent_in_session: int) -> tuple[str, ...]:
        """Whether a turn may begin; the budgets that are beyond their soft limits.

        Raises:
            OverBudget: A hard limit is reached.
            StoreUnavailable: Nobody knows whether one is.
        """
        budgets = self._budgets_of(org_id)
        if budgets == NO_BUDGETS:
            return ()
        warnings: list[str] = []
        self._hold("session", budgets.session, spent_in_session, warnings)
        if budgets.asks_store:
            limited = (budgets.user_day, budgets.user_month) != (NO_LIMIT, NO_LIMIT)
            of_user, of_org = await self._known(org_id, (user or None) if limited else None)
            if of_user is not None:
                self._hold("user_day", budgets.user_day, of_user.day, warnings)
                self._hold("user_month", budgets.user_month, of_user.month, warnings)
            self._hold("org_day", budgets.org_day, of_org.day, warnings)
            self._hold("org_month", budgets.org_month, of_org.month, warnings)
        return tuple(warnings)

    def _hold(self, name: str, limit: Limit, spent: int, warnings: list[str]) -> None:
        if limit.hard is not None and spent >= limit.hard:
            raise over_budget(name, limit.hard, spent, self._retry_after(name))
        if limit.soft is not None and spent > limit.soft:
            warnings.append(name)

    def _retry_after(self, name: str) -> float | None:
        if name.endswith("_day"):
            return until_tomorrow(self._clock())
        return until_next_month(self._clock()) if name.endswith("_month") else None

    def warn(self, org_id: str, record: ResponseRecord) -> None:
        """Before a turn's end is told: say so if it cost more than its soft limit."""
        soft = self._budgets_of(org_id).turn.soft
        if soft is not None and record.nano > soft:
            told = [*record.decision.get("budget", ()), "turn"]
            record.decision = {**record.decision, "budget": told}

    # -- after it -------------------------------------------------------------------------------

    def ended(self, key: SessionKey, user: str | None, record: ResponseRecord) -> None:
        """A turn has ended and, unless its session is kept nowhere, is stored with its cost."""
        if is_stateless(key.session_id):
            self.charge(key.org_id, user, record.charges, turns=1)
        else:
            self._note(key.org_id, user, record.nano)

    def charge(
        self, org_id: str, user: str | None, charges: Sequence[Charge], *, turns: int = 0
    ) -> None:
        """Count what no turn in the store has in it. Never waits, never raises."""
        nano = sum(charge.nano or 0 for charge in charges)
        if nano == 0:
            return
        self._note(org_id, user, nano)
        owed = _Owed(org_id, user or None, day_of(self._clock()))
        if owed not in self._unwritten and len(self._unwritten) >= self._remembered:
            log.error("%s: $%.6f is not counted: too much waits for the store", org_id, usd(nano))
            return
        self._owe(owed, nano, turns)
        for name in owed.names:
            self._pending[name] = self._pending.get(name, 0) + nano
        if self._writer is None or self._writer.done():
            self._writer = spawn(self._write(), name="purse-charges")

    def _owe(self, owed: _Owed, nano: int, turns: int) -> None:
        before = self._unwritten.get(owed, (0, 0))
        self._unwritten[owed] = before[0] + nano, before[1] + turns

    async def _write(self) -> None:
        away = False
        while self._unwritten:
            part = dict(islice(self._unwritten.items(), TOGETHER))
            for owed in part:
                del self._unwritten[owed]
            offers = [self._offer(owed, *sums) for owed, sums in part.items()]
            taken = all(await asyncio.gather(*offers))
            if not taken and not away:
                log.warning("$%.6f of what was spent waits for the store", self._pending_usd)
            if taken and away:
                log.info("the store takes again what was spent")
            away = not taken
            if away:
                await asyncio.sleep(self._again_s)

    async def _offer(self, owed: _Owed, nano: int, turns: int) -> bool:
        """Whether that is the end of it."""
        try:
            await self._ledger.charge(owed.org_id, owed.user, nano, day=owed.day, turns=turns)
        except StoreUnavailable as error:
            if error.details.get("written") != "unknown":
                self._owe(owed, nano, turns)
                return False
            log.error("%s: $%.6f may not be counted: %s", owed.org_id, usd(nano), error.message)
        except Exception:
            log.exception("%s: $%.6f is not counted", owed.org_id, usd(nano))
        for name in owed.names:
            self._pending[name] -= nano
            if not self._pending[name]:
                del self._pending[name]
        return True

    @property
    def _pending_usd(self) -> float:
        return usd(sum(nano for (_, user), nano in self._pending.items() if user is None))

    async def aclose(self, within_s: float = CLOSE_S) -> None:
        """Let the store take what it has not taken yet, within bounds; the rest is lost."""
        if self._writer is None:
            return
        await asyncio.wait([self._writer], timeout=within_s)
        if not self._writer.done():
            await stop(self._writer)
            log.error("$%.6f is not counted: the store stayed away", self._pending_usd)

    def _note(self, org_id: str, user: str | None, nano: int) -> None:
        if not self._sums or nano == 0:
            return
        today = day_of(self._clock())
        for name in _names(org_id, user):
            known = self._sums.get(name)
            if known is not None:
                known.turn_to(today)
                known.add(nano)

    # -- what is known --------------------------------------------------------------------------

    async def _known(self, org_id: str, user: str | None) -> tuple[_Sum | None, _Sum]:
        """The sums of a user, if one is asked for, and of its organization."""
        name = org_id, user
        names = [name] if user is None else [name, (org_id, None)]
        now = self._clock()
        if any(self._is_stale(one, now) for one in names):
            away: StoreUnavailable | None = None
            try:
                await self._refresh(name, now)
            except StoreUnavailable as error:
                away = error
            if any(self._sum(one).read_at is None for one in names):
                raise StoreUnavailable("Nobody knows what was spent.", retry_after=1) from away
        today = day_of(self._clock())
        sums = [self._sum(one) for one in names]
        for one in sums:
            one.turn_to(today)
        return (None if user is None else sums[0]), sums[-1]

    def _is_stale(self, name: Name, now: float) -> bool:
        known = self._sums.get(name)
        if known is None or known.read_at is None or now - known.read_at >= self._refresh_s:
            return True
        return known.on != day_of(now)

    async def _refresh(self, name: Name, now: float) -> None:
        if now < self._away_until:
            raise StoreUnavailable("The store was away a moment ago.", retry_after=1)
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = spawn(
                self._ask(name), name=f"purse-{name[0]}", on_error=self._failed
            )
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        await asyncio.shield(task)

    def _failed(self, error: BaseException) -> None:
        """Whoever waits for the answer hears of it too; others are not kept waiting for a while."""
        if not isinstance(error, StoreUnavailable):
            log.error("what was spent cannot be asked", exc_info=error)
            return
        self._away_until = self._clock() + self._refresh_s
        log.warning("what was spent cannot be asked: %s", error.message)

    async def _ask(self, name: Name) -> None:
        org_id, user = name
        of_org, asked_at = self._sum((org_id, None)), self._clock()
        of_user = None if user is None else self._sum(name)
        stored_of_org = of_org.noted - self._pending.get((org_id, None), 0)
        stored_of_user = of_user.noted - self._pending.get(name, 0) if of_user else 0
        try:
            async with asyncio.timeout(self._patience_s):
                spent = await self._ledger.spent(org_id, user)
        except TimeoutError as error:
            raise StoreUnavailable("The store takes too long.", retry_after=1) from error
        today = day_of(asked_at)
        of_org.turn_to(today)
        of_org.learn(spent.org_day, spent.org_month, stored_of_org, asked_at)
        if of_user is not None:
            of_user.turn_to(today)
            of_user.learn(spent.user_day, spent.user_month, stored_of_user, asked_at)

    def _sum(self, name: Name) -> _Sum:
        known = self._sums.get(name)
        if known is None:
            known = self._sums[name] = _Sum(day_of(self._clock()))
            if len(self._sums) > self._remembered:
                self._sums.popitem(last=False)
        self._sums.move_to_end(name)
        return known


def _names(org_id: str, user: str | None) -> tuple[Name, ...]:
    """Whose sums it counts in."""
    return ((org_id, user), (org_id, None)) if user else ((org_id, None),)


def over_budget(name: str, limit: int, spent: int, retry_after: float | None = None) -> OverBudget:
    """The refusal; `name` as in `Budgets`."""
    return OverBudget(
        f"{_SAID[name]}: ${usd(limit):g}.",
        retry_after=retry_after,
        details={"budget": name, "limit_usd": usd(limit), "spent_usd": usd(spent)},
    )
