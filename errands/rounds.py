"""A task that works in rounds: as long as there is work at once, then every so often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from random import Random

from contracts.errors import Unavailable
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.errands")


class Rounds:
    """Runs `work` until it is closed. A round that fails is logged, and the next one comes.

    Args:
        name: Of the task.
        work: One round; True: there may be more to do at once.
        every_s: Seconds between rounds that found nothing. The first begins somewhere within
            them, so that gateways that started together do not ask together.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool]],
        every_s: float,
        random: Random | None = None,
    ) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._random = random or Random()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Idempotent."""
        if self._task is None:
            self._task = spawn(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop, in the middle of a round if need be: whatever it had claimed is claimed anew."""
        await stop(self._task)
        self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(self._random.uniform(0, self._every_s))
        while True:
            more = False
            try:
                more = await self._work()
            except Unavailable as error:
                log.warning("%s: %s", self._name, error.message)
            except Exception:
                log.exception("%s: a round failed", self._name)
            if not more:
                await asyncio.sleep(self._every_s)


async def together(jobs: Iterable[Awaitable[None]]) -> None:
    """Do them all at once; what one of them raises stops none, and is raised at the end."""
    for result in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
