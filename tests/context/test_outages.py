"""Servers go and come back; what was acknowledged stays, and work goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from context.memory import ContextMemory, ContextOptions
from contracts.commands import SessionKey
from contracts.errors import Conflict, StoreUnavailable, TroupeError
from tests.context.activation import Activation, new_key
from tests.support.stores import PostgresServer, ValkeyServer
from tests.support.waiting import until

OPTIONS = ContextOptions(gather_s=0.0, redis_timeout_s=0.2, redis_retry_s=0.01)


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A Postgres that this module may pull the plug of."""
    with PostgresServer() as server:
        yield server


async def opened(server: PostgresServer, valkey: ValkeyServer) -> ContextMemory:
    memory = ContextMemory(server.url(await server.create_database()), valkey.url, OPTIONS)
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
