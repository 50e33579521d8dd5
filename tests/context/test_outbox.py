"""Word of a turn's end comes with the end itself, in one transaction, for whoever wants it."""

from __future__ import annotations

import time

import asyncpg
import pytest

from context import statements
from context.memory import ContextMemory
from context.writer import Writer
from contracts.errands import Delivery, Hook
from contracts.errors import Deposed
from contracts.ids import is_id
from contracts.messages import ENDED, Status
from tests.context.activation import ORG, Activation, Turn
from tests.context.conftest import Open

EVERYTHING = Hook("everything", frozenset(ENDED), False)
BACKGROUND = Hook("background", frozenset(ENDED), True)
FAILURES = Hook("failures", frozenset({"failed", "incomplete"}), False)
HOOKS = (EVERYTHING, BACKGROUND, FAILURES)
NEVER = 9e9


@pytest.fixture
async def memory(open_memory: Open) -> ContextMemory:
    return await open_memory(hooks=HOOKS)  # type: ignore[arg-type]


async def claim(memory: ContextMemory, turn: Turn) -> dict[str, Delivery]:
    """What is owed to each endpoint for this turn."""
    found: dict[str, Delivery] = {}
    for hook in HOOKS:
        owed = await memory.outbox.claim(hook.endpoint, now=NEVER, lease_s=0.0, limit=1000)
        found |= {one.endpoint: one for one in owed if one.response_id == turn.record.id}
    return found


async def end(host: Activation, status: Status, **fields: object) -> Turn:
    turn = await host.accept("hi", **fields)
    host.start(turn)
    host.say(turn, "answer")
    await host.finish(turn, status)
    return turn


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("status", sorted(ENDED))
async def test_each_endpoint_hears_what_it_wants(
    memory: ContextMemory, status: Status, background: bool
) -> None:
    turn = await end(await Activation.new(memory), status, background=background)
    owed = await claim(memory, turn)
    wanted = {"everything"} | ({"background"} if background else set())
    wanted |= {"failures"} if status in ("failed", "incomplete") else set()
    assert set(owed) == wanted
    assert len({one.id for one in owed.values()}) == 1
    one = owed["everything"]
    assert is_id(one.id, "evt")
    assert one[:1] + one[2:6] == (
        ORG,
        "everything",
        turn.record.id,
        f"response.{status}",
        turn.record.completed_at,
    )


async def test_a_turn_that_runs_owes_nothing(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("hi", background=True)
    assert await claim(memory, turn) == {}


async def test_an_end_that_is_told_twice_is_owed_once(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("hi", background=True)
    host.start(turn)
    await host.finish(turn)
    await host.memory.finish(host.key, host.epoch, turn.record.last_seq, turn.record, None, [])
    assert set(await claim(memory, turn)) == {"everything", "background"}
    for hook in HOOKS:
        owed = await memory.outbox.claim(hook.endpoint, now=NEVER, lease_s=0.0, limit=1000)
        assert len([one for one in owed if one.response_id == turn.record.id]) <= 1


async def test_who_is_deposed_tells_nobody(memory: ContextMemory) -> None:
    host = await Activation.new(memory)
    turn = await host.accept("hi", background=True)
    host.start(turn)
    await memory.activate(host.key)
    with pytest.raises(Deposed):
        await host.finish(turn)
    # Whoever ends it now tells of it.
    assert await claim(memory, turn) == {}


async def test_an_end_that_the_next_activation_makes_is_told(memory: ContextMemory) -> None:
    killed = await Activation.new(memory)
    turn = await killed.accept("hi", background=True)
    killed.start(turn)
    following = await Activation.of(memory, killed.key)
    [taken_over] = following.turns
    following.say(taken_over, "answer")
    await following.finish(taken_over)
    owed = await claim(memory, turn)
    assert {one.type for one in owed.values()} == {"response.completed"}
    assert set(owed) == {"everything", "background"}


async def test_ends_with_and_without_word_share_a_transaction(memory: ContextMemory) -> None:
    quiet = await Activation.new(memory)
    loud = await Activation.new(memory)
    turns = [await quiet.accept("hi"), await loud.accept("hi", background=True)]
    for host, turn in zip((quiet, loud), turns, strict=True):
        host.start(turn)
        host.say(turn, "answer")
        await host.finish(turn)
        assert (await memory.response(ORG, turn.record.id)).status == "completed"
    assert set(await claim(memory, turns[0])) == {"everything"}
    assert set(await claim(memory, turns[1])) == {"everything", "background"}


async def test_where_nobody_is_to_be_told_the_statement_knows_no_outbox(
    database: str, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    turns = Writer._turns

    async def note(connection: asyncpg.Connection, writes: object) -> object:
        class Noting:
            async def fetch(self, statement: str, *args: object) -> object:
                asked.append(statement)
                return await connection.fetch(statement, *args)

        return await turns(Noting(), writes)  # type: ignore[arg-type]

    monkeypatch.setattr(Writer, "_turns", staticmethod(note))
    memory = await open_memory()
    await end(await Activation.new(memory), "completed", background=True)
    only_background = await open_memory(hooks=(BACKGROUND,))
    await end(await Activation.new(only_background), "completed")
    assert asked == [statements.TURNS] * 4
    assert "outbox" not in statements.TURNS
    await end(await Activation.new(only_background), "completed", background=True)
    assert asked[4:] == [statements.TURNS, statements.TURNS_ANNOUNCED]


async def test_a_deleted_conversation_owes_nothing(memory: ContextMemory) -> None:
    host, other = await Activation.new(memory), await Activation.new(memory)
    gone = await end(host, "completed", background=True)
    kept = await end(other, "completed", background=True)
    await memory.drop(host.key, host.epoch)
    assert await claim(memory, gone) == {}
    assert set(await claim(memory, kept)) == {"everything", "background"}


async def test_what_is_claimed_is_ones_own_until_its_lease_is_over(memory: ContextMemory) -> None:
    await end(await Activation.new(memory), "completed", background=True)
    now = time.time() + 1e6
    first = await memory.outbox.claim("background", now=now, lease_s=40, limit=1000)
    assert first != []
    assert await memory.outbox.claim("background", now=now + 39, lease_s=40, limit=1000) == []
    again = await memory.outbox.claim("background", now=now + 40, lease_s=40, limit=1000)
    assert {one.id for one in again} == {one.id for one in first}
