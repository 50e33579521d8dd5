"""Gathering without a database: what goes together, and who hears what."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from context.gather import Gatherer, Waiting, take
from contracts.errors import StoreUnavailable

Item = tuple[str, int]


class Store:
    """Runs batches when told to, and remembers them."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []
        self.gate = asyncio.Event()
        self.under_way = asyncio.Event()

    async def run(self, batch: Sequence[Item]) -> Sequence[int | Exception]:
        self.batches.append(list(batch))
        self.under_way.set()
        await self.gate.wait()
        if any(name == "boom" for name, _ in batch):
            raise RuntimeError("boom")
        return [ValueError(name) if name == "bad" else number for name, number in batch]


def gatherer(store: Store, **limits: float) -> Gatherer[Item, int]:
    settings = {"group_max": 10, "weight_max": 1000, "queue_max": 100, "gather_s": 0.0, **limits}
    made: Gatherer[Item, int] = Gatherer(
        store.run,
        lambda item: item[0],
        lambda item: item[1],
        name="test",
        **settings,  # type: ignore[arg-type]
    )
    made.open()
    return made


async def test_what_comes_while_a_batch_is_under_way_goes_together() -> None:
    store = Store()
    it = gatherer(store)
    first = asyncio.ensure_future(it.submit(("a", 1)))
    await store.under_way.wait()
    rest = [asyncio.ensure_future(it.submit((name, n))) for n, name in enumerate("bcd")]
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(first, *rest) == [1, 0, 1, 2]
    assert store.batches == [[("a", 1)], [("b", 0), ("c", 1), ("d", 2)]]
    assert (it.batches, it.items) == (2, 4)
    await it.aclose(1)


async def test_a_lone_item_waits_for_company_as_long_as_it_was_told() -> None:
    store = Store()
    store.gate.set()
    it = gatherer(store, gather_s=0.05)
    assert await asyncio.gather(it.submit(("a", 1)), it.submit(("b", 2))) == [1, 2]
    assert len(store.batches) == 1
    await it.aclose(1)


async def test_an_item_that_fails_fails_alone() -> None:
    store = Store()
    store.gate.set()
    it = gatherer(store, gather_s=0.01)
    results = await asyncio.gather(
        it.submit(("a", 1)), it.submit(("bad", 2)), it.submit(("c", 3)), return_exceptions=True
    )
    assert len(store.batches) == 1
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], ValueError)
    await it.aclose(1)


