"""The hot copy: the newest messages of each active session in Redis, to wake it without Postgres.

It is a copy and never the truth. It carries the stamp of the row it was made after (`seq`,
`position`, `edits`); an activation takes the next epoch in Postgres first and uses the copy only
if the row still has that stamp. So a copy may be lost, late, doubled or left over from a deposed
host, and nobody is told anything wrong.

Copies are written behind the turns: `put` only notes what is to be written, the newest per
session, and one task sends what gathered as one pipeline. When Redis fails, copies are dropped and
Redis is left alone for `retry_s`; turns neither wait nor fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from context.writes import Stamp
from contracts.commands import SessionKey
from contracts.messages import Message
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.context.hot")

_AWAY = (RedisError, OSError)
_PIPELINE = 64


class HotCopy(NamedTuple):
    """What Redis holds of a session; messages are the newest, oldest first."""

    seq: int
    position: int
    edits: int
    messages: list[Message]


def newest(messages: Sequence[Message], limit: int, chars: int) -> list[Message]:
    """The newest `limit` messages that hold at most `chars` characters, and always the last one.

    The store's own query of Postgres cuts in the same way, so both copies give the same context.
    """
    kept: list[Message] = []
    room = chars
    for message in reversed(messages[-limit:]):
        room -= len(message.text)
        if kept and room < 0:
            break
        kept.append(message)
    kept.reverse()
    return kept


def pack(key: SessionKey, stamp: Stamp, messages: Sequence[Message]) -> bytes:
    """A copy as Redis keeps it. It names its session, so a key mistaken cannot leak another's."""
    rows = [tuple(message) for message in messages]
    return orjson.dumps([key.org_id, key.session_id, stamp.seq, stamp.position, stamp.edits, rows])


def unpack(key: SessionKey, packed: bytes) -> HotCopy | None:
    """The copy, or None if it is another session's or not one of ours."""
    try:
        org_id, session_id, seq, position, edits, rows = orjson.loads(packed)
        if (org_id, session_id) != key:
            return None
        return HotCopy(seq, position, edits, [Message(*row) for row in rows])
    except (ValueError, TypeError):
        return None


def redis_key(key: SessionKey) -> str:
    # The 1 is the packing's version: another packing gets another key.
    return f"troupe:hot:1:{key.org_id}:{key.session_id}"


class Hot:
    """The hot copies. `open` before use; Redis need not be there.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        ttl_s: Seconds a copy is kept after it was last written.
        connections: Connections at most.
        timeout_s: For one exchange with Redis.
        retry_s: Seconds that Redis is left alone after it failed.
        queue_max: Sessions whose copies may wait to be written; beyond, the oldest is dropped.
        gather_s: Seconds a copy waits for company: nobody waits for it, and each exchange costs.
        window_messages: Newest messages of a copy.
        window_chars: Characters of a copy.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: float = 3600.0,
        connections: int = 32,
        timeout_s: float = 0.5,
        retry_s: float = 1.0,
        queue_max: int = 5000,
        gather_s: float = 0.05,
        window_messages: int = 200,
        window_chars: int = 400_000,
    ) -> None:
        self.counts = {"hits": 0, "misses": 0, "written": 0, "dropped": 0, "errors": 0}
        self._url = url
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._connections = connections
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._queue_max = queue_max
        self._gather_s = gather_s
        self._window_messages = window_messages
        self._window_chars = window_chars
        self._redis: Redis | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: dict[SessionKey, tuple[Stamp, Sequence[Message]] | None] = {}
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._away = False
        self._away_until = 0.0

    def open(self) -> None:
        self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            self._url,
            protocol=2,
            max_connections=self._connections,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._task = spawn(self._work(), name="context-hot")

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Write what waits, within `timeout_s`, and disconnect."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self.flushed()
        except TimeoutError:
            log.info("closed with %d hot copies unwritten", len(self._queue))
        await stop(self._task)
        redis, self._redis = self._redis, None
        await redis.aclose()

    async def flushed(self) -> None:
        """Wait until everything noted so far is written or dropped."""
        await self._idle.wait()

    def put(self, key: SessionKey, stamp: Stamp, messages: Sequence[Message]) -> None:
        """Note the session's newest copy. The caller leaves `messages` alone from now on."""
        self._note(key, (stamp, messages))

    def drop(self, key: SessionKey) -> None:
        """Note that the session's copy is to go."""
        self._note(key, None)

    async def read(self, keys: Sequence[SessionKey]) -> list[HotCopy | None]:
        """The copies of these sessions, None where there is none. Never raises."""
        if self._redis is None or self._is_resting():
            return [None] * len(keys)
        try:
            async with asyncio.timeout(self._timeout_s):
                values: list[Any] = await self._redis.mget([redis_key(key) for key in keys])
        except _AWAY as error:
            self._failed(error)
            return [None] * len(keys)
        self._answered()
        return [value and unpack(key, value) for key, value in zip(keys, values, strict=True)]

    async def health(self, timeout_s: float) -> str:
        """`ok`, or in a few words what is wrong. Asks Redis even while it is left alone."""
        if self._redis is None:
            return "closed"
        try:
            async with asyncio.timeout(timeout_s):
                await self._redis.ping()  # pyright: ignore[reportUnknownMemberType]
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except _AWAY:
            return "unavailable"
        return "ok"

    def _note(self, key: SessionKey, copy: tuple[Stamp, Sequence[Message]] | None) -> None:
        if self._redis is None or self._is_resting():
            self.counts["dropped"] += 1
            return
        # Taken out first, so that a copy's place in the queue is that of its newest writing.
        self._queue.pop(key, None)
        if len(self._queue) >= self._queue_max:
            del self._queue[next(iter(self._queue))]
            self.counts["dropped"] += 1
        self._queue[key] = copy
        self._idle.clear()
        self._arrived.set()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._queue) < _PIPELINE:
                await asyncio.sleep(self._gather_s)
            batch = {key: self._queue[key] for key in islice(self._queue, _PIPELINE)}
            for key in batch:
                del self._queue[key]
            await self._send(batch)
            if not self._queue:
                self._arrived.clear()
                self._idle.set()

    async def _send(self, batch: dict[SessionKey, tuple[Stamp, Sequence[Message]] | None]) -> None:
        if self._redis is None or self._is_resting():
            self.counts["dropped"] += len(batch)
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, copy in batch.items():
            if copy is None:
                pipeline.delete(redis_key(key))
                continue
            stamp, messages = copy
            kept = newest(messages, self._window_messages, self._window_chars)
            try:
                pipeline.set(redis_key(key), pack(key, stamp, kept), px=self._ttl_ms)
            except TypeError as error:
                log.warning("no hot copy of %s: %s", key.session_id, error)
                self.counts["dropped"] += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await pipeline.execute()
        except _AWAY as error:
            self.counts["dropped"] += len(batch)
            self._failed(error)
            return
        self.counts["written"] += len(batch)
        self._answered()

    def _is_resting(self) -> bool:
        return self._away and asyncio.get_running_loop().time() < self._away_until

    def _failed(self, error: BaseException) -> None:
        self.counts["errors"] += 1
        if not self._away:
            log.warning(
                "Redis is away, sessions wake from Postgres: %s: %s", type(error).__name__, error
            )
        self._away = True
        self._away_until = asyncio.get_running_loop().time() + self._retry_s

    def _answered(self) -> None:
        if self._away:
            log.info("Redis is back")
        self._away = False
