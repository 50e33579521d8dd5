"""The journal: what a host was about to tell its readers, kept in Redis until it is durable.

A host that is killed takes along what its turns had said since their acceptance. So before a host
tells anybody, the events are handed to Redis: `note_events` gathers them, `hand_off` sends what
gathered, of all sessions together, as one command on a connection of its own. It returns once the
bytes are the kernel's, which delivers them even for a process that is killed at that moment; it
does not wait until Redis answers. A task reads the answers. If Redis fails, does not answer, or
does not take the bytes at once, the journal is dropped and Redis is left alone for `retry_s`;
turns neither wait nor fail.

There is one list for each session and epoch. Its chunks may be lost, doubled or late: whoever reads
them (`context.recover`) believes them only as far as they fit together.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import timeout
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from context.recover import Entry, pack, unpack
from contracts.commands import SessionKey
from contracts.events import Event
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.context.journal")

_AWAY = (RedisError, OSError)

_WRITE = """
local forgotten = tonumber(ARGV[2])
for n = 1, forgotten do redis.call('DEL', KEYS[n]) end
for n = forgotten + 1, #KEYS do
    redis.call('RPUSH', KEYS[n], ARGV[n - forgotten + 2])
    redis.call('PEXPIRE', KEYS[n], ARGV[1])
end
return 1
"""
"""Deletes the first keys and appends a chunk to each of the others; one answer for all of it."""


class Name(NamedTuple):
    """Whose journal: an activation of a session."""

    key: SessionKey
    epoch: int


@dataclass(slots=True)
class _Note:
    """What is to be sent of one journal."""

    forget: bool = False
    events: list[Event] = field(default_factory=list[Event])


class _Sent(NamedTuple):
    """A command that Redis has not answered yet; `at` on the loop's clock."""

    at: float
    size: int


def redis_key(name: Name) -> str:
    # The 1 is the packing's version: another packing gets another key.
    return f"troupe:log:1:{name.key.org_id}:{name.key.session_id}:{name.epoch}"


