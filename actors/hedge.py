"""A second request where the first does not speak: whichever speaks first is heard.

The other one is left, and paid for. While one of them still runs, the failure of the other is not
the turn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from actors.attempts import Attempt, Attempts, provider_failed
from actors.desk import Hedge
from contracts.agents import End
from contracts.errors import ProviderInterrupted
from contracts.tasks import spawn, stop


class Heard(NamedTuple):
    """Who spoke first, its first item and the rest of its stream."""

    attempt: Attempt
    item: str | End
    items: AsyncGenerator[str | End, None]


class _Racer(NamedTuple):
    attempt: Attempt
    items: AsyncGenerator[str | End, None]
    first: asyncio.Task[str | End]


async def first_to_speak(attempts: Attempts, hedge: Hedge) -> Heard:
    """Ask `attempts.current`, and another one if it is silent for too long.

    Who is heard, or failed last, is `attempts.current` afterwards. Raises the error of that one.
    """
    assert attempts.current is not None, "somebody is asked"
    running = [_start(attempts.current)]
    heard: Heard | None = None
    try:
        await asyncio.wait([running[0].first], timeout=hedge.after_s)
        if not running[0].first.done() and (second := attempts.another(hedge)):
            running.append(_start(second))
        while True:
            await asyncio.wait([r.first for r in running], return_when=asyncio.FIRST_COMPLETED)
            for racer in [racer for racer in running if racer.first.done()]:
                attempts.current = racer.attempt
                running.remove(racer)
                error = racer.first.exception()
                if error is None:
                    heard = Heard(racer.attempt, racer.first.result(), racer.items)
                    return heard
                if not running or not isinstance(error, Exception):
                    raise error
                attempts.failed(racer.attempt, provider_failed(error))
                attempts.current = running[0].attempt
    finally:
        # At once: whoever cancels the turn ends the waiting below as well.
        for racer in running:
            attempts.left(racer.attempt)
        await _close(running, heard)


def _start(attempt: Attempt) -> _Racer:
    items = attempt.stream()
    task = spawn(_first(items), name=f"first-of-{attempt.name}", on_error=_told_to_the_turn)
    return _Racer(attempt, items, task)


async def _close(running: Sequence[_Racer], heard: Heard | None) -> None:
    """Close the streams of those who were left, and `heard` as well if nobody is to hear it."""
    try:
        # All are told to stop before one is waited for.
        await stop(*[racer.first for racer in running])
        for racer in running:
            await racer.items.aclose()
    except asyncio.CancelledError:
        if heard is not None:
            await heard.items.aclose()
        raise


async def _first(items: AsyncGenerator[str | End, None]) -> str | End:
    async for item in items:
        return item
    raise ProviderInterrupted("The provider's stream stopped without an end.")


def _told_to_the_turn(error: BaseException) -> None:
    """Whoever waits for the task raises it or has another one running."""