async def test_a_batch_that_fails_whole_tells_all_and_the_next_one_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.gate.set()
    it = gatherer(store, gather_s=0.01)
    results = await asyncio.gather(
        it.submit(("boom", 1)), it.submit(("b", 2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]
    assert "a batch failed" in caplog.text
    assert await it.submit(("c", 3)) == 3
    await it.aclose(1)


async def test_our_own_error_reaches_each_as_its_own_copy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def away(batch: Sequence[Item]) -> Sequence[int]:
        raise StoreUnavailable("away", retry_after=1, details={"written": "no"})

    it: Gatherer[Item, int] = Gatherer(
        away,
        lambda item: item[0],
        lambda item: item[1],
        name="test",
        group_max=10,
        weight_max=10,
        queue_max=10,
        gather_s=0.01,
    )
    it.open()
    errors = await asyncio.gather(it.submit(("a", 1)), it.submit(("b", 2)), return_exceptions=True)
    assert [(type(e), str(e), getattr(e, "details", None)) for e in errors] == [
        (StoreUnavailable, "away", {"written": "no"})
    ] * 2
    assert errors[0] is not errors[1]
    assert caplog.text == "", "whoever raised it has said so"
    await it.aclose(1)


async def test_a_waiter_that_gives_up_leaves_the_others_alone() -> None:
    store = Store()
    it = gatherer(store)
    running = asyncio.ensure_future(it.submit(("a", 1)))
    await store.under_way.wait()
    waiting = [asyncio.ensure_future(it.submit((name, n))) for n, name in enumerate("bcd")]
    await asyncio.sleep(0)
    running.cancel()
    waiting[1].cancel()
    store.gate.set()
    assert await waiting[0] == 0
    assert await waiting[2] == 2
    assert store.batches == [[("a", 1)], [("b", 0), ("d", 2)]], "what nobody waits for is not run"
    await it.aclose(1)


async def test_one_more_than_may_wait_is_refused_and_nothing_is_done() -> None:
    store = Store()
    it = gatherer(store, queue_max=2)
    tasks = [asyncio.ensure_future(it.submit(("a", 1)))]
    await store.under_way.wait()
    tasks += [asyncio.ensure_future(it.submit((name, 1))) for name in "bc"]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable) as refused:
        await it.submit(("d", 1))
    assert refused.value.retry_after
    assert refused.value.details == {"written": "no"}
    store.gate.set()
    await asyncio.gather(*tasks)
    assert ("d", 1) not in [item for batch in store.batches for item in batch]
    await it.aclose(1)


async def test_closing_lets_finish_what_was_handed_in() -> None:
    store = Store()
    it = gatherer(store)
    tasks = [asyncio.ensure_future(it.submit((name, 1))) for name in "ab"]
    await store.under_way.wait()
    closing = asyncio.ensure_future(it.aclose(5))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await it.submit(("late", 1))
    store.gate.set()
    await closing
    assert await asyncio.gather(*tasks) == [1, 1]
    await it.aclose(1)


async def test_closing_gives_up_in_time_and_tells_everybody_how_it_stands() -> None:
    store = Store()
    it = gatherer(store)
    running = asyncio.ensure_future(it.submit(("a", 1)))
    await store.under_way.wait()
    waiting = asyncio.ensure_future(it.submit(("b", 1)))
    gone = asyncio.ensure_future(it.submit(("c", 1)))
    await asyncio.sleep(0)
    gone.cancel()
    await it.aclose(0.01)
    told = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [getattr(error, "details", None) for error in told] == [
        {"written": "unknown"},
        {"written": "no"},
    ]


async def test_nothing_is_taken_before_it_is_open() -> None:
    store = Store()
    it = gatherer(store)
    await it.aclose(1)
    with pytest.raises(StoreUnavailable):
        await it.submit(("a", 1))
    assert store.batches == []


items = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 9)), max_size=30)


@given(
    given_items=items,
    given_up=st.sets(st.integers(0, 29)),
    group_max=st.integers(1, 5),
    weight_max=st.integers(1, 20),
)
def test_batches_keep_order_limits_and_every_item(
    given_items: list[Item], given_up: set[int], group_max: int, weight_max: int
) -> None:
    loop = asyncio.new_event_loop()
    try:
        waiting: deque[Waiting[tuple[str, int, int], int]] = deque()
        for n, (name, weight) in enumerate(given_items):
            entry: Waiting[tuple[str, int, int], int]
            entry = Waiting((name, weight, n), loop.create_future(), 0.0)
            if n in given_up:
                entry.future.cancel()
            waiting.append(entry)
        seen: list[tuple[str, int, int]] = []
        while waiting:
            batch = take(
                waiting,
                lambda item: item[0],
                lambda item: item[1],
                group_max=group_max,
                weight_max=weight_max,
            )
            if not batch:
                break
            names = [entry.item[0] for entry in batch]
            assert len(names) == len(set(names)) <= group_max
            assert len(batch) == 1 or sum(entry.item[1] for entry in batch) <= weight_max
            seen += [entry.item for entry in batch]
        wanted = [
            (name, weight, n) for n, (name, weight) in enumerate(given_items) if n not in given_up
        ]
        assert sorted(seen, key=lambda item: item[2]) == wanted
        for name in "abcde":
            assert [item for item in seen if item[0] == name] == [
                item for item in wanted if item[0] == name
            ]
    finally:
        loop.close()
