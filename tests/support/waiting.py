"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LIMIT_S = 60.0
STEP_S = 0.01


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Come back as soon as the condition holds. Fails when it does not within a minute."""
    for _ in range(round(LIMIT_S / STEP_S)):
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError(f"waited in vain until {what}")
