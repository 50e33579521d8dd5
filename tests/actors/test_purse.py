"""The purse: what a further turn may cost, and who is asked what was spent."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import pytest

from actors.purse import Purse
from contracts.commands import SessionKey
from contracts.errors import OverBudget, StoreUnavailable
from contracts.messages import ResponseRecord
from contracts.money import NO_BUDGETS, Budgets, Charge, Limit, Spent
from contracts.tasks import spawn
from tests.support.waiting import until

ORG = "org_default"
AWAY = StoreUnavailable("The store is away.", details={"written": "no"})
LOST = StoreUnavailable("It broke off before it answered.", details={"written": "unknown"})
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
KEY = SessionKey(ORG, "conv_1")
STATELESS = SessionKey(ORG, "chat_1")


class Book:
    """A ledger for units; `away` or `gate` keep its answers back, `slot` what it is to count."""

    def __init__(self) -> None:
        self.spent_by: dict[str | None, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.charged: list[tuple[str | None, int, int]] = []
        self.days: list[date] = []
        self.slot = asyncio.Event()
        self.slot.set()
        self.refuses: StoreUnavailable | None = None
        self.refused = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def spent(self, org_id: str, user: str | None) -> Spent:
        self.asked.append((org_id, user))
        of_user, of_org = self.spent_by.get(user, 0) if user else 0, sum(self.spent_by.values())
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("The store is away.")
        return Spent(of_user, of_user, of_org, of_org)

    async def charge(
        self, org_id: str, user: str | None, nano: int, *, day: date, turns: int = 0
    ) -> None:
        await self.slot.wait()
        if self.refuses is not None:
            self.refused += 1
            raise self.refuses
        self.charged.append((user, nano, turns))
        self.days.append(day)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def purse_of(
    book: Book,
    clock: Clock,
    budgets: Budgets | None = None,
    remembered: int = 100,
    patience_s: float = 60.0,
    **limits: Limit,
) -> Purse:
    mine = budgets or Budgets(**limits)
    return Purse(
        book,
        lambda org_id: mine if org_id == ORG else NO_BUDGETS,
        clock,
        remembered=remembered,
        patience_s=patience_s,
        again_s=0.01,
    )


def charge(nano: int | None) -> Charge:
    return Charge("echo", "echo-1", "m", 1, 1, 0, nano)


def ended(purse: Purse, user: str | None, nano: int, key: SessionKey = KEY) -> None:
    record = ResponseRecord("resp_1", key.session_id, "completed", "echo", "echo", NOON, "msg_1")
    record.charges = [charge(nano), charge(None)]
    purse.ended(key, user, record)


async def test_without_budgets_nobody_is_asked(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=1))
    assert await purse.check("org_other", "ann", 10**15) == ()
    assert book.asked == []


async def test_a_session_needs_no_store(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, session=Limit(50, 100))
    assert await purse.check(ORG, "ann", 50) == ()
    assert await purse.check(ORG, "ann", 51) == ("session",)
    with pytest.raises(OverBudget) as caught:
        await purse.check(ORG, "ann", 100)
    assert caught.value.details == {"budget": "session", "limit_usd": 1e-7, "spent_usd": 1e-7}
    assert caught.value.retry_after is None
    assert book.asked == []


@pytest.mark.parametrize(
    ("name", "retry_after"),
    [
        ("user_day", 43_200.0),
        ("user_month", 43_200.0),
        ("org_day", 43_200.0),
        ("org_month", 43_200.0),
    ],
)
async def test_each_shared_limit_warns_then_refuses(
    name: str, retry_after: float, book: Book, clock: Clock
) -> None:
    purse = purse_of(book, clock, budgets=Budgets(**{name: Limit(100, 200)}))
    book.spent_by = {"ann": 100}
    assert await purse.check(ORG, "ann", 0) == ()
    ended(purse, "ann", 1)
    assert await purse.check(ORG, "ann", 0) == (name,)
    ended(purse, "ann", 99)
    with pytest.raises(OverBudget) as caught:
        await purse.check(ORG, "ann", 0)
    assert caught.value.details["budget"] == name
    assert caught.value.details["spent_usd"] == 2e-7
    assert caught.value.retry_after == retry_after
    assert len(book.asked) == 1


async def test_a_month_is_waited_for_to_its_end(book: Book, clock: Clock) -> None:
    clock.now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() - 30 * 86_400
    purse = purse_of(book, clock, org_month=Limit(hard=0))
    with pytest.raises(OverBudget) as caught:
        await purse.check(ORG, None, 0)
    assert caught.value.retry_after == 30 * 86_400 + 1


async def test_a_user_is_not_stopped_by_another_but_by_the_organization(
    book: Book, clock: Clock
) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100), org_day=Limit(hard=150))
    book.spent_by = {"ann": 100}
    with pytest.raises(OverBudget):
        await purse.check(ORG, "ann", 0)
    await purse.check(ORG, "bob", 0)
    await purse.check(ORG, None, 0)
    ended(purse, "bob", 50)
    for user in ("bob", None):
        with pytest.raises(OverBudget) as caught:
            await purse.check(ORG, user, 0)
        assert caught.value.details["budget"] == "org_day"


async def test_what_others_spend_is_heard_of_within_the_time(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100))
    await purse.check(ORG, "ann", 0)
    book.spent_by = {"ann": 100}
    clock.now += 1.9
    await purse.check(ORG, "ann", 0)
    clock.now += 0.1
    with pytest.raises(OverBudget):
        await purse.check(ORG, "ann", 0)
    assert len(book.asked) == 2


async def test_those_who_ask_at_once_share_the_question(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, org_day=Limit(hard=100))
    book.gate.clear()
    waiting = [spawn(purse.check(ORG, f"u{n}", 0), name=f"u{n}") for n in range(20)]
    await until(lambda: len(book.asked) > 0, "the question")
    waiting[0].cancel()
    book.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert book.asked == [(ORG, None)]
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [()] * 19


async def test_what_is_spent_while_the_store_is_asked_is_not_forgotten(
    book: Book, clock: Clock
) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100))
    await purse.check(ORG, "ann", 0)
    clock.now += 2
    book.gate.clear()
    asking = spawn(purse.check(ORG, "ann", 0), name="ann")
    await until(lambda: len(book.asked) == 2, "the question")
    ended(purse, "ann", 100)
    book.gate.set()
    with pytest.raises(OverBudget):
        await asking


async def test_while_the_store_is_away_what_is_known_holds(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100))
    book.spent_by = {"ann": 60}
    await purse.check(ORG, "ann", 0)
    book.away = True
    clock.now += 2
    await purse.check(ORG, "ann", 0)
    with pytest.raises(StoreUnavailable):
        await purse.check(ORG, "bob", 0)
    ended(purse, "ann", 40)
    with pytest.raises(OverBudget):
        await purse.check(ORG, "ann", 0)
    assert len(book.asked) == 2, "the store is left alone for a while"
    clock.now += 2
    book.away = False
    book.spent_by = {"ann": 99}
    await purse.check(ORG, "ann", 0)


async def test_a_store_that_does_not_answer_is_away(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, patience_s=0.05, user_day=Limit(hard=100))
    book.gate.clear()
    with pytest.raises(StoreUnavailable):
        await purse.check(ORG, "ann", 0)


async def test_a_new_day_begins_with_nothing_and_a_month_goes_on(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100), user_month=Limit(hard=150))
    clock.now -= 3 * 86_400
    book.spent_by = {"ann": 100}
    with pytest.raises(OverBudget):
        await purse.check(ORG, "ann", 0)
    book.away = True
    clock.now += 43_200
    await purse.check(ORG, "ann", 0)
    ended(purse, "ann", 50)
    with pytest.raises(OverBudget) as caught:
        await purse.check(ORG, "ann", 0)
    assert caught.value.details["budget"] == "user_month"
    clock.now += 3 * 86_400
    await purse.check(ORG, "ann", 0)


async def test_no_more_is_remembered_than_may_be(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock, remembered=4, user_day=Limit(hard=100))
    for n in range(10):
        await purse.check(ORG, f"u{n}", 0)
    assert len(purse._sums) == 4  # pyright: ignore[reportPrivateUsage]
    await purse.check(ORG, "u9", 0)
    await purse.check(ORG, "u0", 0)
    assert [user for _, user in book.asked] == [*(f"u{n}" for n in range(10)), "u0"]


async def test_what_no_store_has_with_its_turn_is_charged(book: Book, clock: Clock) -> None:
    purse = purse_of(book, clock)
    ended(purse, "ann", 30, STATELESS)
    ended(purse, "ann", 70)
    purse.charge(ORG, None, [charge(5), charge(6)])
    purse.charge(ORG, None, [charge(None)])
    await until(lambda: len(book.charged) == 2, "charges")
    assert book.charged == [("ann", 30, 1), (None, 11, 0)]


async def test_a_charge_waits_for_a_store_that_is_away_and_counts_once(
    book: Book, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    purse = purse_of(book, clock)
    book.refuses = AWAY
    purse.charge(ORG, "ann", [charge(2_000)], turns=1)
    await until(lambda: book.refused > 1, "it was offered again")
    for _ in range(3):
        purse.charge(ORG, "ann", [charge(500)], turns=1)
    purse.charge(ORG, None, [charge(7)])
    clock.now += 86_400
    purse.charge(ORG, "ann", [charge(1)])
    book.refuses = None
    await purse.aclose()
    assert sorted(zip(book.days, book.charged, strict=True), key=str) == [
        (date(2026, 11, 30), ("ann", 3_500, 4)),
        (date(2026, 11, 30), (None, 7, 0)),
        (date(2026, 12, 1), ("ann", 1, 0)),
    ]
    assert caplog.text.count("waits for the store") == 1, "said once, not with every try"
    assert purse._pending == {}  # pyright: ignore[reportPrivateUsage]


async def test_a_charge_that_may_be_stored_is_not_counted_twice(
    book: Book, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    purse = purse_of(book, clock)
    book.refuses = LOST
    purse.charge(ORG, "ann", [charge(2_000)])
    await purse.aclose()
    assert (book.refused, book.charged) == (1, [])
    assert "$0.000002 may not be counted" in caplog.text
    assert purse._pending == {}  # pyright: ignore[reportPrivateUsage]


async def test_what_the_store_has_not_taken_yet_counts_beside_what_it_says(
    book: Book, clock: Clock
) -> None:
    purse = purse_of(book, clock, user_day=Limit(hard=100), org_day=Limit(hard=150))
    book.slot.clear()
    # Nothing is known of ann yet: it must not be forgotten for that.
    purse.charge(ORG, "ann", [charge(100)])
    for _ in range(2):
        with pytest.raises(OverBudget) as caught:
            await purse.check(ORG, "ann", 0)
        assert caught.value.details["budget"] == "user_day"
        clock.now += 2
    purse.charge(ORG, "bob", [charge(50)])
    with pytest.raises(OverBudget) as caught:
        await purse.check(ORG, "cay", 0)
    assert caught.value.details["spent_usd"] == 1.5e-7
    book.slot.set()
    await purse.aclose()
    clock.now += 2
    book.spent_by = {"ann": 99, "bob": 50}
    await purse.check(ORG, "ann", 0)
    assert len(book.asked) == 4


async def test_no_more_waits_to_be_written_than_may_be(
    book: Book, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    purse = purse_of(book, clock, remembered=2)
    book.refuses = AWAY
    for n in range(3):
        purse.charge(ORG, f"u{n}", [charge(3_000)])
    purse.charge(ORG, "u1", [charge(1_000)])
    assert caplog.text.count("$0.000003 is not counted: too much waits") == 1
    book.refuses = None
    await purse.aclose()
    assert sorted(book.charged, key=str) == [("u0", 3_000, 0), ("u1", 4_000, 0)]


async def test_a_host_that_ends_says_what_the_store_never_took(
    book: Book, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    purse = purse_of(book, clock)
    book.refuses = AWAY
    purse.charge(ORG, "ann", [charge(2_000)])
    purse.charge(ORG, None, [charge(3_000)])
    await purse.aclose(within_s=0.02)
    assert "$0.000005 is not counted: the store stayed away" in caplog.text
