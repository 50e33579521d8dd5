"""What was handed off is in Redis, whatever becomes of the process; Redis never holds it up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from context.journal import Journal, Name, redis_key
from context.recover import Entry
from contracts.events import Event
from tests.context.activation import new_key
from tests.support.stores import ValkeyServer
from tests.support.waiting import until

Open = Callable[..., Journal]


@pytest.fixture(scope="module")
def own() -> Iterator[ValkeyServer]:
    """A Valkey that this module may freeze and stop."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    journals: list[Journal] = []

    def open_one(server: ValkeyServer, **options: float) -> Journal:
        journal = Journal(server.url, **{"timeout_s": 10.0, "retry_s": 0.01, **options})  # type: ignore[arg-type]
        journal.open()
        journals.append(journal)
        return journal

    yield open_one
    for journal in journals:
        await journal.aclose()


def new_name(epoch: int = 1) -> Name:
    return Name(new_key(), epoch)


def words(first: int, *texts: str) -> list[Event]:
    return [Event(seq, "delta", "resp_1", seq, text) for seq, text in enumerate(texts, first)]


def entries(events: list[Event]) -> list[Entry]:
    return [Entry(*event) for event in events]  # type: ignore[arg-type]


def in_this_process(connection: Any) -> int:
    """Bytes that would die with it."""
    return connection._writer.transport.get_write_buffer_size()


async def connected(journal: Journal) -> None:
    journal.prepare()
    await until(lambda: journal._connection is not None, "it is connected")


