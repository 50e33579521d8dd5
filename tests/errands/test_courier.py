"""Word of turns' ends reaches an endpoint: at least once, signed, and whatever goes wrong between.

The outbox is real, so is the endpoint; time is the test's own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest
from openai import OpenAI

from context.memory import ContextMemory
from contracts.tasks import spawn
from errands.courier import Courier, Endpoint, Patience
from errands.sender import HttpSender
from errands.signing import key_of
from tests.context.activation import Activation, Turn
from tests.errands.clock import Clock
from tests.errands.receiver import SECRET, Receiver
from tests.support.waiting import until

LEASE_S = 40.0
PATIENCE = Patience(attempts=3, first_s=5.0, longest_s=3600.0)


@pytest.fixture
def clock() -> Clock:
    """A little ahead of what turns' ends say."""
    return Clock(time.time() + 60)


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    sender = HttpSender(timeout_s=5.0, connections=8, private=True)
    yield sender
    await sender.close()


def courier_to(
    receiver: Receiver, memory: ContextMemory, sender: HttpSender, clock: Clock, limit: int = 8
) -> Courier:
    endpoint = Endpoint("shop", receiver.url, key_of(SECRET))
    return Courier(
        endpoint,
        memory.outbox,
        sender,
        PATIENCE,
        lease_s=LEASE_S,
        limit=limit,
        clock=clock,
        random=Random(1),
    )


@pytest.fixture
def courier(receiver: Receiver, memory: ContextMemory, sender: HttpSender, clock: Clock) -> Courier:
    return courier_to(receiver, memory, sender, clock)


async def ended(memory: ContextMemory, count: int = 1) -> list[Turn]:
    """Turns in the background, in one session, that have ended."""
    host = await Activation.new(memory)
    return [await host.turn("hi", "there", background=True) for _ in range(count)]


async def owed(database: asyncpg.Connection) -> list[tuple[int, bool, str | None]]:
    rows = await database.fetch("SELECT attempts, due_at, last_error FROM outbox ORDER BY id")
    return [(row["attempts"], row["due_at"] is not None, row["last_error"]) for row in rows]


async def test_an_end_is_told_in_openais_shape_and_signed(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection,
    clock: Clock,
) -> None:  # fmt: skip
    [turn] = await ended(memory)
    clock.now = time.time()
    assert not await courier.round()
    [got] = receiver.got
    assert got.path == "/hook?for=us"
    assert got.headers["content-type"] == "application/json"
    event = OpenAI(api_key="none").webhooks.unwrap(got.body, got.headers, secret=SECRET)
    assert (event.type, event.data.id) == ("response.completed", turn.record.id)  # type: ignore[union-attr]
    assert json.loads(got.body) == {
        "id": got.event_id,
        "object": "event",
        "type": "response.completed",
        "created_at": int(turn.record.completed_at or 0),
        "data": {"id": turn.record.id},
    }
    assert await owed(database) == []
    await courier.round()
    assert len(receiver.got) == 1


async def test_an_endpoint_that_fails_is_tried_again_later_with_the_same_event(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection,
    clock: Clock,
) -> None:  # fmt: skip
    await ended(memory)
    receiver.answers.append(500)
    await courier.round()
    assert await owed(database) == [(1, True, "status 500")]
    await courier.round()
    assert len(receiver.got) == 1, "it came back before its time"
    clock.now += 2 * PATIENCE.first_s
    await courier.round()
    first, second = receiver.got
    assert first.event_id == second.event_id
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert await owed(database) == []


