"""Errands' statements go by their keys, planned while nothing is there yet."""

from __future__ import annotations

import re
from typing import Any

from context import archive, outbox, schedules
from context.migrate import migrate
from context.postgres import Postgres
from tests.support.stores import PostgresServer

ASKED: list[tuple[str, list[Any], list[str]]] = [
    (outbox._CLAIM, ["shop", 1.0, 1.0, 1], ["outbox_by_time", "outbox_pkey"]),
    (outbox._DELIVERED, ["evt", "org", "shop"], ["outbox_pkey"]),
    (outbox._NOT_DELIVERED, ["evt", "org", "shop", 1, 1.0, "why"], ["outbox_pkey"]),
    (outbox._PURGE, [1.0, 1], ["outbox_by_age", "outbox_pkey"]),
    (schedules._CLAIM, [1.0, 1.0, 1], ["schedules_by_time", "schedules_pkey"]),
    (
        schedules._SETTLE,
        ["org", "sched", 1.0, 1.0, 1.0, "ran", "resp", None, 0],
        ["schedules_pkey"],
    ),
    (schedules._POSTPONE, ["org", "sched", 1.0, 1.0], ["schedules_pkey"]),
    (schedules._PURGE, [1.0, 1], ["schedules_that_are_over", "schedules_pkey"]),
    (archive._SESSIONS, ["org", "", "~", 1], ["sessions_pkey"]),
]


async def test_each_goes_by_its_keys(servers: tuple[PostgresServer, str, str]) -> None:
    postgres = servers[0]
    url = postgres.url(await postgres.create_database())
    await migrate(url)
    pool = Postgres(url)
    await pool.open()
    for statement, given, indexes in ASKED:
        rows = await pool.fetch("EXPLAIN " + statement, *given)
        plan = "\n".join(row["QUERY PLAN"] for row in rows)
        assert re.findall(r"Index (?:Only )?Scan using (\w+)", plan) == indexes, plan
        assert "Seq Scan" not in plan and "Bitmap" not in plan, plan
    await pool.aclose()
