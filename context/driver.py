"""What this package uses of asyncpg, typed: the driver brings no types of its own.

The only module that imports it. Everything else sees `Connection`, `Row` and the questions about
errors below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

_asyncpg = cast("Any", asyncpg)

DRIVER_ERRORS: tuple[type[Exception], ...] = (
    _asyncpg.PostgresError,
    _asyncpg.InterfaceError,
    _asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Everything that the driver raises, the way to the server included."""


class Row(Protocol):
    """A row: by column name, or its values in order."""

    def __getitem__(self, column: str, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection; one statement at a time."""

    async def execute(self, query: str, *args: Any) -> str: ...

    async def fetch(self, query: str, *args: Any) -> list[Row]: ...

    async def fetchrow(self, query: str, *args: Any) -> Row | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[None]: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None:
        """Drop it now, whatever is under way."""
        ...


class Pool(Protocol):
    """Connections for many."""

    def acquire(self, *, timeout: float) -> AbstractAsyncContextManager[Connection]: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...


async def connect(url: str, **settings: Any) -> Connection:
    """See `asyncpg.connect`."""
    return cast("Connection", await _asyncpg.connect(url, **settings))


async def create_pool(
    url: str,
    *,
    init: Callable[[Connection], Awaitable[None]],
    reset: Callable[[Connection], Awaitable[None]],
    **settings: Any,
) -> Pool:
    """See `asyncpg.create_pool`."""
    return cast("Pool", await _asyncpg.create_pool(url, init=init, reset=reset, **settings))


def is_data_error(error: BaseException) -> bool:
    """Whether the values were at fault (SQLSTATE 22, 23), so that others would be taken."""
    return _state(error)[:2] in ("22", "23") or isinstance(error, _asyncpg.DataError)


def is_duplicate(error: BaseException | None) -> bool:
    """Whether a unique key was there already."""
    return _state(error) == "23505"


def is_rolled_back(error: BaseException) -> bool:
    """Whether the transaction was undone for another's sake (SQLSTATE 40): try it again."""
    return _state(error)[:2] == "40"


def is_undone(error: BaseException | None) -> bool:
    """Whether the server said that a statement failed: then nothing of it is stored.

    It says nothing where the connection broke (SQLSTATE 08), and too little where it was told to
    end (57P), which it may have been after a commit.
    """
    state = _state(error)
    return bool(state) and state[:2] != "08" and state[:3] != "57P"


def _state(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")