async def test_it_is_given_up_after_a_while_and_stays_to_be_seen(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection,
    clock: Clock, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    [turn] = await ended(memory)
    receiver.answers.extend([500] * 9)
    for _ in range(5):
        await courier.round()
        clock.now += 10_000
    assert len(receiver.got) == PATIENCE.attempts
    assert await owed(database) == [(3, False, "status 500")]
    assert any(turn.record.id in record.getMessage() for record in caplog.records)
    assert await memory.outbox.purge(0.0, 10) == 0
    assert await memory.outbox.purge(clock.now, 10) == 1


async def test_an_endpoint_that_is_gone_for_good_is_believed(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection
) -> None:
    await ended(memory)
    receiver.answers.append(410)
    await courier.round()
    assert await owed(database) == [(1, False, "status 410")]


async def test_a_redirect_is_not_followed(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection
) -> None:
    await ended(memory)
    receiver.answers.append(307)
    receiver.headers["location"] = "/elsewhere"
    await courier.round()
    assert [got.path for got in receiver.got] == ["/hook?for=us"]
    assert await owed(database) == [(1, True, "status 307")]


async def test_an_endpoint_that_vanishes_and_comes_back(
    memory: ContextMemory, courier: Courier, receiver: Receiver, database: asyncpg.Connection,
    clock: Clock,
) -> None:  # fmt: skip
    await ended(memory)
    await receiver.stop()
    await courier.round()
    assert await owed(database) == [(1, True, "ClientConnectorError")]
    await receiver.start()
    clock.now += 2 * PATIENCE.first_s
    await courier.round()
    assert len(receiver.got) == 1
    assert await owed(database) == []


async def test_an_endpoint_that_does_not_answer_holds_nobody_for_ever(
    memory: ContextMemory, receiver: Receiver, database: asyncpg.Connection, clock: Clock
) -> None:
    await ended(memory)
    receiver.gate.clear()
    sender = HttpSender(timeout_s=0.05, connections=8, private=True)
    try:
        await courier_to(receiver, memory, sender, clock).round()
    finally:
        await sender.close()
    assert await owed(database) == [(1, True, "no answer in time")]


async def test_two_couriers_deliver_each_event_once(
    memory: ContextMemory, receiver: Receiver, sender: HttpSender, clock: Clock,
    database: asyncpg.Connection,
) -> None:  # fmt: skip
    turns = [turn for _ in range(4) for turn in await ended(memory, 5)]
    couriers = [courier_to(receiver, memory, sender, clock, limit=3) for _ in range(2)]

    async def work(courier: Courier) -> None:
        while await courier.round():
            pass

    await asyncio.gather(*map(work, couriers))
    told = [json.loads(got.body)["data"]["id"] for got in receiver.got]
    assert sorted(told) == sorted(turn.record.id for turn in turns)
    assert await owed(database) == []


async def test_one_that_dies_with_an_event_in_hand_is_followed_by_another(
    memory: ContextMemory, receiver: Receiver, sender: HttpSender, clock: Clock,
    database: asyncpg.Connection,
) -> None:  # fmt: skip
    await ended(memory)
    receiver.gate.clear()
    dying = spawn(courier_to(receiver, memory, sender, clock).round(), name="dying")
    await until(lambda: len(receiver.got) == 1, "the event is on its way")
    dying.cancel()
    await asyncio.wait([dying])
    receiver.gate.set()
    another = courier_to(receiver, memory, sender, clock)
    await another.round()
    assert len(receiver.got) == 1, "its lease is not over"
    clock.now += LEASE_S
    await another.round()
    assert [got.event_id for got in receiver.got] == [receiver.got[0].event_id] * 2
    assert await owed(database) == []


async def test_one_that_was_overtaken_undoes_nothing(
    memory: ContextMemory, clock: Clock, database: asyncpg.Connection
) -> None:
    await ended(memory)
    outbox = memory.outbox
    [slow] = await outbox.claim("shop", now=clock.now, lease_s=LEASE_S, limit=1)
    clock.now += LEASE_S
    [fast] = await outbox.claim("shop", now=clock.now, lease_s=LEASE_S, limit=1)
    assert (slow.attempts, fast.attempts) == (1, 2)
    await outbox.give_up(slow, "too slow")
    await outbox.postpone(slow, clock.now, "too slow")
    assert await owed(database) == [(2, True, None)]
    await outbox.delivered(slow)
    assert await owed(database) == []


async def test_a_store_that_is_away_costs_a_delivery_nothing_but_a_repetition(
    memory: ContextMemory, courier: Courier, receiver: Receiver, clock: Clock
) -> None:
    await ended(memory)
    delivered = memory.outbox.delivered

    async def away(delivery: object) -> None:
        raise OSError("gone")

    memory.outbox.delivered = away  # type: ignore[method-assign]
    with pytest.raises(OSError, match="gone"):
        await courier.round()
    memory.outbox.delivered = delivered  # type: ignore[method-assign]
    clock.now += LEASE_S
    await courier.round()
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    ("attempts", "asked", "low", "high"),
    [
        (1, None, 3.5, 6.5),
        (2, None, 10.5, 19.5),
        (9, None, 2520, 4680),
        (10_000, None, 2520, 4680),
        (1, "120", 120, 120),
        (1, "999999", 3600, 3600),
        (1, "Wed, 21 Oct 2026 07:28:00 GMT", 3.5, 6.5),
        (1, "²", 3.5, 6.5),
    ],
)
def test_pauses_grow_within_bounds(
    attempts: int, asked: str | None, low: float, high: float
) -> None:
    pauses = [PATIENCE.pause(attempts, asked, Random(seed)) for seed in range(50)]
    assert low <= min(pauses) and max(pauses) <= high
    assert len(set(pauses)) > 1 or low == high
