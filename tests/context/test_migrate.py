"""Migrations run by themselves, once, however many processes start together."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from context.migrate import FOLDER, load, migrate
from contracts.errors import StoreUnavailable, TroupeError
from tests.support.stores import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import asyncio, sys
from context.migrate import migrate
print(len(asyncio.run(migrate(sys.argv[1], timeout_s=60))))
"""


@pytest.fixture
async def empty(postgres: PostgresServer) -> AsyncIterator[str]:
    yield postgres.url(await postgres.create_database())


async def ask(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def test_eight_processes_at_once_apply_each_file_once(empty: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, empty, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(8)
    ]
    said = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 8
    applied = sorted(int(out) for out, _ in said)
    assert applied == [0] * 7 + [len(load())]
    rows = await ask(empty, "SELECT version, checksum FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(m.version, m.checksum) for m in load()]


async def test_many_at_once_in_one_process_and_again_later(empty: str) -> None:
    results = await asyncio.gather(*(migrate(empty) for _ in range(8)))
    assert sorted(map(len, results)) == [0] * 7 + [len(load())]
    assert await migrate(empty) == []
    [organization] = await ask(empty, "SELECT id FROM organizations")
    assert organization["id"] == "org_default"


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, sql in files.items():
        (tmp_path / f"{name[1:]}.sql").write_text(sql)
    return tmp_path


async def test_only_what_is_missing_is_applied(empty: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, _0001_one="CREATE TABLE one (a int)")
    assert await migrate(empty, folder=folder) == [1]
    folder_with(tmp_path, _0002_two="ALTER TABLE one ADD b int", _0003_three="SELECT b FROM one")
    assert await migrate(empty, folder=folder) == [2, 3]
    assert await migrate(empty, folder=folder) == []


async def test_a_changed_old_migration_stops_the_start(empty: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, _0001_one="CREATE TABLE one (a int)")
    await migrate(empty, folder=folder)
    folder_with(tmp_path, _0001_one="CREATE TABLE one (a bigint)", _0002_two="CREATE TABLE two ()")
    with pytest.raises(TroupeError, match=r"0001_one\.sql was changed") as stopped:
        await migrate(empty, folder=folder)
    assert stopped.value.cause_code == "migration_changed"
    assert await ask(empty, "SELECT to_regclass('two') IS NULL AS gone") == [(True,)]


async def test_one_that_fails_leaves_nothing_and_can_be_mended(empty: str, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path, _0001_one="CREATE TABLE one ()", _0002_two="CREATE TABLE two (); SELECT 1 / 0"
    )
    with pytest.raises(StoreUnavailable):
        await migrate(empty, folder=folder)
    assert await ask(empty, "SELECT to_regclass('two') IS NULL AS gone") == [(True,)]
    folder_with(tmp_path, _0002_two="CREATE TABLE two ()")
    assert await migrate(empty, folder=folder) == [2]


async def test_a_newer_database_is_taken_as_it_is(
    empty: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    folder_with(old, _0001_one="CREATE TABLE one ()")
    folder_with(new, _0001_one="CREATE TABLE one ()", _0002_two="CREATE TABLE two ()")
    await migrate(empty, folder=new)
    with caplog.at_level(logging.WARNING):
        assert await migrate(empty, folder=old) == []
    assert "does not know: [2]" in caplog.text


async def test_waiting_for_another_process_has_an_end(empty: str) -> None:
    other = await asyncpg.connect(empty)
    try:
        await other.execute(f"SELECT pg_advisory_lock({0x74726F757065})")
        with pytest.raises(StoreUnavailable):
            await migrate(empty, timeout_s=0.3)
    finally:
        await other.close()
    assert await migrate(empty) == [m.version for m in load()]


@pytest.mark.parametrize(
    "names", [["0002_two"], ["0001_one", "0001_uno"], ["0001_one", "0003_three"], ["first"]]
)
async def test_files_that_are_named_wrong_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    with pytest.raises(TroupeError, match="Migrations"):
        load(tmp_path)


def test_ours_are_in_order() -> None:
    assert [m.version for m in load(FOLDER)] == list(range(1, len(load(FOLDER)) + 1))


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate(f"postgresql://postgres@/x?host={tmp_path}", timeout_s=5)
