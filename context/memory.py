"""The `Memory` port: Postgres, writer, waker, hot copies and journal behind one door."""

from __future__ import annotations

import time
from asyncio import gather
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from context import writes
from context.archive import Archive
from context.hot import Hot
from context.journal import Journal, Name
from context.left_open import left_open
from context.migrate import migrate
from context.outbox import Outbox
from context.policies import Policies
from context.postgres import Postgres
from context.records import Records
from context.replay import events_since
from context.routed import Routes
from context.schedules import Timetable
from context.spending import Spending
from context.wake import Waker
from context.writer import Writer
from context.writes import Stamp
from contracts.commands import SessionKey
from contracts.errands import Hook
from contracts.errors import NotFound
from contracts.events import Cursor, Event
from contracts.memory import SessionState, Summary
from contracts.messages import Message, ResponseRecord, Usage


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """Bounds of one process's memory.

    Args:
        hot_ttl_s: Seconds a hot copy is kept after its session's last turn.
        journal_ttl_s: Seconds a journal is kept after its last event; more than a turn may take.
        window_messages: Newest messages that are loaded and kept hot.
        window_chars: Characters of them at most; the last message always comes along.
        pool_min: Postgres connections opened at once.
        pool_max: Postgres connections at most; the writer has one more.
        redis_connections: Redis connections at most.
        gather_s: Seconds that a write waits for company.
        group_max: Writes that share one transaction at most.
        group_chars: Characters that share one transaction at most.
        queue_max: Writes, activations and hot copies waiting at most, each.
        connect_timeout_s: To reach Postgres, or to get a free connection.
        postgres_timeout_s: For one statement.
        redis_timeout_s: For one exchange with Redis.
        redis_retry_s: Seconds that Redis is left alone after it failed.
        migrate_timeout_s: For migrations, waiting for another process's included.
        health_timeout_s: For each part's answer to `health`.
        close_timeout_s: For what is under way when this is closed.
        hooks: Webhook endpoints, for which word of turns' ends is put into the outbox.
    """

    hot_ttl_s: float = 3600.0
    journal_ttl_s: float = 1800.0
    window_messages: int = 200
    window_chars: int = 400_000
    pool_min: int = 1
    pool_max: int = 8
    redis_connections: int = 32
    gather_s: float = 0.002
    group_max: int = 256
    group_chars: int = 8_000_000
    queue_max: int = 5000
    connect_timeout_s: float = 5.0
    postgres_timeout_s: float = 10.0
    redis_timeout_s: float = 0.5
    redis_retry_s: float = 1.0
    migrate_timeout_s: float = 60.0
    health_timeout_s: float = 1.0
    close_timeout_s: float = 5.0
    hooks: tuple[Hook, ...] = ()


