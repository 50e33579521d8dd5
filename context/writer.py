"""Group commit: the writes of all sessions of a host, in as few transactions as they need.

Writes wait in a `Gatherer` while the transaction before theirs is under way, then go together, on
a connection that the writer keeps for itself. A write can fail alone in three ways: its fence
does not hold (the statement leaves it out and goes on), its values are refused (the transaction is
undone and every write of the batch is tried by itself), or its caller stops waiting. If the
connection breaks, nobody can say whether the transaction was committed, and every waiter is told
just that; the next batch connects anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from copy import copy

from context import statements, summaries
from context.driver import (
    DRIVER_ERRORS,
    Connection,
    Row,
    is_data_error,
    is_duplicate,
    is_rolled_back,
)
from context.gather import Gatherer
from context.postgres import Postgres, refused, unavailable
from context.writes import Kind, Stamp, Write
from contracts.errors import Conflict, Deposed, NotFound, StoreUnavailable, TroupeError

log = logging.getLogger("troupe.context.writer")

Result = Stamp | TroupeError | None
_RARE: dict[Kind, str] = {
    "delete": statements.DELETE,
    "metadata": statements.METADATA,
    "drop": statements.DROP,
    "summary": summaries.KEEP,
}


class Writer:
    """Takes writes, answers when they are durable. `open` before use.

    Args:
        postgres: Where the writer's own connection comes from.
        group_max: Writes that share a transaction at most.
        chars_max: Characters that share a transaction at most.
        queue_max: Writes waiting at most.
        gather_s: Seconds a write waits for company when no transaction is under way.
        retry_s: Seconds for which writes are refused at once after connecting failed.
    """

    def __init__(
        self,
        postgres: Postgres,
        *,
        group_max: int = 256,
        chars_max: int = 8_000_000,
        queue_max: int = 5000,
        gather_s: float = 0.002,
        retry_s: float = 0.5,
    ) -> None:
        self._postgres = postgres
        self._retry_s = retry_s
        self._connection: Connection | None = None
        self._away_until = 0.0
        self._gatherer: Gatherer[Write, Stamp | None] = Gatherer(
            self._commit,
            lambda write: write.key,
            lambda write: write.weight,
            name="context-writer",
            group_max=group_max,
            weight_max=chars_max,
            queue_max=queue_max,
            gather_s=gather_s,
        )

    def open(self) -> None:
        self._gatherer.open()

    async def aclose(self, timeout_s: float = 5.0) -> None:
        """Let waiting writes finish within `timeout_s`, fail the rest, disconnect."""
        await self._gatherer.aclose(timeout_s)
        self._disconnect()

    @property
    def counts(self) -> dict[str, int]:
        """Writes taken and transactions run since the start, and writes that wait now."""
        return {
            "writes": self._gatherer.items,
            "batches": self._gatherer.batches,
            "waiting": self._gatherer.waiting,
        }

    async def write(self, write: Write) -> Stamp | None:
        """Make it durable. None: it already was, by an earlier try of the same write.

        Raises:
            Deposed: The session has a newer activation, or went on without this one.
            NotFound: The session, or the item, is gone.
            Conflict: The response's id or client_id was used before (`duplicate_id`).
            InvalidRequest: A value that Postgres cannot store.
            StoreUnavailable: Details say whether it may have been `written`: no or unknown.
        """
        return await self._gatherer.submit(write)

    async def _commit(self, writes: Sequence[Write]) -> Sequence[Stamp | Exception | None]:
        try:
            connection = await self._connected()
        except StoreUnavailable as error:
            return [copy(error) for _ in writes]
        try:
            return await self._transaction(connection, writes)
        except asyncio.CancelledError:
            self._disconnect()
            raise
        except DRIVER_ERRORS as error:
            if is_data_error(error) or is_rolled_back(error):
                return await self._one_by_one(writes, error)
            return self._broken(error, writes)

    async def _one_by_one(
        self, writes: Sequence[Write], reason: Exception
    ) -> Sequence[Stamp | Exception | None]:
        if len(writes) > 1:
            log.info("%d writes are tried one by one: %s", len(writes), reason)
        results: list[Stamp | Exception | None] = []
        for write in writes:
            if len(writes) == 1 and is_data_error(reason):
                results.append(_refused(reason))
                continue
            try:
                connection = await self._connected()
                results.extend(await self._transaction(connection, [write]))
            except StoreUnavailable as error:
                results.append(error)
            except DRIVER_ERRORS as error:
                if is_data_error(error):
                    results.append(_refused(error))
                elif is_rolled_back(error):
                    results.append(unavailable(error))
                else:
                    results.extend(self._broken(error, [write]))
        return results

    async def _transaction(
        self, connection: Connection, writes: Sequence[Write]
    ) -> Sequence[Stamp | Exception | None]:
        # By key, so that hosts that write to the same sessions take their rows in one order.
        ordered = sorted(writes, key=lambda write: write.key)
        turns = [write for write in ordered if write.kind == "turn"]
        rare = [write for write in ordered if write.kind != "turn"]
        if not rare:
            stamps = await self._turns(connection, turns)
        else:
            async with connection.transaction():
                stamps = await self._turns(connection, turns) if turns else {}
                for kind, statement in _RARE.items():
                    chosen = [write.fence for write in rare if write.kind == kind]
                    if chosen:
                        stamps |= _stamps(await connection.fetch(statement, _array(chosen)))
        missed = [write for write in writes if write.n not in stamps]
        why = await self._why(connection, missed) if missed else {}
        return [stamps[write.n] if write.n in stamps else why[write.n] for write in writes]

    @staticmethod
    async def _turns(connection: Connection, turns: Sequence[Write]) -> dict[int, Stamp]:
        parts = [
            _array([write.fence for write in turns]),
            _array([write.messages for write in turns if write.messages]),
            _array([write.opens for write in turns if write.opens]),
            _array([write.ends for write in turns if write.ends]),
        ]
        statement = statements.TURNS
        costs = [write.costs for write in turns if write.costs]
        announced = [write.announces for write in turns if write.announces]
        if costs or announced:
            statement = statements.TURNS_COUNTED
            parts.append(_array(costs))
        if announced:
            statement = statements.TURNS_ANNOUNCED
            parts.append(_array(announced))
        return _stamps(await connection.fetch(statement, *parts))

    @staticmethod
    async def _why(connection: Connection, missed: Sequence[Write]) -> dict[int, Result]:
        rows = await connection.fetch(statements.WHY, _array([write.fence for write in missed]))
        found = {row["n"]: row for row in rows}
        return {write.n: _reason(write, found[write.n]) for write in missed}

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        now = asyncio.get_running_loop().time()
        if now < self._away_until:
            raise StoreUnavailable(
                "The store is unavailable.", retry_after=1, details={"written": "no"}
            )
        try:
            self._connection = await self._postgres.connect()
        except StoreUnavailable:
            self._away_until = asyncio.get_running_loop().time() + self._retry_s
            raise
        return self._connection

    def _broken(self, error: Exception, writes: Sequence[Write]) -> list[Stamp | Exception | None]:
        self._disconnect()
        away = unavailable(error, "unknown")
        return [copy(away) for _ in writes]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _array(rows: Sequence[str]) -> str:
    return f"[{','.join(rows)}]"


def _stamps(rows: Sequence[Row]) -> dict[int, Stamp]:
    return {n: Stamp(*stamp) for n, *stamp in rows}


def _refused(error: Exception) -> TroupeError:
    if is_duplicate(error):
        log.warning("a write clashes with what is stored: %s", error)
        return Conflict("What is written is there already.")
    return refused(error)


def _reason(write: Write, found: Row) -> Result:
    """Why a write's fence did not hold."""
    if found["epoch"] is None:
        return NotFound("There is no such conversation.")
    if found["epoch"] != write.epoch:
        return Deposed("The conversation has moved to another host.", retry_after=1)
    if found["overtaken"]:
        # An earlier write of this activation went through though its answer was lost, so what the
        # activation holds in memory is no longer what is stored. The next one reads afresh.
        return Deposed("The conversation has gone on since.", retry_after=1)
    duplicate = found["same_client_id"] or found["same_id"]
    if duplicate is not None:
        return Conflict(
            "That id was used before in this conversation.",
            code="duplicate_id",
            details={"response_id": duplicate},
        )
    if write.kind == "delete":
        return NotFound("There is no such item in the conversation.", param="item_id")
    if write.ended is not None:
        if (found["ended_epoch"], found["ended_seq"]) == (write.epoch, write.ended[1]):
            return None
        return NotFound("There is no such open turn in the conversation.")
    return StoreUnavailable(
        "The store changed meanwhile.", retry_after=0.1, details={"written": "no"}
    )
