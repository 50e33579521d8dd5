"""What hosts tell each other of endpoints, through Redis: use, closed circuits, rate limits.

Each host has one field of one hash, and writes all it has to tell into it: four times a second
while something changes, at once when an endpoint is closed, else once a second as a sign of life.
Four times a second it reads the fields of the others, whether or not it has something to tell. What
is told are figures of the moment and no changes of them, so that one that is lost or late is made
good by the next.

A host counts as living once its field has changed, and as long as it keeps changing, by the
reader's own clock: so clocks need not agree, and what a dead host left behind says nothing.

While Redis is away each host goes on by itself, with its share of what all may use together.

Once a second a host also leaves a report for people, which goes away by itself. A process that only
asks models, and is no host, has none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.errors import StoreUnavailable
from contracts.limits import Shared, Word
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.context.exchange")

_AWAY = (RedisError, OSError)
# The number is the packing's version: another packing gets another key.
KEY = "troupe:endpoints:2"
REPORT = "troupe:report:1:"
TICK_S = 0.25
REST_S = 1.0
DEAD_S = 4.0
"""Without a change for so long, a host is gone."""
FORGET_S = 60.0
"""After so long its field is removed, by whoever sees it."""
REPORT_TTL_S = 5.0
HOSTS_MAX = 1000

Report = Callable[[], Mapping[str, Any]]


def _redis(url: str, timeout_s: float) -> Redis:
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        protocol=2,
        max_connections=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


def pack(serial: int, words: Mapping[str, Word]) -> bytes:
    """A host's field."""
    return orjson.dumps([serial, {name: tuple(word) for name, word in words.items()}])


def unpack(packed: bytes) -> tuple[int, dict[str, Word]] | None:
    """What a field holds, or None if it is not one of ours."""
    try:
        serial, words = orjson.loads(packed)
        return int(serial), {str(name): Word(*word) for name, word in words.items()}
    except (ValueError, TypeError, AttributeError):
        return None


class Exchange:
    """One host's part in it. `open` before use; Redis need not be there.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        host_id: This host's.
        shared: What it has to tell, and who is told what others do.
        report: What people are to know of this host; None: nothing.
        timeout_s: For one exchange with Redis.
        retry_s: Seconds that Redis is left alone after it failed.
    """

    def __init__(
        self,
        url: str,
        host_id: str,
        shared: Shared,
        report: Report | None,
        *,
        timeout_s: float = 0.5,
        retry_s: float = 1.0,
    ) -> None:
        self._url = url
        self._host_id = host_id
        self._shared = shared
        self._report = report
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._redis: Redis | None = None
        self._task: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._serial = 0
        self._told: Mapping[str, Word] = {}
        self._told_at = self._reported_at = -FORGET_S
        self._seen: dict[str, tuple[int, float, bool]] = {}
        self._apart = False
        self._silent = False

    def open(self) -> None:
        self._redis = _redis(self._url, self._timeout_s)
        self._task = spawn(self._work(), name="endpoints-exchange")

    async def aclose(self) -> None:
        """Say goodbye, if Redis is there, and disconnect. Idempotent."""
        await stop(self._task)
        redis, self._redis = self._redis, None
        if redis is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                pipeline = redis.pipeline(transaction=False)
                pipeline.hdel(KEY, self._host_id)
                pipeline.delete(REPORT + self._host_id)
                await pipeline.execute()
        except _AWAY as error:
            log.info("left without a goodbye: %s", type(error).__name__)
        await redis.aclose()

    def nudge(self) -> None:
        """Something is worth telling at once."""
        self._urgent.set()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._urgent.clear()
            pause_s = TICK_S
            try:
                await self._look(loop.time())
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the sharing
                self._failed(error)
                pause_s = self._retry_s
            try:
                async with asyncio.timeout(pause_s):
                    await self._urgent.wait()
            except TimeoutError:
                continue
            if self._apart:
                # Nothing is so urgent that a Redis that is away should be asked more often.
                await asyncio.sleep(self._retry_s)

    async def _look(self, now: float) -> None:
        """Tell what has changed, and hear the others."""
        assert self._redis is not None
        words = self._shared.words(now)
        tells = words != self._told or now - self._told_at >= REST_S
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(KEY)
        if tells:
            self._serial += 1
            pipeline.hset(KEY, self._host_id, pack(self._serial, words))
            pipeline.pexpire(KEY, round(FORGET_S * 1000))
        reports = now - self._reported_at >= REST_S
        if reports and (report := self._made()) is not None:
            pipeline.set(REPORT + self._host_id, report, px=round(REPORT_TTL_S * 1000))
        async with asyncio.timeout(self._timeout_s):
            fields = (await pipeline.execute())[0]
            gone = self._hear(now, fields)
            if gone:
                await self._redis.hdel(KEY, *gone)
        if tells:
            self._told, self._told_at = words, now
        if reports:
            self._reported_at = now
        if self._apart:
            self._apart = False
            log.info("hosts hear of each other's endpoints again")

    def _made(self) -> bytes | None:
        """The report as it is kept. One that fails is not worth more than what hosts share."""
        if self._report is None:
            return None
        try:
            packed = orjson.dumps(self._report(), default=str)
        except Exception as error:
            if not self._silent:
                log.error("this host has no report for people", exc_info=error)
            self._silent = True
            return None
        self._silent = False
        return packed

    def _hear(self, now: float, fields: Mapping[bytes, bytes]) -> list[str]:
        """Pass on what living hosts tell; returns those that have been gone for long."""
        others: dict[str, dict[str, Word]] = {}
        seen: dict[str, tuple[int, float, bool]] = {}
        gone: list[str] = []
        for field, packed in fields.items():
            host = field.decode("utf-8", "replace")
            told = unpack(packed)
            if host == self._host_id or len(seen) >= HOSTS_MAX:
                continue
            serial, words = told or (-1, {})
            known_serial, changed_at, lives = self._seen.get(host, (serial, now, False))
            if serial != known_serial:
                changed_at, lives = now, True
            if now - changed_at >= FORGET_S:
                gone.append(host)
                continue
            seen[host] = serial, changed_at, lives
            if lives and now - changed_at < DEAD_S:
                others[host] = words
        self._seen = seen
        self._shared.hear(now, others)
        return gone

    def _failed(self, error: Exception) -> None:
        self._shared.apart()
        if self._apart:
            return
        self._apart = True
        if isinstance(error, _AWAY):
            log.warning(
                "Redis is away: each host keeps to its share of the endpoints' limits: %s",
                type(error).__name__,
            )
        else:
            log.error("each host keeps to its share of the endpoints' limits", exc_info=error)


class HostReports:
    """The port `contracts.limits.Reports`. It connects when it is first asked.

    Args:
        url: As `Exchange` has it.
        timeout_s: For one exchange with Redis.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.5) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._redis: Redis | None = None

    async def hosts(self) -> list[dict[str, Any]]:
        """The newest report of each living host, by its name."""
        redis = self._redis = self._redis or _redis(self._url, self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                fields = cast("list[bytes]", await redis.hkeys(KEY))
                names = sorted(field.decode("utf-8", "replace") for field in fields[:HOSTS_MAX])
                packed = await redis.mget([REPORT + name for name in names]) if names else []
        except _AWAY as error:
            raise StoreUnavailable(
                "Redis is away, through which hosts report.", retry_after=1
            ) from error
        return [orjson.loads(report) for report in packed if report is not None]

    async def aclose(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()
