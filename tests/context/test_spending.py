"""What turns cost: stored with them, and counted once for their user and organization."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from context.memory import ContextMemory
from contracts.errors import Deposed, InvalidRequest, StoreUnavailable
from contracts.messages import Status
from contracts.money import Charge, Spent
from contracts.tasks import spawn
from tests.context.activation import Activation, Turn, new_key
from tests.context.conftest import Open
from tests.support.waiting import until

_orgs = itertools.count(1)
DAY_S = 86_400.0
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
TODAY = date(2026, 11, 30)
YEARS_AGO = date(2020, 1, 1)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def org(database: str) -> str:
    """An organization in which nothing was spent."""
    name = f"org_spending_{next(_orgs)}"
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO organizations (id, name) VALUES ($1, $1)", name)
    await connection.close()
    return name


@pytest.fixture
def clock(memory: ContextMemory) -> Clock:
    clock = Clock()
    memory.spending._clock = clock  # pyright: ignore[reportPrivateUsage]
    return clock


async def begin(memory: ContextMemory, org: str, user: str | None = None) -> Activation:
    key = new_key(org)
    await memory.records.create_session(key, user=user)
    return await Activation.of(memory, key)


def charge(nano: int | None = 1000, **fields: object) -> Charge:
    return Charge("gpt", "gpt-1", "gpt-5.4-mini", 11, 7, 3, nano)._replace(**fields)


async def open_turn(host: Activation, nano: int | None = 1000, user: str | None = None) -> Turn:
    """A turn that has said all, and has this charge."""
    turn = await host.accept("question", user=user)
    host.start(turn)
    host.say(turn, "answer")
    turn.record.charges.append(charge(nano))
    return turn


async def finish_at(host: Activation, turn: Turn, at: float, status: Status = "completed") -> None:
    answer = host.end(turn, status)
    turn.record.completed_at = at
    record = turn.record
    await host.memory.finish(
        host.key, host.epoch, record.last_seq, record, answer, list(host.messages)
    )


async def test_a_turns_charges_are_on_its_record_and_the_sessions_facts_wake(
    memory: ContextMemory, org: str
) -> None:
    host = await begin(memory, org)
    turn = await open_turn(host, 1200)
    turn.record.charges.append(charge(None, endpoint="gpt-2", estimated=True))
    turn.record.agent = "gemini"  # it stood in; the conversation stays with who was chosen
    await host.finish(turn)
    stored = await memory.records.response(org, turn.record.id)
    assert stored.charges == turn.record.charges
    assert len(stored.charges) == 2
    assert stored.nano == 1200
    state = await memory.activate(host.key)
    assert (state.turns, state.agent, state.failures, state.spent) == (1, "gpt", 0, 1200)


async def test_failures_count_in_a_row_and_a_cancelled_turn_says_nothing(
    memory: ContextMemory, org: str
) -> None:
    host = await begin(memory, org)
    seen: list[int] = []
    endings: list[Status] = ["failed", "failed", "cancelled", "failed", "incomplete", "failed"]
    for status in [*endings, "completed"]:
        await host.finish(await open_turn(host, 10), status)  # type: ignore[arg-type]
        host = await Activation.of(memory, host.key)
        seen.append((await memory.activate(host.key)).failures)
        host = await Activation.of(memory, host.key)
    assert seen == [1, 2, 2, 3, 0, 1, 0]
    assert (await memory.activate(host.key)).spent == 70


async def test_a_turn_is_counted_for_its_user_and_its_organization(
    memory: ContextMemory, org: str, clock: Clock
) -> None:
    ann, bob = await begin(memory, org, "ann"), await begin(memory, org, "bob")
    nobody = await begin(memory, org)
    await finish_at(ann, await open_turn(ann, 1000), NOON)
    await finish_at(bob, await open_turn(bob, 200), NOON)
    await finish_at(nobody, await open_turn(nobody, 30), NOON)
    # Whom the request itself names counts before whom the session belongs to.
    await finish_at(bob, await open_turn(bob, 4, user="ann"), NOON)
    assert await memory.spending.spent(org, "ann") == Spent(1004, 1004, 1234, 1234)
    assert await memory.spending.spent(org, "bob") == Spent(200, 200, 1234, 1234)
    assert await memory.spending.spent(org, None) == Spent(0, 0, 1234, 1234)
    assert await memory.spending.spent("org_default", "ann") == Spent()
    [today] = await memory.spending.days(org, "ann", 1)
    assert today == (TODAY, 1004, 2)


async def test_an_end_that_is_written_again_counts_once(
    memory: ContextMemory, org: str, clock: Clock
) -> None:
    host = await begin(memory, org, "ann")
    turn = await open_turn(host, 500)
    await finish_at(host, turn, NOON)
    for _ in range(2):
        await memory.finish(
            host.key, host.epoch, turn.record.last_seq, turn.record, None, list(host.messages)
        )
    assert await memory.spending.spent(org, "ann") == Spent(500, 500, 500, 500)
    assert (await memory.activate(host.key)).spent == 500


async def test_an_end_whose_answer_was_lost_counts_once(
    database: str, open_memory: Open, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = await open_memory()
    host = await begin(memory, org, "ann")
    turn = await open_turn(host, 500)
    writer = memory._writer  # pyright: ignore[reportPrivateUsage]
    real = writer._transaction  # pyright: ignore[reportPrivateUsage]

    async def breaks_after_commit(*args: object) -> object:
        await real(*args)  # type: ignore[arg-type]
        raise ConnectionResetError

    monkeypatch.setattr(writer, "_transaction", breaks_after_commit)
    with pytest.raises(StoreUnavailable):
        await finish_at(host, turn, NOON)
    monkeypatch.setattr(writer, "_transaction", real)
    await memory.finish(
        host.key, host.epoch, turn.record.last_seq, turn.record, None, list(host.messages)
    )
    assert (await memory.spending.days(org, None, 400 * 10))[0].nano == 500


async def test_a_deposed_host_counts_nothing(memory: ContextMemory, org: str, clock: Clock) -> None:
    old = await begin(memory, org, "ann")
    turn = await open_turn(old, 500)
    new = await Activation.of(memory, old.key)
    with pytest.raises(Deposed):
        await finish_at(old, turn, NOON)
    assert await memory.spending.spent(org, "ann") == Spent()
    [again] = new.turns
    again.record.charges = [charge(70)]
    await finish_at(new, again, NOON)
    assert await memory.spending.spent(org, "ann") == Spent(70, 70, 70, 70)


async def test_many_ends_at_two_hosts_at_once_all_count(open_memory: Open, org: str) -> None:
    here, there = await open_memory(gather_s=0.01), await open_memory(gather_s=0.01)
    hosts = await asyncio.gather(
        *(begin(here if n % 2 else there, org, f"user-{n % 7}") for n in range(60))
    )
    for _ in range(3):
        turns = [await open_turn(host, 100 + n) for n, host in enumerate(hosts)]
        ends = [finish_at(host, turn, NOON) for host, turn in zip(hosts, turns, strict=True)]
        beside = [here.spending.charge(org, f"user-{n % 7}", 1, day=YEARS_AGO) for n in range(20)]
        await asyncio.gather(*ends, *beside)
    for memory in (here, there):
        memory.spending._clock = lambda: NOON  # pyright: ignore[reportPrivateUsage]
    whole = sum(100 + n for n in range(60)) * 3
    first = sum(100 + n for n in range(60) if n % 7 == 0) * 3
    spent = await there.spending.spent(org, "user-0")
    assert (spent.user_day, spent.org_day) == (first, whole)
    assert (await here.spending.days(org, None, 1))[0].turns == 180


async def test_days_and_months_are_utcs(memory: ContextMemory, org: str, clock: Clock) -> None:
    host = await begin(memory, org, "ann")
    midnight = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    for nano, at in ((1, NOON - DAY_S), (20, NOON), (300, midnight - 0.01), (4000, midnight)):
        await finish_at(host, await open_turn(host, nano), at)
    clock.now = midnight - 0.01
    assert await memory.spending.spent(org, "ann") == Spent(320, 321, 320, 321)
    clock.now = midnight
    assert await memory.spending.spent(org, "ann") == Spent(4000, 4000, 4000, 4000)
    days = await memory.spending.days(org, "ann", 2)
    assert [(day.day.day, day.nano) for day in days] == [(1, 4000), (30, 320)]


async def test_what_has_no_price_is_not_counted(
    memory: ContextMemory, org: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("context.statements.TURNS_COUNTED", "SELECT this is not sent")
    host = await begin(memory, org, "ann")
    turn = await open_turn(host, None)
    await finish_at(host, turn, NOON)
    assert (await memory.records.response(org, turn.record.id)).charges == [charge(None)]
    await memory.spending.charge(org, "ann", 0, day=TODAY)
    assert await memory.spending.spent(org, "ann") == Spent()


async def test_a_write_that_is_refused_takes_no_neighbours_money_along(
    open_memory: Open, org: str
) -> None:
    memory = await open_memory(gather_s=0.05)
    good, bad = await begin(memory, org), await begin(memory, org)
    turn, other = await open_turn(good, 500), await open_turn(bad, 500)
    other.record.decision = {"note": "\x00"}
    results = await asyncio.gather(
        finish_at(good, turn, NOON), finish_at(bad, other, NOON), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], InvalidRequest)
    assert [day.nano for day in await memory.spending.days(org, None, 400 * 10)] == [500]


async def test_what_is_spent_beside_turns_counts(
    memory: ContextMemory, org: str, clock: Clock
) -> None:
    await asyncio.gather(
        memory.spending.charge(org, "ann", 11, day=TODAY, turns=1),
        memory.spending.charge(org, None, 100, day=TODAY),
    )
    assert await memory.spending.spent(org, "ann") == Spent(11, 11, 111, 111)
    assert await memory.spending.days(org, None, 1) == [(TODAY, 111, 1)]


async def test_a_charge_whose_answer_was_lost_counts_once(
    memory: ContextMemory, org: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store counts, and the connection breaks before it says so; then it cannot be reached."""
    real = memory._postgres.connection  # pyright: ignore[reportPrivateUsage]
    sent: list[str] = []

    @asynccontextmanager
    async def breaking() -> AsyncIterator[Any]:
        if len(sent) == 1:
            sent.append("")
            raise StoreUnavailable("Nobody is reached.", details={"written": "no"})
        async with real() as connection:
            yield Breaking(connection)

    class Breaking:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        async def fetch(self, statement: str, *args: Any) -> None:
            await self.connection.fetch(statement, *args)
            sent.append(statement)
            if len(sent) < 4:
                raise StoreUnavailable("It broke off.") from ConnectionResetError()

    monkeypatch.setattr(memory._postgres, "connection", breaking)  # pyright: ignore
    monkeypatch.setattr("context.spending._AGAIN_S", 0)
    first = spawn(memory.spending.charge(org, "ann", 5, day=TODAY), name="first")
    await until(lambda: len(sent) > 0, "the first is sent")
    await memory.spending.charge(org, "ann", 60, day=TODAY)
    await first
    assert [bool(statement) for statement in sent] == [True, False, True, True, True]
    monkeypatch.undo()
    assert await memory.spending.spent(org, "ann") == Spent(65, 65, 65, 65)
    await memory.spending.charge(org, "ann", 700, day=TODAY)
    assert await memory.spending.spent(org, "ann") == Spent(765, 765, 765, 765)


