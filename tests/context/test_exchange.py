"""Hosts tell each other of endpoints through a real Valkey, and do without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from context.exchange import KEY, Exchange, HostReports, pack, unpack
from contracts.errors import StoreUnavailable
from contracts.limits import Word
from contracts.tasks import spawn, stop
from tests.support.stores import ValkeyServer
from tests.support.waiting import until


class Side:
    """A host's side, which says what a test puts into it."""

    def __init__(self) -> None:
        self.mine: dict[str, Word] = {}
        self.others: Mapping[str, Mapping[str, Word]] | None = None
        self.heard = 0
        self.parted = 0

    def words(self, now: float) -> dict[str, Word]:
        return dict(self.mine)

    def hear(self, now: float, others: Mapping[str, Mapping[str, Word]]) -> None:
        self.others = others
        self.heard += 1

    def apart(self) -> None:
        self.others = None
        self.parted += 1


Join = Callable[..., tuple[Side, Exchange]]
PATIENCE_S = 10.0
"""For Redis, where a test does not say that it answers nothing."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts say that they live more often than they must, so that no test waits for it.

    So one that is closed is more often in the middle of it, where the driver may take the
    cancellation for its own time-out.
    """
    monkeypatch.setattr("context.exchange.TICK_S", 0.05)
    monkeypatch.setattr("context.exchange.REST_S", 0.2)
    monkeypatch.setattr("contracts.tasks.AGAIN_S", 0.1)


