"""Servers go and come back; what was acknowledged stays, and work goes on by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import asyncpg
import pytest

from actors.purse import Purse
from context.journal import Name
from context.memory import ContextMemory, ContextOptions
from contracts.commands import SessionKey
from contracts.errors import Conflict, StoreUnavailable, TroupeError
from contracts.money import NO_BUDGETS, Charge
from tests.context.activation import Activation, new_key
from tests.support.stores import PostgresServer, ValkeyServer
from tests.support.waiting import until

OPTIONS = ContextOptions(
    gather_s=0.0, redis_timeout_s=10.0, redis_retry_s=0.01, health_timeout_s=10.0
)
BRIEF = replace(OPTIONS, redis_timeout_s=0.2, health_timeout_s=1.0)
"""Where Redis does not answer, and that must be noticed."""


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A Postgres that this module may pull the plug of."""
    with PostgresServer() as server:
        yield server


async def opened(
    server: PostgresServer, valkey: ValkeyServer, options: ContextOptions = OPTIONS
) -> ContextMemory:
    memory = ContextMemory(server.url(await server.create_database()), valkey.url, options)
    await memory.open()
    return memory


async def insist(host: Activation, text: str) -> tuple[Activation, list[TroupeError]]:
    """Say it until it is acknowledged, as a client would; the errors on the way."""
    errors: list[TroupeError] = []
    client_id = f"client {text}"
    while True:
        try:
            await host.accept(text, client_id=client_id)
            return host, errors
        except Conflict:
            return host, errors
        except TroupeError as error:
            errors.append(error)
            await asyncio.sleep(0.02)
            try:
                host = await Activation.of(host.memory, host.key)
            except StoreUnavailable as away:
                errors.append(away)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgres_restarts_in_the_middle_of_it(
    own: PostgresServer, valkey: ValkeyServer, mode: str
) -> None:
    memory = await opened(own, valkey)
    hosts = [await Activation.new(memory) for _ in range(8)]
    acknowledged: dict[SessionKey, list[str]] = {host.key: [] for host in hosts}
    errors: list[TroupeError] = []
    stop = asyncio.Event()

    async def keep_talking(host: Activation) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            host, met = await insist(host, f"message {n}")
            errors.extend(met)
            acknowledged[host.key].append(f"message {n}")

    talking = [asyncio.ensure_future(keep_talking(host)) for host in hosts]
    await until(lambda: min(map(len, acknowledged.values())) >= 3, "all have talked")
    await asyncio.to_thread(own.restart, mode)
    seen = {key: len(said) for key, said in acknowledged.items()}
    await until(
        lambda: all(len(acknowledged[key]) >= count + 3 for key, count in seen.items()),
        "all talk again",
    )
    stop.set()
    await asyncio.gather(*talking)
    assert errors, "the restart was felt"
    assert all(error.status == 503 for error in errors)
    for key, said in acknowledged.items():
        stored, more = await memory.records.items(key, limit=10_000, ascending=True)
        assert not more
        texts = [message.text for message in stored]
        assert len(texts) == len(set(texts)), "nothing twice"
        assert texts == said, "nothing acknowledged is lost, and nothing is out of order"
    assert await memory.health() == {"postgres": "ok", "redis": "ok"}
    await memory.aclose()


async def test_postgres_away_is_told_at_once_and_healed(
    own: PostgresServer, valkey: ValkeyServer
) -> None:
    memory = await opened(own, valkey)

    async def healthy() -> bool:
        return (await memory.health())["postgres"] == "ok"

    host = await Activation.new(memory)
    await host.turn("before", "1")
    own.stop()
    try:
        for asked in (
            lambda: host.accept("meanwhile"),
            lambda: memory.activate(host.key),
            lambda: memory.records.session(host.key),
            lambda: memory.records.create_session(new_key()),
        ):
            with pytest.raises(StoreUnavailable) as away:
                await asked()
            assert away.value.retry_after
        health = await memory.health()
        assert health["postgres"] != "ok"
        assert health["redis"] == "ok"
        late = ContextMemory(own.url(), valkey.url, OPTIONS)
        with pytest.raises(StoreUnavailable):
            await late.open()
    finally:
        own.start()
    await until(healthy, "Postgres is back")
    host, _ = await insist(await Activation.of(memory, host.key), "after")
    said, _ = await memory.records.items(host.key, ascending=True)
    assert [m.text for m in said] == ["before", "1", "after"]
    await memory.aclose()


async def test_what_is_spent_while_postgres_is_away_counts_once_when_it_is_back(
    own: PostgresServer, valkey: ValkeyServer
) -> None:
    memory = await opened(own, valkey)
    purse = Purse(memory.spending, lambda _: NO_BUDGETS, time.time, again_s=0.05)
    org = "org_away"

    def spend(nano: int) -> None:
        purse.charge(org, "ann", [Charge("gpt", "gpt-1", "m", 1, 1, 0, nano)], turns=1)

    async def counted() -> int:
        try:
            return (await memory.spending.days(org, None, 2))[0].nano
        except (IndexError, StoreUnavailable):
            return 0

    async def first() -> bool:
        return await counted() == 1

    spend(1)
    await until(first, "the first is counted")
    own.stop()
    try:
        for _ in range(20):
            spend(10)
            await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await memory.spending.spent(org, "ann")
    finally:
        own.start()
    await purse.aclose(60)
    assert await counted() == 201
    assert [day.turns for day in await memory.spending.days(org, "ann", 2)] == [21]
    await memory.aclose()