@pytest.mark.parametrize("way", ["nobody is reached", "the server says that it failed"])
async def test_a_charge_that_was_not_counted_says_so(
    memory: ContextMemory, org: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "nobody is reached":
        pool = memory._postgres._pool  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(memory._postgres, "_pool", None)  # pyright: ignore
        assert pool is not None
    else:
        monkeypatch.setattr("context.spending._CHARGE", "SELECT $1, $2, $3, $4, $5, nothing")
    with pytest.raises(StoreUnavailable) as caught:
        await memory.spending.charge(org, "ann", 5, day=TODAY)
    assert caught.value.details == {"written": "no"}
    monkeypatch.undo()
    assert await memory.spending.spent(org, "ann") == Spent()


async def test_a_users_name_that_nothing_can_hold_fails_nobody(
    memory: ContextMemory, org: str
) -> None:
    asked = [memory.spending.spent(org, name) for name in ("ann", "a\x00nn", "\ud800", "", None)]
    assert await asyncio.gather(*asked) == [Spent()] * 5


async def test_old_days_are_forgotten(memory: ContextMemory, org: str, clock: Clock) -> None:
    for ago in (0, 1, 2, 3):
        await memory.spending.charge(org, "ann", 1, day=TODAY - timedelta(days=ago))
    before = NOON - DAY_S
    assert await memory.archive.purge_spending(before, 1) == 1
    while await memory.archive.purge_spending(before, 2):
        pass
    assert [day.day.day for day in await memory.spending.days(org, "ann", 10)] == [30, 29]