@pytest.fixture
def own() -> Iterator[ValkeyServer]:
    """A server that a test may stop or freeze."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def join(own: ValkeyServer) -> AsyncIterator[Join]:
    opened: list[Exchange] = []

    def join_one(
        host: str, report: Mapping[str, Any] | None = None, timeout_s: float = PATIENCE_S
    ) -> tuple[Side, Exchange]:
        side = Side()
        exchange = Exchange(
            own.url,
            host,
            side,
            lambda: report or {"host": host},
            timeout_s=timeout_s,
            retry_s=0.05,
        )
        exchange.open()
        opened.append(exchange)
        return side, exchange

    yield join_one
    for exchange in opened:
        await exchange.aclose()


WORD = Word(3, 400, 2, 1, 5.0, 0.1, True, True)


async def test_each_hears_what_the_others_say_and_not_itself(join: Join) -> None:
    (one, _), (two, _), (three, _) = join("h1"), join("h2"), join("h3")
    one.mine = {"e": WORD}
    await until(lambda: (two.others or {}).get("h1") == {"e": WORD}, "the word is heard")
    await until(lambda: set(three.others or {}) == {"h1", "h2"}, "all are heard")
    one.mine = {"e": WORD._replace(running=9)}
    await until(lambda: two.others == {"h1": one.mine, "h3": {}}, "the change is heard")
    assert "h1" not in (one.others or {})


async def test_who_has_nothing_to_tell_hears_all_the_same(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("context.exchange.REST_S", 3600.0)
    monkeypatch.setattr("context.exchange.TICK_S", 0.01)
    (one, _), (two, _) = join("h1"), join("h2")
    await until(lambda: one.heard >= 3 and two.heard >= 3, "each has looked more than once")
    one.mine = {"e": WORD}
    await until(lambda: (two.others or {}).get("h1") == {"e": WORD}, "the word is heard")
    await until(lambda: one.heard > 5, "it goes on")
    assert two.mine == {}


async def test_a_fault_does_not_end_it(
    join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("context.exchange.TICK_S", 0.01)
    (one, _), (two, exchange) = join("h1"), join("h2")
    await until(lambda: set(one.others or {}) == {"h2"}, "the other is heard")
    hear, faults = two.hear, list[int]()

    def fails(now: float, others: Mapping[str, Mapping[str, Word]]) -> None:
        faults.append(1)
        raise ValueError("a fault of ours")

    two.hear = fails  # type: ignore[method-assign]
    exchange.nudge()
    await until(lambda: len(faults) >= 3 and two.parted >= 3, "it fails, again and again")
    two.hear = hear  # type: ignore[method-assign]
    one.mine = {"e": WORD}
    await until(lambda: (two.others or {}).get("h1") == {"e": WORD}, "the word is heard")
    said = [record for record in caplog.records if record.exc_info]
    assert len(said) == 1, "a fault that lasts is told once"


async def test_a_report_that_fails_keeps_no_word_back(
    own: ValkeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("context.exchange.REST_S", 0.01)
    monkeypatch.setattr("context.exchange.TICK_S", 0.01)
    asked: list[int] = []

    def report() -> Mapping[str, Any]:
        asked.append(1)
        if len(asked) <= 3:
            raise ValueError("a fault of ours")
        return {"host": "h1"}

    side = Side()
    exchange, reports = (
        Exchange(own.url, "h1", side, report, timeout_s=PATIENCE_S),
        HostReports(own.url, timeout_s=PATIENCE_S),
    )
    exchange.open()

    async def reported() -> bool:
        return await reports.hosts() == [{"host": "h1"}]

    await until(reported, "it reports after all")
    assert side.heard >= 3
    assert side.parted == 0
    said = [record for record in caplog.records if "report" in record.message]
    assert len(said) == 1, "a fault that lasts is told once"
    await exchange.aclose()
    await reports.aclose()


async def test_who_reports_nothing_is_no_host_to_people(join: Join, own: ValkeyServer) -> None:
    side = Side()
    exchange, reports = (
        Exchange(own.url, "router", side, None, timeout_s=PATIENCE_S),
        HostReports(own.url, timeout_s=PATIENCE_S),
    )
    exchange.open()
    (one, _) = join("h1")
    await until(lambda: set(one.others or {}) == {"router"}, "it is heard")

    async def reported() -> bool:
        return await reports.hosts() == [{"host": "h1"}]

    await until(reported, "the host reports")
    await exchange.aclose()
    await reports.aclose()


async def test_who_says_goodbye_is_no_longer_counted(join: Join) -> None:
    (one, _), (_, exchange) = join("h1"), join("h2")
    await until(lambda: set(one.others or {}) == {"h2"}, "the other is heard")
    await exchange.aclose()
    await until(lambda: one.others == {}, "it is gone")


async def test_what_a_dead_host_left_behind_says_nothing(join: Join, own: ValkeyServer) -> None:
    redis = Redis.from_url(own.url)
    await redis.hset(KEY, mapping={"dead": pack(7, {"e": WORD}), "odd": b"\xff{"})
    side, exchange = join("h1")
    await until(lambda: side.heard >= 2, "it was there to be heard, twice")
    assert side.others == {}
    await redis.hset(KEY, "dead", pack(8, {"e": WORD}))
    exchange.nudge()
    await until(lambda: side.others == {"dead": {"e": WORD}}, "it lives after all")
    await redis.aclose()


async def test_without_redis_each_is_on_its_own_and_together_again_later(
    join: Join, own: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    (one, _), (two, _) = (join(host, timeout_s=0.5) for host in ("h1", "h2"))
    await until(lambda: set(one.others or {}) == {"h2"}, "the other is heard")
    for away, back in ((own.stop, own.start), (own.freeze, own.thaw)):
        parted = one.parted
        away()
        await until(lambda parted=parted: one.parted >= parted + 2, "each is on its own")
        assert one.others is None
        back()
        one.mine = {"e": WORD._replace(shuts=one.parted)}
        await until(lambda: (two.others or {}).get("h1") == one.mine, "they are together again")
    said = [record.message for record in caplog.records if "Redis is away" in record.message]
    assert 2 <= len(said) < one.parted + two.parted, "once for each time, not for each try"


async def test_a_closed_endpoint_is_told_at_once(
    own: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("context.exchange.TICK_S", 3600.0)
    side = Side()
    exchange = Exchange(own.url, "h1", side, dict, timeout_s=PATIENCE_S)
    redis = Redis.from_url(own.url)

    async def told() -> bool:
        packed = await redis.hget(KEY, "h1")
        found = unpack(packed) if packed else None
        return found is not None and found[1] == side.mine

    exchange.open()
    await until(told, "it is there")
    side.mine = {"e": WORD}
    exchange.nudge()
    await until(told, "the word is told")
    await exchange.aclose()
    await redis.aclose()


async def test_reports_of_living_hosts_are_read(join: Join, own: ValkeyServer) -> None:
    reports = HostReports(own.url, timeout_s=PATIENCE_S)
    assert await reports.hosts() == []
    join("h2", {"host": "h2", "endpoints": [{"endpoint": "a"}]})
    _, exchange = join("h1", {"host": "h1", "endpoints": []})

    async def hosts() -> list[str]:
        return [report["host"] for report in await reports.hosts()]

    async def both() -> bool:
        return await hosts() == ["h1", "h2"]

    await until(both, "both report")
    assert (await reports.hosts())[1]["endpoints"] == [{"endpoint": "a"}]
    await exchange.aclose()

    async def the_other() -> bool:
        return await hosts() == ["h2"]

    await until(the_other, "the one that closed is gone")
    own.stop()
    with pytest.raises(StoreUnavailable):
        await reports.hosts()
    await reports.aclose()


async def test_a_nudge_does_not_storm_a_redis_that_is_away(own: ValkeyServer) -> None:
    own.stop()
    side = Side()
    exchange = Exchange(own.url, "h1", side, dict, retry_s=0.2)
    exchange.open()
    await until(lambda: side.parted == 1, "it is on its own")

    async def nudging() -> None:
        while True:
            exchange.nudge()
            await asyncio.sleep(0)

    task = spawn(nudging(), name="nudging")
    await until(lambda: side.parted == 3, "it asked again")
    await stop(task)
    assert side.parted <= 4
    await exchange.aclose()
    own.start()
