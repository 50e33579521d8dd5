"""The driver's errors become ours, and every wait has an end."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from context import statements, wake
from context.migrate import migrate
from context.postgres import Postgres
from contracts.errors import InvalidRequest, StoreUnavailable
from tests.context.activation import new_key
from tests.context.conftest import Open
from tests.support.ports import free_port
from tests.support.stores import PostgresServer
from tests.support.waiting import until


async def test_both_kinds_of_address(postgres: PostgresServer, database: str) -> None:
    name = database.split("/")[3].split("?")[0]
    for url in (database, postgres.tcp_url(name)):
        pool = Postgres(url)
        await pool.open()
        await pool.open()
        row = await pool.fetchrow("SELECT current_database() AS name")
        assert row is not None
        assert row["name"] == name
        await pool.aclose()
        await pool.aclose()


async def test_connections_plan_once_and_by_index(database: str) -> None:
    pool = Postgres(database, name="test-name")
    await pool.open()
    for _ in range(2):
        # The second time on the same connection: what was set must survive the pool.
        rows = await pool.fetch(
            "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan'),"
            " current_setting('idle_in_transaction_session_timeout'),"
            " current_setting('application_name')"
        )
        assert [tuple(row) for row in rows] == [("force_generic_plan", "off", "10s", "test-name")]
    await pool.aclose()


async def test_hot_statements_go_by_their_keys_even_on_empty_tables(
    postgres: PostgresServer,
) -> None:
    url = postgres.url(await postgres.create_database())
    await migrate(url)
    pool = Postgres(url)
    await pool.open()
    asked = {
        wake._OPEN: (
            "((id = ANY (k.open)) AND (org_id = k.org_id))",
            "((session_id = k.session_id) AND (org_id = k.org_id) AND (turn >= (min(o.turn))))",
            '((org_id = k.org_id) AND (session_id = k.session_id) AND ("position" >= r.input_from)',
        ),
        wake._TAKE_OVER: (
            "((org_id = (k.org_id)::text) AND (id = (k.id)::text))",
            "((id = (t.id)::text) AND (org_id = (t.org_id)::text))",
        ),
        statements.TURNS: (
            "((org_id = (w.org_id)::text) AND (id = (w.session_id)::text))",
            "((id = w.opened) AND (org_id = w.org_id))",
            "((client_id = w.client_id) AND (org_id = w.org_id))",
            "((id = (e.id)::text) AND (org_id = (e.org_id)::text))",
        ),
    }
    async with pool.connection() as connection:
        for statement, conditions in asked.items():
            given = ["[]"] * len(set(re.findall(r"\$\d", statement)))
            rows = await connection.fetch("EXPLAIN " + statement, *given)
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert "Seq Scan" not in plan
            for needed in conditions:
                assert f"Index Cond: {needed}" in plan, plan
    await pool.aclose()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM no_such_table",
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "SELECT broken syntax here",
    ],
)
async def test_whatever_the_server_says_is_unavailable(database: str, query: str) -> None:
    pool = Postgres(database)
    await pool.open()
    with pytest.raises(StoreUnavailable) as away:
        await pool.fetch(query)
    assert away.value.retry_after
    assert "no_such_table" not in away.value.message
    assert await pool.health(5) == "ok", "the pool survives"
    await pool.aclose()


async def test_a_value_that_is_refused_is_the_callers_to_change(database: str) -> None:
    pool = Postgres(database)
    await pool.open()
    for query, value in (
        ("SELECT $1::text", "nul \x00"),
        ("SELECT $1::jsonb", '"\\u0000"'),
        ("SELECT $1::int", "no number"),
        ("SELECT 1 / $1::int", 0),
    ):
        with pytest.raises(InvalidRequest):
            await pool.fetch(query, value)
    assert await pool.fetch("SELECT 1") != []
    await pool.aclose()


async def test_a_pool_that_is_used_up_is_waited_for_only_so_long(database: str) -> None:
    pool = Postgres(database, pool_max=1, connect_timeout_s=60.0)
    await pool.open()
    async with pool.connection():
        pool._connect_timeout_s = 0.2
        with pytest.raises(StoreUnavailable):
            await pool.fetch("SELECT 1")
        pool._connect_timeout_s = 60.0
        assert "no answer within" in await pool.health(0.05)
    assert await pool.health(5) == "ok"
    await pool.aclose()


async def test_a_statement_that_takes_too_long_is_given_up(database: str) -> None:
    pool = Postgres(database, timeout_s=1.0)
    await pool.open()
    with pytest.raises(StoreUnavailable):
        await pool.fetch("SELECT pg_sleep(60)")
    assert await pool.health(5) == "ok"
    await pool.aclose()


async def test_closing_does_not_wait_for_ever(database: str) -> None:
    pool = Postgres(database)
    await pool.open()
    busy = asyncio.ensure_future(pool.fetch("SELECT pg_sleep(60)"))
    asking = await asyncpg.connect(database)

    async def sleeping() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
        return await asking.fetchval(query) > 0

    await until(sleeping, "the statement runs")
    await asking.close()
    await pool.aclose(0.05)
    with pytest.raises(StoreUnavailable):
        await busy
    with pytest.raises(StoreUnavailable):
        await pool.fetch("SELECT 1")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"postgresql://postgres@127.0.0.1:{free_port()}/x", id="nobody listens"),
        "postgresql://postgres@/x?host=/nowhere",
        "no url at all",
    ],
)
async def test_a_server_that_is_not_there(url: str) -> None:
    with pytest.raises(StoreUnavailable):
        await Postgres(url).open()
    with pytest.raises(StoreUnavailable):
        await Postgres(url).connect()


async def test_a_forgotten_transaction_is_undone(database: str, open_memory: Open) -> None:
    memory = await open_memory(pool_max=1)
    key = new_key()
    await memory.records.create_session(key)
    pool = memory._postgres  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(RuntimeError, match="half way"):
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("UPDATE sessions SET epoch = 99 WHERE id = $1", key[1])
            raise RuntimeError("half way")
    assert (await memory.activate(key)).epoch == 1
