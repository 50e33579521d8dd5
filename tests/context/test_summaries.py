"""Summaries in the store: the newest is woken with, and none outlives what it tells of."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from context.memory import ContextMemory
from contracts.errors import Deposed
from contracts.memory import Summary
from contracts.messages import Usage
from tests.context.activation import Activation


async def kept(database: str, host: Activation) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(
            "SELECT covers_to, text, agent, input_tokens, output_tokens FROM summaries"
            " WHERE org_id = $1 AND session_id = $2 ORDER BY covers_to",
            *host.key,
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def keep(host: Activation, text: str, covers_to: int) -> None:
    await host.memory.keep_summary(
        host.key, host.epoch, Summary(text, covers_to), "small", Usage(90, 8)
    )


async def test_the_newest_one_is_woken_with(database: str, host: Activation) -> None:
    await host.turn("hello", "hi")
    assert (await host.memory.activate(host.key)).summary is None
    host = await Activation.of(host.memory, host.key)
    await keep(host, "They greeted.", 1)
    await keep(host, "They greeted each other.", 2)
    assert await kept(database, host) == [
        (1, "They greeted.", "small", 90, 8),
        (2, "They greeted each other.", "small", 90, 8),
    ]
    state = await host.memory.activate(host.key)
    assert state.summary == Summary("They greeted each other.", 2)
    assert [m.text for m in state.messages] == ["hello", "hi"], "the messages stay"


async def test_it_leaves_the_hot_copy_good(host: Activation) -> None:
    await host.turn("hello", "hi")
    await host.memory.hot_copies_written()
    await keep(host, "They greeted.", 2)
    hits = host.memory.counts["hits"]
    state = await host.memory.activate(host.key)
    assert host.memory.counts["hits"] == hits + 1
    assert state.summary == Summary("They greeted.", 2)


async def test_a_second_try_is_no_error(database: str, host: Activation) -> None:
    await host.turn("hello", "hi")
    await keep(host, "They greeted.", 2)
    await keep(host, "They greeted.", 2)
    assert len(await kept(database, host)) == 1


async def test_a_deposed_activation_keeps_none(database: str, host: Activation) -> None:
    await host.turn("hello", "hi")
    await Activation.of(host.memory, host.key)
    with pytest.raises(Deposed):
        await keep(host, "They greeted.", 2)
    assert await kept(database, host) == []
    assert (await host.memory.activate(host.key)).summary is None


async def test_a_deleted_item_takes_along_what_tells_of_it(database: str, host: Activation) -> None:
    for question in ("one", "two", "three"):
        await host.turn(question, "yes")
    for covers_to in (2, 4):
        await keep(host, f"Up to {covers_to}.", covers_to)
    said = {message.position: message.id for message in host.messages}
    await host.delete(said[5])
    assert (await host.memory.activate(host.key)).summary == Summary("Up to 4.", 4)
    host = await Activation.of(host.memory, host.key)
    await host.delete(said[3])
    assert [row[0] for row in await kept(database, host)] == [2]
    assert (await host.memory.activate(host.key)).summary == Summary("Up to 2.", 2)
    host = await Activation.of(host.memory, host.key)
    await host.delete(said[2])
    assert await kept(database, host) == []
    assert (await host.memory.activate(host.key)).summary is None
    host = await Activation.of(host.memory, host.key)
    await keep(host, "Anew.", 4)
    assert (await host.memory.activate(host.key)).summary == Summary("Anew.", 4)


async def test_a_dropped_session_takes_them_along(database: str, host: Activation) -> None:
    await host.turn("hello", "hi")
    await keep(host, "They greeted.", 2)
    await host.memory.drop(host.key, host.epoch)
    assert await kept(database, host) == []


async def test_a_model_cannot_poison_it(host: Activation) -> None:
    await host.turn("hello", "hi")
    await keep(host, "They \x00greeted\ud800.", 2)
    assert (await host.memory.activate(host.key)).summary == Summary("They greeted.", 2)


async def test_it_goes_with_other_writes(memory: ContextMemory) -> None:
    """In one batch with a turn, and with a summary of another session's."""
    hosts = [await Activation.new(memory) for _ in range(3)]
    for host in hosts:
        await host.turn("hello", "hi")
    await asyncio.gather(
        keep(hosts[0], "First.", 2), hosts[1].turn("and?", "so"), keep(hosts[2], "Third.", 1)
    )
    found = [(await memory.activate(host.key)).summary for host in hosts]
    assert found == [Summary("First.", 2), None, Summary("Third.", 1)]
