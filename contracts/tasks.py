"""Background tasks: each has a name, an owner and an error path.

`asyncio` keeps only weak references to tasks and reports an unretrieved exception when the
garbage collector happens to find it. `spawn` holds the task until it is done and hands its error
to the owner at once; a bare `asyncio.create_task` is banned by the linter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("troupe.tasks")
AGAIN_S = 5.0
"""What a task may take to clean up after it was cancelled, before it is cancelled again."""
_alive: set[asyncio.Task[Any]] = set()


def spawn(
    coro: Coroutine[Any, Any, T],
    *,
    name: str,
    on_error: Callable[[BaseException], None] | None = None,
) -> asyncio.Task[T]:
    """Start `coro` as a named task that cannot be collected early or fail unseen.

    Args:
        coro: What to run.
        name: Shown in logs and by debuggers.
        on_error: Called with the exception if the task fails; by default it is logged.
            Cancellation is no error.
    """
    task = asyncio.create_task(coro, name=name)  # noqa: TID251 - the one place that may
    _alive.add(task)

    def done(task: asyncio.Task[T]) -> None:
        _alive.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if on_error is not None:
            on_error(error)
        else:
            log.error("task %s failed", name, exc_info=error)

    task.add_done_callback(done)
    return task


async def stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks and wait until each is gone; their errors went to their owners.

    One that goes on is cancelled again: a library may take a cancellation for its own time-out.
    """
    living = {task for task in tasks if task is not None and not task.done()}
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=AGAIN_S)
