"""Turns that nobody is known to run are found by when they were born."""

from __future__ import annotations

import time

from context.memory import ContextMemory
from contracts.commands import SessionKey
from tests.context.activation import Activation


async def found(
    memory: ContextMemory, after: float, before: float, limit: int = 10_000
) -> set[SessionKey]:
    return set(await memory.left_open(born_after=after, born_before=before, limit=limit))


async def test_what_is_open_is_found_and_what_has_ended_is_not(memory: ContextMemory) -> None:
    began = time.time() - 1
    open_one, ended = await Activation.new(memory), await Activation.new(memory)
    await open_one.accept("left alone")
    await open_one.accept("and another")
    await ended.turn("hi", "hello")
    now = time.time() + 1
    assert await found(memory, began, now) & {open_one.key, ended.key} == {open_one.key}
    assert open_one.key not in await found(memory, began - 10, began), "it is younger than that"
    assert open_one.key not in await found(memory, now, now + 10), "it is older than that"


async def test_there_is_a_bound(memory: ContextMemory) -> None:
    began = time.time() - 1
    for _ in range(3):
        await (await Activation.new(memory)).accept("left alone")
    assert len(await found(memory, began, time.time() + 1, limit=2)) == 2
