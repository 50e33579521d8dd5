"""Doing something for a client for as long as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from contracts.tasks import spawn, stop

T = TypeVar("T")


class ClientGone(Exception):
    """The client has closed its connection; there is nobody left to answer."""


async def while_present(receive: Receive, work: Coroutine[Any, Any, T], *, name: str) -> T:
    """The result of `work`, which is cancelled when the client leaves.

    The request's body must have been read: the next thing `receive` says is the disconnection.

    Raises:
        ClientGone: it left first.
    """
    working = spawn(work, name=name, on_error=_told)
    leaving = spawn(_left(receive), name=f"{name}-presence", on_error=_told)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await stop(leaving, working)
    if working.cancelled():
        raise ClientGone
    return working.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _told(error: BaseException) -> None:
    """Whoever awaits `while_present` hears of it."""
