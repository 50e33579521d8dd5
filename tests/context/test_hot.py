"""The hot copy is worth nothing more than the time it saves: without it all goes on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from context.hot import Hot, HotCopy, newest, pack, redis_key, unpack
from context.writes import Stamp
from contracts.commands import SessionKey
from contracts.messages import Message
from tests.context.activation import Activation, new_key
from tests.context.conftest import Open
from tests.support.stores import ValkeyServer
from tests.support.waiting import until

Make = Callable[..., Hot]
text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.lists(
    st.builds(
        Message,
        text,
        st.integers(0, 2**60),
        st.sampled_from(["user", "assistant"]),
        text,
        st.floats(0, 2e9),
        st.one_of(st.none(), text),
    ),
    max_size=8,
)


@pytest.fixture
def own() -> Iterator[ValkeyServer]:
    """A server that a test may stop or freeze."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Hot] = []

    def make_one(url: str, **settings: float) -> Hot:
        hot = Hot(url, **{"gather_s": 0.0, "timeout_s": 10.0, "retry_s": 60.0, **settings})  # type: ignore[arg-type]
        hot.open()
        made.append(hot)
        return hot

    yield make_one
    for hot in made:
        await hot.aclose()


def said(*texts: str) -> list[Message]:
    return [Message(f"msg_{n}", n, "user", it, 1.5, None) for n, it in enumerate(texts, 1)]


STAMP = Stamp(7, 2, 0, 0)


@given(st.builds(SessionKey, text, text), st.integers(0, 2**60), messages)
def test_a_copy_survives_packing(key: SessionKey, seq: int, given_messages: list[Message]) -> None:
    packed = pack(key, Stamp(seq, 2, 3, 0), given_messages)
    assert unpack(key, packed) == HotCopy(seq, 2, 3, given_messages)
    assert unpack(SessionKey(key.org_id + "x", key.session_id), packed) is None


@given(messages, st.integers(1, 9), st.integers(0, 100))
def test_the_newest_are_an_end_within_the_bounds(
    given_messages: list[Message], limit: int, chars: int
) -> None:
    kept = newest(given_messages, limit, chars)
    assert kept == given_messages[len(given_messages) - len(kept) :]
    assert len(kept) <= limit
    assert bool(kept) == bool(given_messages)
    assert len(kept) <= 1 or sum(len(message.text) for message in kept) <= chars
    if len(kept) < min(limit, len(given_messages)):
        more = given_messages[len(given_messages) - len(kept) - 1 :]
        assert sum(len(message.text) for message in more) > chars


async def test_what_was_put_is_read_by_its_own_key(make: Make, valkey: ValkeyServer) -> None:
    hot = make(valkey.url)
    one, two, three = new_key(), new_key(), new_key()
    hot.put(one, STAMP, said("a"))
    hot.put(two, STAMP, said("b"))
    await hot.flushed()
    copies = await hot.read([two, three, one])
    assert copies == [
        HotCopy(7, 2, 0, said("b")),
        None,
        HotCopy(7, 2, 0, said("a")),
    ]
    hot.drop(two)
    await hot.flushed()
    assert (await hot.read([two, one]))[0] is None


async def test_only_the_newest_copy_of_a_session_is_written(
    make: Make, valkey: ValkeyServer
) -> None:
    hot = make(valkey.url, gather_s=0.05)
    key = new_key()
    for n in range(5):
        hot.put(key, Stamp(n, 1, 0, 0), said(str(n)))
    await hot.flushed()
    assert hot.counts["written"] == 1
    assert (await hot.read([key]))[0] == HotCopy(4, 1, 0, said("4"))


async def test_a_copy_is_kept_as_long_as_it_was_told(make: Make, valkey: ValkeyServer) -> None:
    hot = make(valkey.url, ttl_s=1234.5)
    key = new_key()
    hot.put(key, STAMP, said("a"))
    await hot.flushed()
    async with Redis.from_url(valkey.url, protocol=2) as redis:
        assert 1_200_000 < await redis.pttl(redis_key(key)) <= 1_234_500