KILLED = """
import asyncio, os, signal, sys
from context.journal import Journal, Name
from contracts.commands import SessionKey
from contracts.events import Event

async def main():
    journal = Journal(sys.argv[1], timeout_s=60)
    journal.open()
    journal.prepare()
    while journal._connection is None:
        await asyncio.sleep(0.001)
    for seq in range(1, 41):
        for n in range(50):
            name = Name(SessionKey("org_default", f"conv_{sys.argv[2]}_{n}"), 3)
            journal.note(name, [Event(seq, "delta", "resp_1", seq, f"word {seq} " * 20)])
        await journal.hand_off()
        os.write(1, b"%d\\n" % seq)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_what_a_killed_process_handed_off_is_there(
    valkey: ValkeyServer, opened: Open, loop: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, valkey.url, loop, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == -9
    told = len(said.split())
    assert told == 40
    names = [Name(new_key()._replace(session_id=f"conv_{loop}_{n}"), 3) for n in range(50)]
    journal = opened(valkey)
    # It is on its way for certain; the server may have to catch up with what the kernel holds.
    found = await journal.read(names)
    async with asyncio.timeout(30):
        while len(found[-1]) < told:
            found = await journal.read(names)
    for entries_of_one in found:
        assert [entry.seq for entry in entries_of_one] == list(range(1, told + 1))
        assert entries_of_one[-1].said == f"word {told} " * 20


async def test_chunks_add_up_and_each_journal_has_its_own(
    valkey: ValkeyServer, opened: Open
) -> None:
    journal, other = opened(valkey), opened(valkey)
    one, two = new_name(), new_name()
    later = one._replace(epoch=2)
    for n, name in enumerate([one, two, one, later], start=1):
        journal.note(name, words(n, f"text {n}"))
        await journal.hand_off()
    await journal.settled()
    found = await other.read([one, two, later, new_name()])
    assert [[entry.said for entry in entries_of_one] for entries_of_one in found] == [
        ["text 1", "text 3"],
        ["text 2"],
        ["text 4"],
        [],
    ]
    assert journal.counts["journal_events"] == 4


async def test_what_is_forgotten_leaves_what_was_kept(valkey: ValkeyServer, opened: Open) -> None:
    journal = opened(valkey)
    one, two = new_name(), new_name()
    journal.note(one, words(1, "a", "b"))
    journal.note(two, words(1, "x"))
    await journal.hand_off()
    journal.note(one, words(3, "c"))
    journal.forget(one, words(2, "b"))
    journal.note(one, words(4, "d"))
    journal.forget(two, [])
    assert await journal.read([one, two]) == [entries([*words(2, "b"), *words(4, "d")]), []]


async def test_a_journal_does_not_stay_for_ever(valkey: ValkeyServer, opened: Open) -> None:
    journal = opened(valkey, ttl_s=100)
    name = new_name()
    async with Redis.from_url(valkey.url, protocol=2) as redis:
        for seq in (1, 2):
            journal.note(name, words(seq, "text"))
            await journal.settled()
            assert 90_000 < await redis.pttl(redis_key(name)) <= 100_000
            # A server that lost its data in mid-turn must not keep what comes after.
            await redis.flushall()


async def test_what_nobody_hands_off_goes_out_by_itself(valkey: ValkeyServer, opened: Open) -> None:
    journal, other = opened(valkey, flush_s=0.01), opened(valkey)
    name = new_name()
    journal.note(name, words(1, "unheard"))

    async def there() -> bool:
        return await other.read([name]) == [entries(words(1, "unheard"))]

    await until(there, "it is in Redis")


async def test_many_hand_off_at_once_and_each_finds_its_own_out(
    valkey: ValkeyServer, opened: Open
) -> None:
    journal = opened(valkey)
    await connected(journal)
    noted = 0
    short: list[tuple[int, int]] = []

    async def outlet(name: Name) -> None:
        nonlocal noted
        for seq in range(1, 21):
            journal.note(name, words(seq, "text"))
            noted += 1
            await asyncio.sleep(0)
            before = noted
            await journal.hand_off()
            if journal.counts["journal_events"] < before:
                short.append((journal.counts["journal_events"], before))

    names = [new_name() for _ in range(10)]
    await asyncio.gather(*map(outlet, names))
    assert noted == 200
    assert not short
    assert journal.counts["journal_flushes"] < 200, "they go together"
    found = await journal.read(names)
    assert [len(entries_of_one) for entries_of_one in found] == [20] * 10


async def test_text_that_is_no_unicode_does_not_hold_up_the_rest(
    valkey: ValkeyServer, opened: Open
) -> None:
    journal = opened(valkey)
    bad, good = new_name(), new_name()
    journal.note(bad, words(1, "a\ud800b", "c"))
    journal.note(good, words(1, "fine"))
    found = await journal.read([bad, good])
    assert [[entry.said for entry in one] for one in found] == [["ab", "c"], ["fine"]]


async def test_a_frozen_redis_is_skipped_and_taken_up_again(
    own: ValkeyServer, opened: Open
) -> None:
    # Nothing but what the kernel takes at once tells that it hangs.
    journal = opened(own, timeout_s=30, bytes_max=10**9)
    await connected(journal)
    own.freeze()
    try:
        # More than the kernel holds for one connection. That this ends at all is the point.
        for seq in range(1500):
            journal.note(new_name(), words(seq, "x" * 20_000))
            await journal.hand_off()
            if journal._connection is not None:
                assert in_this_process(journal._connection) == 0, "the kernel has it all"
        assert journal.counts["journal_errors"] == 1
        assert journal.counts["journal_dropped"] > 0
        assert not journal._noted
        assert journal._connection is None
    finally:
        own.thaw()
    await connected(journal)
    name = new_name()
    journal.note(name, words(1, "again"))
    assert await journal.read([name]) == [entries(words(1, "again"))]


async def test_a_redis_that_takes_all_and_answers_nothing_is_given_up(
    own: ValkeyServer, opened: Open
) -> None:
    journal = opened(own, timeout_s=0.05)
    await connected(journal)
    own.freeze()
    try:

        async def given_up() -> bool:
            journal.note(new_name(), words(1, "x"))
            await journal.hand_off()
            return journal.counts["journal_errors"] > 0

        await until(given_up, "the answers are missed")
        # Connecting works, for the kernel does that; being answered does not.
        await until(lambda: journal.counts["journal_errors"] > 1, "it was tried anew")
        journal.note(new_name(), words(1, "x"))
        assert not journal._noted, "nothing is gathered for one that is away"
        assert await journal.read([new_name()]) == [[]]
    finally:
        own.thaw()
    await connected(journal)


async def test_too_much_unanswered_is_given_up(own: ValkeyServer, opened: Open) -> None:
    journal = opened(own, timeout_s=30, bytes_max=10_000)
    await connected(journal)
    own.freeze()
    try:
        for seq in range(20):
            journal.note(new_name(), words(seq, "x" * 1000))
            await journal.hand_off()
        assert journal.counts["journal_errors"] == 1
        assert journal.counts["journal_flushes"] <= 10
    finally:
        own.thaw()


async def test_a_redis_that_restarts_is_taken_up_again(own: ValkeyServer, opened: Open) -> None:
    journal = opened(own)
    await connected(journal)
    own.stop()
    await until(lambda: journal.counts["journal_errors"] > 0, "the end is noticed without a note")
    journal.note(new_name(), words(1, "x"))
    await journal.hand_off()
    own.start()
    await connected(journal)
    name = new_name()
    journal.note(name, words(1, "again"))
    assert await journal.read([name]) == [entries(words(1, "again"))]


async def test_a_redis_that_refuses_is_left_alone(own: ValkeyServer, opened: Open) -> None:
    journal = opened(own)
    await connected(journal)
    async with Redis.from_url(own.url, protocol=2) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            journal.note(new_name(), words(1, "x"))
            await journal.hand_off()
            await until(lambda: journal.counts["journal_errors"] > 0, "the refusal is heard")
        finally:
            await redis.config_set("maxmemory", "0")
    await connected(journal)


async def test_what_waits_is_bounded(own: ValkeyServer, opened: Open) -> None:
    journal = opened(own, events_max=10)
    name = new_name()
    for seq in range(1, 31):
        journal.note(name, words(seq, "x"))
    assert journal.counts["journal_dropped"] == 20
    await connected(journal)
    assert await journal.read([name]) == [entries(words(1, *"xxxxxxxxxx"))]


async def test_closed_is_closed(own: ValkeyServer, opened: Open) -> None:
    journal = opened(own)
    name = new_name()
    await connected(journal)
    journal.note(name, words(1, "last"))
    await journal.aclose()
    journal.note(name, words(2, "too late"))
    await journal.hand_off()
    assert await opened(own).read([name]) == [entries(words(1, "last"))]
    await journal.aclose()
