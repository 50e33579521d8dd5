"""Clients that come in crowds and vanish without a word leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

from websockets.asyncio.client import ClientConnection, connect

from tests.gateway.house import House, eventually

CROWD = 120
ROUNDS = 6
"""The first ones fill what is filled once: caches, pools, prepared statements."""


async def visit(house: House, conversation: str, talks: bool) -> ClientConnection:
    url = house.url.replace("http", "ws") + f"/v1/conversations/{conversation}/ws"
    socket = await connect(url, compression=None)
    await socket.send('{"type":"session.open"}')
    await socket.recv()
    if talks:
        house.agent.say("half of an ")
        await socket.send('{"type":"response.create","input":"hi","model":"echo"}')
        await socket.recv()
    return socket


def ours() -> Counter[str]:
    """How many there are of each of our classes, and of tasks."""
    gc.collect()
    return Counter(
        type(thing).__qualname__
        for thing in gc.get_objects()
        if str(type(thing).__module__).partition(".")[0]
        in ("gateway", "actors", "context", "contracts", "_asyncio", "uvicorn", "websockets")
    )


async def test_a_crowd_that_vanishes_leaves_nothing(house: House) -> None:
    counts: list[Counter[str]] = []
    for _ in range(ROUNDS):
        made = [await house.client.conversations.create() for _ in range(4)]
        sockets = await asyncio.gather(
            *(visit(house, made[n % 4].id, talks=n < 4) for n in range(CROWD))
        )
        assert house.readers() == CROWD
        for socket in sockets:
            socket.transport.abort()
        await eventually(house.readers, 0)
        for _ in made:
            # Their turns have gone on without them, and end.
            house.agent.answer("answer")
        await eventually(lambda: house.runtime.running(), 0)
        for conversation in made:
            await house.client.conversations.delete(conversation.id)
        await eventually(house.runtime.load, 0)
        await house.memory.hot_copies_written()
        del sockets, socket
        await asyncio.sleep(0)
        counts.append(ours())
    grown = {name: n for name, n in (counts[-1] - counts[2]).items() if n > CROWD / 10}
    assert grown == {}, f"in {ROUNDS - 3} rounds of {CROWD}"
    assert sum(counts[-1].values()) > 0