async def test_a_restart_of_everything_keeps_the_conversations(
    own: PostgresServer, valkey: ValkeyServer
) -> None:
    memory = await opened(own, valkey)
    host = await Activation.new(memory)
    turn = await host.turn("remember", "this")
    url = memory._database_url  # pyright: ignore[reportPrivateUsage]
    await memory.aclose()
    own.restart()
    valkey.wipe()
    again = ContextMemory(url, valkey.url, OPTIONS)
    await again.open()
    new = await Activation.of(again, host.key)
    assert new.messages == host.messages
    assert (await again.response("org_default", turn.record.id)).text == "this"
    await again.aclose()


@pytest.fixture
def redis() -> Iterator[ValkeyServer]:
    """A Valkey that this test may pull the plug of."""
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("fault", ["stopped", "frozen", "wiped"])
async def test_whatever_redis_does_turns_go_on_and_are_taken_over(
    own: PostgresServer, redis: ValkeyServer, fault: str
) -> None:
    url = own.url(await own.create_database())
    options = OPTIONS if fault == "wiped" else BRIEF
    memory = ContextMemory(url, redis.url, options)
    await memory.open()
    journal = memory._journal  # pyright: ignore[reportPrivateUsage]
    host = await Activation.new(memory)
    turn = await host.accept("before it, and during")
    host.start(turn)
    host.say(turn, "one ")
    await host.tell()
    {"stopped": redis.stop, "frozen": redis.freeze, "wiped": redis.wipe}[fault]()
    try:
        for _ in range(50):
            host.say(turn, "more ")
            await host.tell()
        await host.finish(turn)
        memory.forget_events(host.key, host.epoch, ())
        during = await host.turn("meanwhile", "told all the same")
        unfinished = await host.accept("left behind")
        host.start(unfinished)
        host.say(unfinished, "lost, but for Redis")
        await host.tell()
        health = await memory.health()
        assert (health["postgres"], health["redis"] == "ok") == ("ok", fault == "wiped")
        # Another process takes over while Redis is as it is.
        other = ContextMemory(url, redis.url, options)
        await other.open()
        new = await Activation.of(other, host.key)
        [found] = new.turns
        assert found.record.id == unfinished.record.id
        assert [m.text for m in new.messages][-3:] == [
            "meanwhile",
            "told all the same",
            "left behind",
        ]
        assert found.record.text == ("lost, but for Redis" if fault == "wiped" else "")
        if found.record.first_seq == 0:
            new.accept_anew(found)
            new.start(found)
        new.go_on(found)
        new.say(found, " and done")
        await new.tell()
        await new.finish(found)
    finally:
        if fault == "stopped":
            redis.start()
        if fault == "frozen":
            redis.thaw()
    for done in (turn, during, found):
        stored = await other.response("org_default", done.record.id)
        assert (stored.status, stored.text) == ("completed", done.record.text)

    async def kept_again() -> bool:
        memory.note_events(host.key, 99, host.events[:1])
        await journal.settled()
        return bool((await journal.read([Name(host.key, 99)]))[0])

    await until(kept_again, "the journal is kept again")
    assert await other.health() == {"postgres": "ok", "redis": "ok"}
    await other.aclose()
    await memory.aclose()


async def test_with_both_away_a_running_turn_ends_as_soon_as_one_is_back(
    own: PostgresServer, redis: ValkeyServer
) -> None:
    memory = await opened(own, redis, BRIEF)
    host, sleeping = await Activation.new(memory), await Activation.new(memory)
    turn = await host.accept("a question")
    host.start(turn)
    own.stop("immediate")
    redis.freeze()
    try:
        for word in ("an ", "answer"):
            host.say(turn, word)
            assert await host.tell(), "readers of running turns are told as ever"
        for refused in (
            lambda: host.accept("another"),
            lambda: memory.activate(sleeping.key),
            lambda: host.finish(turn),
        ):
            with pytest.raises(StoreUnavailable) as away:
                await refused()
            assert away.value.retry_after
        health = await memory.health()
        assert "ok" not in health.values()
    finally:
        own.start()
        redis.thaw()

    async def ended() -> bool:
        try:
            await memory.finish(
                host.key, host.epoch, turn.record.last_seq, turn.record, None, host.messages
            )
        except StoreUnavailable:
            return False
        return True

    await until(ended, "the end is stored")
    assert (await memory.response("org_default", turn.record.id)).text == "an answer"
    await memory.aclose()


async def test_a_slow_postgres_holds_up_writes_within_bounds_and_no_words(
    own: PostgresServer, redis: ValkeyServer
) -> None:
    url = own.url(await own.create_database())
    options = replace(OPTIONS, queue_max=3, postgres_timeout_s=60.0)
    memory = ContextMemory(url, redis.url, options)
    await memory.open()
    hosts = [await Activation.new(memory) for _ in range(6)]
    talking = hosts[0]
    turn = await talking.accept("a question")
    talking.start(turn)
    blocker = await asyncpg.connect(url)
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            writing = [asyncio.ensure_future(hosts[1].accept("under way"))]
            await until(lambda: memory.counts["batches"] > 1, "the first write has left the queue")
            writing += [asyncio.ensure_future(host.accept("waits")) for host in hosts[2:5]]
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable) as full:
                await hosts[5].accept("one too many")
            assert full.value.details == {"written": "no"}
            for n in range(20):
                talking.say(turn, f"{n} ")
                assert await talking.tell()
            await memory._journal.settled()  # pyright: ignore[reportPrivateUsage]
            assert memory.counts["journal_dropped"] == 0
            assert not any(write.done() for write in writing)
    finally:
        await blocker.close()
    await asyncio.gather(*writing)
    await talking.finish(turn)
    assert (await memory.response("org_default", turn.record.id)).text == turn.record.text
    await memory.aclose()
