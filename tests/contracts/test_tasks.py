"""Background tasks: stopped for good, whatever they run through."""

from __future__ import annotations

import asyncio

import pytest

from contracts.tasks import spawn, stop


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("contracts.tasks.AGAIN_S", 0.01)
    lost = 0

    async def careless() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = spawn(careless(), name="careless")
    await asyncio.sleep(0)
    await stop(task, None)
    assert (task.cancelled(), lost) == (True, 3)


async def test_whoever_has_ended_is_not_waited_for() -> None:
    async def short() -> int:
        return 1

    task = spawn(short(), name="short")
    assert await task == 1
    await stop(task)
    assert task.result() == 1