class Journal:
    """See the module. `open` before use; it connects when it is first to be written or read.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        ttl_s: Seconds a journal is kept after it was last written; more than a turn may take.
        timeout_s: For Redis to answer.
        retry_s: Seconds that Redis is left alone after it failed.
        patience_s: Seconds that `hand_off` waits at most, for a connection or for the kernel.
        flush_s: Seconds after which what was noted goes out though nobody hands it off.
        events_max: Events that may wait to be sent; more are dropped.
        bytes_max: Bytes that Redis may leave unanswered.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: float = 1800.0,
        timeout_s: float = 0.5,
        retry_s: float = 1.0,
        patience_s: float = 0.005,
        flush_s: float = 0.1,
        events_max: int = 50_000,
        bytes_max: int = 8_000_000,
    ) -> None:
        self.counts = {
            "journal_events": 0,
            "journal_flushes": 0,
            "journal_dropped": 0,
            "journal_errors": 0,
        }
        self._url = url
        self._ttl_ms = str(max(1, round(ttl_s * 1000)))
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._flush_s = flush_s
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._is_open = False
        self._reader: Redis | None = None
        self._unreadable_until = 0.0
        self._noted: dict[Name, _Note] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._decided = asyncio.Event()
        """Whether the first attempt to connect is over."""
        self._broken = asyncio.Event()
        self._away = False
        self._lock = asyncio.Lock()
        self._unanswered: deque[_Sent] = deque()
        self._unanswered_bytes = 0
        self._answered = asyncio.Event()
        self._answered.set()

    def open(self) -> None:
        self._is_open = True
        self._reader = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            self._url,
            protocol=2,
            max_connections=2,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    async def aclose(self) -> None:
        """Send what was noted, wait for Redis within its time, and disconnect."""
        if not self._is_open:
            return
        await self.settled()
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await stop(self._task)
        self._noted.clear()
        if self._reader is not None:
            await self._reader.aclose()

    # -- writing --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect, so that the first note finds a connection."""
        if self._task is None and self._is_open:
            self._task = spawn(self._work(), name="context-journal")

    def note(self, name: Name, events: Sequence[Event]) -> None:
        """Keep the events in mind until they are handed off. Never waits, never raises."""
        if not self._takes(len(events)):
            return
        note = self._noted.get(name)
        if note is None:
            note = self._noted[name] = _Note()
        note.events.extend(events)
        self._count += len(events)

    def forget(self, name: Name, kept: Sequence[Event]) -> None:
        """Have the session's journal hold these events and nothing else."""
        if not self._takes(len(kept)):
            return
        before = self._noted.pop(name, None)
        if before is not None:
            self._count -= len(before.events)
        self._noted[name] = _Note(True, list(kept))
        self._count += len(kept)

    async def hand_off(self) -> None:
        """Return once what was noted is the kernel's, or given up. Never raises."""
        if self._noted or self._lock.locked():
            async with self._lock:
                if self._noted:
                    await self._flush()

    async def settled(self) -> None:
        """Hand off, and wait until Redis has answered or was given up."""
        try:
            async with timeout(self._timeout_s):
                while self._noted:
                    await self._decided.wait()
                    await self.hand_off()
                await self._answered.wait()
        except TimeoutError:
            self._fail("no answer")

    def _takes(self, events: int) -> bool:
        """Whether that many can be noted; sees to it that they will go out."""
        if not self._is_open or self._away or self._count + events > self._events_max:
            self.counts["journal_dropped"] += events
            return False
        self._set_timer()
        self.prepare()
        return True

    def _tick(self) -> None:
        self._timer = None
        if self._noted:
            spawn(self.hand_off(), name="context-journal-flush")

    async def _flush(self) -> None:
        if not self._decided.is_set():
            try:
                async with timeout(self._patience_s):
                    await self._decided.wait()
            except TimeoutError:
                self._set_timer()
                return
        connection = self._connection
        notes, self._noted = self._noted, {}
        count, self._count = self._count, 0
        now = asyncio.get_running_loop().time()
        if connection is None or self._is_lost(connection, now):
            self.counts["journal_dropped"] += count
            return
        command = connection.pack_command(*self._command(notes))
        size = sum(map(len, command))
        self._unanswered.append(_Sent(now, size))
        self._unanswered_bytes += size
        self._answered.clear()
        try:
            async with timeout(self._patience_s):
                await connection.send_packed_command(command, check_health=False)
        except _AWAY as error:
            self.counts["journal_dropped"] += count
            self._fail(f"{type(error).__name__}: {error}")
            return
        self.counts["journal_events"] += count
        self.counts["journal_flushes"] += 1

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_s, self._tick)

    def _is_lost(self, connection: Connection, now: float) -> bool:
        """Whether Redis is gone or slow to answer; it is given up then."""
        if not connection.is_connected:
            self._fail("the connection is lost")
            return True
        if not self._unanswered:
            return False
        waiting_s = now - self._unanswered[0].at
        if waiting_s <= self._timeout_s and self._unanswered_bytes <= self._bytes_max:
            return False
        self._fail(f"{self._unanswered_bytes} bytes without an answer for {waiting_s:.2g} s")
        return True

    def _command(self, notes: dict[Name, _Note]) -> Iterable[Any]:
        forgotten = [redis_key(name) for name, note in notes.items() if note.forget]
        said = {redis_key(name): note.events for name, note in notes.items() if note.events}
        return (
            "EVAL",
            _WRITE,
            str(len(forgotten) + len(said)),
            *forgotten,
            *said,
            self._ttl_ms,
            str(len(forgotten)),
            *map(pack, said.values()),
        )

    # -- the connection -------------------------------------------------------------------------

    async def _work(self) -> None:
        """Connect, read answers, and begin anew when that fails."""
        pool = ConnectionPool.from_url(
            self._url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        while True:
            connection: Connection = pool.make_connection()  # type: ignore[assignment]
            reading: asyncio.Task[None] | None = None
            try:
                async with timeout(self._timeout_s):
                    await self._connect(connection)
                reading = spawn(self._read(connection), name="context-journal-answers")
                await self._broken.wait()
            except _AWAY as error:
                self._fail(f"{type(error).__name__}: {error}")
            finally:
                self._forget_connection()
                await stop(reading)
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self._retry_s)

    async def _connect(self, connection: Connection) -> None:
        await connection.connect()
        # Redis may take connections and answer nothing.
        await connection.send_command("PING", check_health=False)
        await connection.read_response()
        writer = connection._writer  # pyright: ignore[reportPrivateUsage]
        if writer is None:
            raise ConnectionResetError("the connection is gone again")
        # So that a send is over when the kernel has it all: there is no public way to say so.
        writer.transport.set_write_buffer_limits(high=0)
        if self._away:
            log.info("the journal is kept again")
        self._away = False
        self._broken.clear()
        self._connection = connection
        self._decided.set()

    async def _read(self, connection: Connection) -> None:
        """Take the answers. Ends when one is no success, or none can come any more."""
        try:
            while True:
                await connection.read_response()
                self._unanswered_bytes -= self._unanswered.popleft().size
                if not self._unanswered:
                    self._answered.set()
        except _AWAY as error:
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        self.counts["journal_errors"] += 1
        if not self._away:
            log.warning("Redis is away, what hosts say is not kept in a journal: %s", reason)
        self._away = True
        self._forget_connection()
        self.counts["journal_dropped"] += self._count
        self._noted.clear()
        self._count = 0
        self._broken.set()
        self._decided.set()

    def _forget_connection(self) -> None:
        self._connection = None
        self._unanswered.clear()
        self._unanswered_bytes = 0
        self._answered.set()

    # -- reading --------------------------------------------------------------------------------

    async def read(self, names: Sequence[Name]) -> list[list[Entry]]:
        """What these journals hold, in one exchange; nothing where Redis is away. Never raises."""
        nothing: list[list[Entry]] = [[] for _ in names]
        loop = asyncio.get_running_loop()
        if self._reader is None or not names or loop.time() < self._unreadable_until:
            return nothing
        # An activation of this very process may have said it.
        await self.settled()
        pipeline = self._reader.pipeline(transaction=False)
        for name in names:
            pipeline.lrange(redis_key(name), 0, -1)
        try:
            async with timeout(self._timeout_s):
                found: list[list[bytes]] = await pipeline.execute()
        except _AWAY as error:
            log.warning("journals cannot be read: %s: %s", type(error).__name__, error)
            self.counts["journal_errors"] += 1
            self._unreadable_until = loop.time() + self._retry_s
            return nothing
        return [unpack(chunks) for chunks in found]