class ContextMemory:
    """Implements `contracts.memory.Memory`. One per process and event loop.

    `records` is what a gateway reads and creates by itself; `timetable`, `outbox` and `archive`
    are where errands take their work from; `policies` is what operators have put, `routes` what
    rules have decided, `spending` the `Ledger`. A process that never writes or wakes pays for
    nothing of it: the writer connects with its first write.
    """

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        options: ContextOptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        o = self._options = options or ContextOptions()
        self._database_url = database_url
        self._postgres = Postgres(
            database_url,
            pool_min=o.pool_min,
            pool_max=o.pool_max,
            connect_timeout_s=o.connect_timeout_s,
            timeout_s=o.postgres_timeout_s,
        )
        self._hot = Hot(
            redis_url,
            ttl_s=o.hot_ttl_s,
            connections=o.redis_connections,
            timeout_s=o.redis_timeout_s,
            retry_s=o.redis_retry_s,
            queue_max=o.queue_max,
            window_messages=o.window_messages,
            window_chars=o.window_chars,
        )
        self._journal = Journal(
            redis_url,
            ttl_s=o.journal_ttl_s,
            timeout_s=o.redis_timeout_s,
            retry_s=o.redis_retry_s,
        )
        self._writer = Writer(
            self._postgres,
            group_max=o.group_max,
            chars_max=o.group_chars,
            queue_max=o.queue_max,
            gather_s=o.gather_s,
        )
        self._waker = Waker(
            self._postgres,
            self._hot,
            self._journal,
            window_messages=o.window_messages,
            window_chars=o.window_chars,
            queue_max=o.queue_max,
        )
        self.records = Records(self._postgres)
        self.timetable = Timetable(self._postgres)
        self.outbox = Outbox(self._postgres)
        self.archive = Archive(self._postgres)
        self.policies = Policies(self._postgres)
        self.routes = Routes(self._postgres)
        self.spending = Spending(self._postgres, clock, queue_max=o.queue_max)

    async def open(self, *, migrations: bool = True) -> None:
        """Migrate and connect. Redis need not be there.

        Raises:
            StoreUnavailable: Postgres cannot be reached; may be tried again.
            TroupeError: An old migration was changed (code `migration_changed`).
        """
        if migrations:
            await migrate(self._database_url, timeout_s=self._options.migrate_timeout_s)
        await self._postgres.open()
        self._hot.open()
        self._journal.open()
        self._writer.open()
        self._waker.open()
        self.spending.open()

    async def aclose(self) -> None:
        """Let what is under way finish, within bounds, and disconnect. Idempotent."""
        within = self._options.close_timeout_s
        await self._waker.aclose(within)
        await self._writer.aclose(within)
        await self.spending.aclose(within)
        await self._hot.aclose(within)
        await self._journal.aclose()
        await self._postgres.aclose(within)

    async def health(self) -> dict[str, str]:
        """`postgres` and `redis`: `ok`, or in a few words what is wrong. Never raises."""
        within = self._options.health_timeout_s
        postgres, redis = await gather(self._postgres.health(within), self._hot.health(within))
        return {"postgres": postgres, "redis": redis}

    @property
    def counts(self) -> dict[str, int]:
        """What happened since the start, to writes, hot copies and the journal."""
        return {**self._writer.counts, **self._hot.counts, **self._journal.counts}

    async def hot_copies_written(self) -> None:
        """Wait until every hot copy noted so far is written or given up."""
        await self._hot.flushed()

    # -- Memory ---------------------------------------------------------------------------------

    async def activate(self, key: SessionKey) -> SessionState:
        """Also takes over the turns that an earlier one left open; see `context.recover`."""
        self._journal.prepare()
        return await self._waker.wake(key)

    def note_events(self, key: SessionKey, epoch: int, events: Sequence[Event]) -> None:
        self._journal.note(Name(key, epoch), events)

    async def hand_off(self) -> None:
        await self._journal.hand_off()

    def forget_events(self, key: SessionKey, epoch: int, kept: Sequence[Event]) -> None:
        self._journal.forget(Name(key, epoch), kept)

    async def accept(
        self, key: SessionKey, epoch: int, seq: int, record: ResponseRecord, items: list[Message]
    ) -> None:
        """`seq` is the last one given out; the event of it gets its own with `finish`.

        After `StoreUnavailable` with details `written: unknown` the turn may be stored after all.
        The activation's next write then raises `Deposed`, and the next activation runs the turn.
        """
        await self._writer.write(writes.accept(key, epoch, seq, record, items))

    async def finish(
        self,
        key: SessionKey,
        epoch: int,
        seq: int,
        record: ResponseRecord,
        answer: Message | None,
        window: list[Message],
    ) -> None:
        """May be tried again after `StoreUnavailable`: a turn that ended so already is no error."""
        hooks = self._options.hooks
        stamp = await self._writer.write(writes.finish(key, epoch, seq, record, answer, hooks))
        self._keep_hot(key, stamp, window)

    async def add_items(
        self, key: SessionKey, epoch: int, seq: int, items: list[Message], window: list[Message]
    ) -> None:
        stamp = await self._writer.write(writes.add_items(key, epoch, seq, items))
        self._keep_hot(key, stamp, window)

    async def delete_item(
        self, key: SessionKey, epoch: int, item_id: str, window: list[Message]
    ) -> None:
        stamp = await self._writer.write(writes.delete_item(key, epoch, item_id))
        self._keep_hot(key, stamp, window)

    async def update_metadata(self, key: SessionKey, epoch: int, metadata: dict[str, str]) -> None:
        await self._writer.write(writes.update_metadata(key, epoch, metadata))

    async def keep_summary(
        self, key: SessionKey, epoch: int, summary: Summary, agent: str, usage: Usage | None
    ) -> None:
        await self._writer.write(writes.keep_summary(key, epoch, summary, agent, usage))

    async def drop(self, key: SessionKey, epoch: int) -> None:
        try:
            await self._writer.write(writes.drop(key, epoch))
        except NotFound:
            # Gone before, by a deletion whose answer was lost: what it left behind goes as well.
            self._forget(key, epoch)
            raise
        self._forget(key, epoch)

    def _forget(self, key: SessionKey, epoch: int) -> None:
        self._hot.drop(key)
        self._journal.forget(Name(key, epoch), ())

    async def response(self, org_id: str, response_id: str) -> ResponseRecord:
        return await self.records.response(org_id, response_id)

    async def left_open(
        self, *, born_after: float, born_before: float, limit: int
    ) -> list[SessionKey]:
        """See `context.left_open`."""
        return await left_open(
            self._postgres, born_after=born_after, born_before=born_before, limit=limit
        )

    async def events_since(self, key: SessionKey, after: Cursor, limit: int) -> list[Event] | None:
        return await events_since(self._postgres, key, after, limit)

    def _keep_hot(self, key: SessionKey, stamp: Stamp | None, window: list[Message]) -> None:
        # While further turns are open the window may lack what they were asked; the last of them
        # to end writes the copy.
        if stamp is not None and stamp.open_turns == 0:
            self._hot.put(key, stamp, window)