async def test_more_than_may_wait_costs_the_oldest(make: Make, valkey: ValkeyServer) -> None:
    hot = make(valkey.url, queue_max=2, gather_s=0.05)
    keys = [new_key() for _ in range(3)]
    for key in keys:
        hot.put(key, STAMP, said("a"))
    await hot.flushed()
    assert [copy is not None for copy in await hot.read(keys)] == [False, True, True]
    assert hot.counts["dropped"] == 1


async def test_text_that_cannot_be_packed_costs_its_own_copy(
    make: Make, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    hot = make(valkey.url, gather_s=0.05)
    bad, good = new_key(), new_key()
    hot.put(bad, STAMP, said("\ud800"))
    hot.put(good, STAMP, said("fine"))
    await hot.flushed()
    assert [copy is not None for copy in await hot.read([bad, good])] == [False, True]
    assert "no hot copy of" in caplog.text


async def test_redis_away_is_said_once_and_left_alone(
    make: Make, own: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "troupe.context.hot")
    hot = make(own.url, retry_s=0.2)
    key = new_key()
    own.stop()
    hot.put(key, STAMP, said("lost"))
    await hot.flushed()
    hot.put(key, STAMP, said("not even tried"))
    assert await hot.read([key]) == [None]
    assert hot.counts["errors"] == 1, "after the first failure Redis is left alone"
    assert await hot.health(1) == "unavailable"
    own.start()

    async def back() -> bool:
        hot.put(key, STAMP, said("back"))
        await hot.flushed()
        return await hot.read([key]) != [None]

    await until(back, "copies are written again")
    assert (await hot.read([key]))[0] == HotCopy(7, 2, 0, said("back"))
    lines = [record.message for record in caplog.records]
    assert sum("Redis is away" in line for line in lines) == 1
    assert sum("Redis is back" in line for line in lines) == 1
    assert await hot.health(1) == "ok"


async def test_redis_that_hangs_costs_one_short_wait(make: Make, own: ValkeyServer) -> None:
    hot = make(own.url, timeout_s=0.1)
    key = new_key()
    hot.put(key, STAMP, said("a"))
    await hot.flushed()
    own.freeze()
    try:
        assert await hot.read([key]) == [None]
        assert await hot.read([key]) == [None]
        assert hot.counts["errors"] == 1
        assert "no answer within" in await hot.health(0.05)
    finally:
        own.thaw()


async def test_copies_that_wait_when_redis_goes_are_dropped(make: Make, own: ValkeyServer) -> None:
    hot = make(own.url, timeout_s=0.1, gather_s=0.05)
    keys = [new_key() for _ in range(100)]
    own.freeze()
    try:
        for key in keys:
            hot.put(key, STAMP, said("a"))
        await hot.flushed()
    finally:
        own.thaw()
    assert hot.counts == {"hits": 0, "misses": 0, "written": 0, "dropped": 100, "errors": 1}


async def test_closing_writes_what_waits_and_gives_up_in_time(
    valkey: ValkeyServer, own: ValkeyServer
) -> None:
    key = new_key()
    hot = Hot(valkey.url, gather_s=0.05)
    hot.open()
    hot.put(key, STAMP, said("a"))
    await hot.aclose()
    assert hot.counts["written"] == 1
    hot.put(key, STAMP, said("too late"))
    assert hot.counts["dropped"] == 1
    assert await hot.read([key]) == [None]
    stuck = Hot(own.url, gather_s=60.0)
    stuck.open()
    stuck.put(key, STAMP, said("a"))
    await stuck.aclose(0.01)
    assert stuck.counts["written"] == 0
    await stuck.aclose()


async def test_turns_go_on_whatever_redis_does(open_memory: Open, own: ValkeyServer) -> None:
    memory = await open_memory(redis_url=own.url, redis_timeout_s=0.1, redis_retry_s=0.01)
    host = await Activation.new(memory)
    for act in (own.freeze, own.thaw, own.wipe, own.stop, own.start):
        act()
        before = len(host.messages)
        await host.turn("question", "answer")
        host = await Activation.of(memory, host.key)
        assert len(host.messages) == before + 2
    assert set(await memory.health()) == {"postgres", "redis"}
