"""Gathering: what waits while one batch is under way becomes the next batch.

One task runs batches one after another. Callers hand in an item and wait for its own result; what
one caller does (it is cancelled, its item fails) never reaches another's item. Of several items
with the same key, at most one is in a batch and they keep their order, so a batch may be handled
as a set. How a batch is run is the owner's business; nothing here knows SQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from contracts.errors import StoreUnavailable, TroupeError
from contracts.tasks import spawn, stop

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("troupe.context.gather")


@dataclass(slots=True)
class Waiting(Generic[T, R]):
    """An item, who waits for it, and since when on the loop's clock."""

    item: T
    future: asyncio.Future[R]
    since: float


def take(
    waiting: deque[Waiting[T, R]],
    key: Callable[[T], Hashable],
    weight: Callable[[T], int],
    *,
    group_max: int,
    weight_max: int,
) -> list[Waiting[T, R]]:
    """Take the next batch out of `waiting`, in order; what is left keeps its order.

    Items that nobody waits for any more are left out and forgotten. The first item is taken
    whatever it weighs; after it the batch ends before it would outgrow a limit.
    """
    batch: list[Waiting[T, R]] = []
    later: list[Waiting[T, R]] = []
    taken: set[Hashable] = set()
    heavy = 0
    while waiting and len(batch) < group_max:
        entry = waiting.popleft()
        if entry.future.done():
            continue
        name = key(entry.item)
        if name in taken:
            later.append(entry)
            continue
        heavy += weight(entry.item)
        if batch and heavy > weight_max:
            later.append(entry)
            break
        taken.add(name)
        batch.append(entry)
    waiting.extendleft(reversed(later))
    return batch


class Gatherer(Generic[T, R]):
    """Runs items in batches. `open` before use.

    Args:
        run: Handles a batch; one result or exception per item, in the batch's order. What it
            raises itself goes to every waiter of the batch.
        key: At most one item of a key is in a batch.
        weight: What an item weighs against `weight_max`.
        name: Of the task, and in messages.
        group_max: Items in a batch at most.
        weight_max: Weight of a batch at most, unless one item alone is heavier.
        queue_max: Items waiting at most; one more is refused.
        gather_s: Seconds an item waits for company when nothing is under way.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        key: Callable[[T], Hashable],
        weight: Callable[[T], int],
        *,
        name: str,
        group_max: int,
        weight_max: int,
        queue_max: int,
        gather_s: float,
    ) -> None:
        self.batches = 0
        self.items = 0
        self._run = run
        self._key = key
        self._weight = weight
        self._name = name
        self._group_max = group_max
        self._weight_max = weight_max
        self._queue_max = queue_max
        self._gather_s = gather_s
        self._waiting: deque[Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._open = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Items that wait for their batch."""
        return len(self._waiting)

    def open(self) -> None:
        self._open = True
        self._task = spawn(self._work(), name=self._name)

    async def submit(self, item: T) -> R:
        """Have the item run in some next batch. Cancelling the caller leaves the others alone.

        Raises:
            StoreUnavailable: Too much is waiting, or this is closed; nothing was done.
        """
        if not self._open:
            raise StoreUnavailable("The store is closed.", details={"written": "no"})
        if len(self._waiting) >= self._queue_max:
            raise StoreUnavailable(
                "Too much is waiting for the store.", retry_after=1, details={"written": "no"}
            )
        loop = asyncio.get_running_loop()
        entry: Waiting[T, R] = Waiting(item, loop.create_future(), loop.time())
        self._waiting.append(entry)
        self._idle.clear()
        self._arrived.set()
        return await entry.future

    async def aclose(self, timeout_s: float) -> None:
        """Refuse new items, let those in hand finish within `timeout_s`, fail the rest."""
        if not self._open:
            return
        self._open = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%s: closed with %d waiting", self._name, len(self._waiting))
        await stop(self._task)
        for entry in self._waiting:
            if not entry.future.done():
                closed = StoreUnavailable("The store was closed.", details={"written": "no"})
                entry.future.set_exception(closed)
        self._waiting.clear()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._gather_s > 0 and len(self._waiting) < self._group_max:
                # What came while the last batch was under way has waited long enough.
                pause = self._waiting[0].since + self._gather_s - loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
            batch = take(
                self._waiting,
                self._key,
                self._weight,
                group_max=self._group_max,
                weight_max=self._weight_max,
            )
            if batch:
                await self._handle(batch)
            if not self._waiting:
                self._arrived.clear()
                self._idle.set()

    async def _handle(self, batch: list[Waiting[T, R]]) -> None:
        self.batches += 1
        self.items += len(batch)
        results: Sequence[R | Exception]
        try:
            results = await self._run([entry.item for entry in batch])
        except TroupeError as error:
            # A copy for each: an exception carries the traceback of whoever it was raised in.
            results = [copy(error) for _ in batch]
        except Exception as error:
            log.exception("%s: a batch failed", self._name)
            results = [error] * len(batch)
        except asyncio.CancelledError:
            self._settle(batch, [_cut_off() for _ in batch])
            raise
        self._settle(batch, results)

    @staticmethod
    def _settle(batch: list[Waiting[T, R]], results: Sequence[R | Exception]) -> None:
        for entry, result in zip(batch, results, strict=True):
            if entry.future.done():
                continue
            if isinstance(result, Exception):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(result)


def _cut_off() -> StoreUnavailable:
    return StoreUnavailable(
        "The store was closed before it answered.", details={"written": "unknown"}
    )
