"""Connections to Postgres, and the place where the driver's errors become ours.

Every query of this package looks rows up by key, and most are prepared while their tables are
still empty. So each connection is told to plan once (`plan_cache_mode`) and to go by index: a plan
that fits an empty table would scan a full one until the next ANALYZE.

A pooler in front must pool sessions, not transactions: statements are prepared and the settings
are made once per connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

from context.driver import DRIVER_ERRORS, Connection, Pool, Row, connect, create_pool, is_data_error
from contracts.errors import InvalidRequest, NotFound, StoreUnavailable, TroupeError

log = logging.getLogger("troupe.context.postgres")

Written = Literal["no", "unknown"]
_ID_CHARS = 200


def unavailable(error: BaseException, written: Written = "no") -> StoreUnavailable:
    """What callers are told when Postgres does not do its work; the cause goes to the log.

    `written` in the details says whether anything may have been stored: `unknown` if the
    connection broke before the answer to a commit came.
    """
    log.warning("Postgres is unavailable: %s: %s", type(error).__name__, error)
    said = "The store is unavailable."
    if written == "unknown":
        said = "The store broke off before it answered; whether it stored anything is unknown."
    return StoreUnavailable(said, retry_after=1, details={"written": written})


def refused(error: BaseException) -> TroupeError:
    """What a caller is told whose values Postgres does not take."""
    log.info("Postgres refuses a value: %s: %s", type(error).__name__, error)
    return InvalidRequest("A value cannot be stored.", code="invalid_data")


def known(*ids: str) -> None:
    """Refuse what cannot be an id before it reaches a statement that others share.

    Raises:
        NotFound: Nothing can have such an id.
    """
    for text in ids:
        if len(text) > _ID_CHARS or not text.isascii() or not text.isprintable():
            raise NotFound("There is nothing with such an id.")


class Postgres:
    """A bounded pool. `open` before use.

    Args:
        url: `postgresql://…`, over TCP or a Unix socket (`?host=/directory`).
        pool_min: Connections opened at once and kept.
        pool_max: Connections at most, the writer's own not counted.
        connect_timeout_s: To connect, and to wait for a free connection.
        timeout_s: For one statement.
        name: Shown in pg_stat_activity.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_min: int = 1,
        pool_max: int = 8,
        connect_timeout_s: float = 5.0,
        timeout_s: float = 10.0,
        name: str = "troupe",
    ) -> None:
        self._url = url
        self._pool_min = pool_min
        self._pool_max = pool_max
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._name = name
        self._pool: Pool | None = None

    async def open(self) -> None:
        """Connect. Raises `StoreUnavailable`; may be tried again."""
        if self._pool is not None:
            return
        try:
            self._pool = await create_pool(
                self._url,
                min_size=self._pool_min,
                max_size=self._pool_max,
                timeout=self._connect_timeout_s,
                command_timeout=self._timeout_s,
                init=self._prepare,
                reset=_keep_settings,
                server_settings={"application_name": self._name},
            )
        except DRIVER_ERRORS as error:
            raise unavailable(error) from error

    async def aclose(self, timeout_s: float = 5.0) -> None:
        """Close all connections; those still busy after `timeout_s` are cut."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def connect(self) -> Connection:
        """A connection outside the pool, the caller's to close. Raises `StoreUnavailable`."""
        try:
            connection = await connect(
                self._url,
                timeout=self._connect_timeout_s,
                command_timeout=self._timeout_s,
                server_settings={"application_name": f"{self._name}-writer"},
            )
            await self._prepare(connection)
        except DRIVER_ERRORS as error:
            raise unavailable(error) from error
        return connection

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """One of the pool's, for as long as the block lasts.

        Raises:
            StoreUnavailable: None came free in time, or the server or the way to it failed.
            InvalidRequest: A value that Postgres cannot store.
        """
        if self._pool is None:
            raise StoreUnavailable("The store is closed.", details={"written": "no"})
        try:
            async with self._pool.acquire(timeout=self._connect_timeout_s) as connection:
                yield connection
        except DRIVER_ERRORS as error:
            if is_data_error(error):
                raise refused(error) from error
            raise unavailable(error) from error

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        async with self.connection() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        async with self.connection() as connection:
            return await connection.fetchrow(query, *args)

    async def health(self, timeout_s: float) -> str:
        """`ok`, or in a few words what is wrong."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.fetchrow("SELECT 1")
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except TroupeError:
            return "unavailable"
        return "ok"

    async def _prepare(self, connection: Connection) -> None:
        settings = {
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",
            # A host that freezes inside a transaction must not keep its sessions' rows locked.
            "idle_in_transaction_session_timeout": str(round(self._timeout_s * 1000)),
            # What lies between must not forget a connection that is only used now and then.
            "tcp_keepalives_idle": "60",
        }
        await connection.fetch(
            "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[])"
            " AS settings (name, value)",
            list(settings),
            list(settings.values()),
        )


async def _keep_settings(connection: Connection) -> None:
    """Between two users of a connection nothing needs undoing, and RESET ALL would cost a trip.

    The pool has already rolled back whatever transaction was left open.
    """
