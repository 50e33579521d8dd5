"""Migrations: plain SQL files, applied in order, each once, each in a transaction of its own.

Any number of processes may start at the same moment: whoever gets the advisory lock applies what
is missing, the others wait for it and find nothing left to do. What is applied is written down
with a checksum; a file that was changed after it was applied stops the start, because the
database would not be what the code believes. A database that is *newer* than the code is taken
as it is, so that a rolling update may go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from context.driver import DRIVER_ERRORS, Connection, connect
from context.postgres import unavailable
from contracts.errors import TroupeError

log = logging.getLogger("troupe.context.migrate")

FOLDER = Path(__file__).parent / "migrations"
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK = 0x74_72_6F_75_70_65
"""The advisory lock's key: `troupe` in ASCII."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the folder."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load(folder: Path = FOLDER) -> list[Migration]:
    """The folder's migrations in order.

    Raises:
        TroupeError: A file is named wrong, or a number is missing or given twice.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise _broken(f"{path.name} is not named like 0001_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    numbers = [migration.version for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise _broken(f"the numbers {numbers} do not count up from 1")
    return found


async def migrate(url: str, *, timeout_s: float = 60.0, folder: Path = FOLDER) -> list[int]:
    """Bring the database up to date; gives back the versions that this call applied.

    Args:
        url: The database. The user must be allowed to create tables.
        timeout_s: For everything, waiting for another process's migrations included.
        folder: Where the files are.

    Raises:
        TroupeError: An applied file was changed (code `migration_changed`).
        StoreUnavailable: The database cannot be reached, or the time is over.
    """
    migrations = load(folder)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await connect(url)
            try:
                return await _apply(connection, migrations)
            finally:
                # Closing gives the lock back too. Not inside the timeout's reach when it is over,
                # hence no graceful goodbye.
                connection.terminate()
    except DRIVER_ERRORS as error:
        raise unavailable(error) from error


async def _apply(connection: Connection, migrations: list[Migration]) -> list[int]:
    # The common case, a database that is up to date, takes no lock.
    if await _written_down(connection) and not _missing(await _applied(connection), migrations):
        return []
    await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        " version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
        " applied_at double precision NOT NULL)"
    )
    done: list[int] = []
    for migration in _missing(await _applied(connection), migrations):
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)",
                migration.version,
                migration.name,
                migration.checksum,
                time.time(),
            )
        log.info("migration %04d_%s applied", migration.version, migration.name)
        done.append(migration.version)
    return done


async def _written_down(connection: Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass('schema_migrations')") is not None


async def _applied(connection: Connection) -> dict[int, str]:
    rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
    return {row["version"]: row["checksum"] for row in rows}


def _missing(applied: dict[int, str], migrations: list[Migration]) -> list[Migration]:
    for migration in migrations:
        checksum = applied.get(migration.version, migration.checksum)
        if checksum != migration.checksum:
            raise _broken(
                f"{migration.version:04d}_{migration.name}.sql was changed after it had been"
                " applied to this database; put the old file back and add a new one",
            )
    newer = sorted(set(applied) - {migration.version for migration in migrations})
    if newer:
        log.warning("the database has migrations that this version does not know: %s", newer)
    return [migration for migration in migrations if migration.version not in applied]


def _broken(what: str) -> TroupeError:
    return TroupeError(f"Migrations: {what}.", code="migration_changed")
