"""The Router as a host reaches it, over a handle that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError

from contracts.decisions import Classifier, Found, Semantic
from contracts.errors import Busy, ProviderRateLimited, TroupeError, Unavailable
from router import reach
from router.reach import AWAY_S, RouterOracle

SEMANTIC = Semantic("", (("code", "python"),), 0.5, 20.0)
CLASSIFIER = Classifier("small", (("code", "python"), ("texts", "poems")), None, 20.0)

Answer = Callable[[], Awaitable[Any]]


class Handle:
    """Stands for a deployment's handle: `handle.method.remote(…)` is awaited."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Method:
            @staticmethod
            def remote(*told: Any) -> Awaitable[Any]:
                handle.asked.append((method, *told))
                return handle.answer()

        return Method


async def code() -> Found:
    return Found("code", 0.9)


def raising(error: BaseException) -> Answer:
    async def answer() -> Found:
        raise error

    return answer


async def never() -> Found:
    await asyncio.Event().wait()
    return Found(None)


async def test_questions_and_answers_go_through() -> None:
    handle = Handle(code)
    oracle = RouterOracle(10, lambda: handle)
    assert await oracle.nearest(SEMANTIC, "a") == Found("code", 0.9)
    assert await oracle.classify(CLASSIFIER, "b") == Found("code", 0.9)
    assert handle.asked == [("nearest", SEMANTIC, "a"), ("classify", CLASSIFIER, "b")]


async def test_its_own_errors_are_told_as_they_are() -> None:
    async def refused() -> TroupeError:
        return ProviderRateLimited("Too many.", retry_after=3)

    handle = Handle(refused)
    oracle = RouterOracle(10, lambda: handle)
    for _ in range(2):
        with pytest.raises(ProviderRateLimited) as caught:
            await oracle.nearest(SEMANTIC, "a")
        assert caught.value.retry_after == 3
    assert len(handle.asked) == 2, "it was there, so it is asked again"


@pytest.mark.parametrize(
    "answer",
    [
        raising(RayActorError()),
        raising(RuntimeError("no replica")),
        raising(RayTaskError("nearest", "…", KeyError("oops"))),
        never,
    ],
    ids=["died", "serve", "failed", "silent"],
)
async def test_one_that_is_away_is_left_alone_for_a_while(answer: Answer) -> None:
    now = 100.0
    handle = Handle(answer)
    oracle = RouterOracle(10, lambda: handle, clock=lambda: now)
    await oracle._open()  # it is looked up in a thread, which may take longer than patience lasts
    question = SEMANTIC._replace(timeout_s=0.05) if answer is never else SEMANTIC
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await oracle.nearest(question, "a")
        assert caught.value.cause_code == "router_unavailable"
    assert len(handle.asked) == 1
    now += AWAY_S
    handle.answer = code
    assert await oracle.nearest(SEMANTIC, "a") == Found("code", 0.9)


async def test_only_so_many_wait() -> None:
    handle = Handle(never)
    oracle = RouterOracle(2, lambda: handle)
    waiting = [asyncio.ensure_future(oracle.nearest(SEMANTIC, "a")) for _ in range(2)]
    async with asyncio.timeout(20):
        while len(handle.asked) < 2:
            await asyncio.sleep(0)
    with pytest.raises(Busy) as caught:
        await oracle.classify(CLASSIFIER, "b")
    assert caught.value.cause_code == "router_busy"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    handle.answer = code
    assert await oracle.classify(CLASSIFIER, "b") == Found("code", 0.9)


async def test_it_is_looked_up_once_even_for_those_who_lose_patience() -> None:
    now, found, lookups = 0.0, threading.Event(), 0
    handle = Handle(code)

    def look_up() -> Any:
        nonlocal lookups
        lookups += 1
        assert found.wait(20)
        return handle

    oracle = RouterOracle(10, look_up, clock=lambda: now)
    with pytest.raises(Unavailable):
        await oracle.nearest(SEMANTIC._replace(timeout_s=0.05), "a")
    now += AWAY_S
    asking = asyncio.ensure_future(oracle.nearest(SEMANTIC, "a"))
    await asyncio.sleep(0)
    found.set()
    assert await asking == Found("code", 0.9)
    assert lookups == 1


async def test_one_that_cannot_be_found_is_looked_up_again() -> None:
    now, lookups = 0.0, 0
    handle = Handle(code)

    def look_up() -> Any:
        nonlocal lookups
        lookups += 1
        if lookups == 1:
            raise RuntimeError("no such application")
        return handle

    oracle = RouterOracle(10, look_up, clock=lambda: now)
    with pytest.raises(TroupeError):
        await oracle.nearest(SEMANTIC, "a")
    now += AWAY_S
    assert await oracle.nearest(SEMANTIC, "a") == Found("code", 0.9)


async def test_it_is_told_in_advance_what_will_be_asked() -> None:
    handle = Handle(code)
    RouterOracle(10, lambda: handle).prepare([SEMANTIC, CLASSIFIER])
    async with asyncio.timeout(20):
        while not handle.asked:
            await asyncio.sleep(0)
    assert handle.asked == [("prepare", [SEMANTIC, CLASSIFIER])]


async def test_it_is_told_once_it_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PREPARE_AGAIN_S", 0.0)
    handle, lookups = Handle(code), 0

    def look_up() -> Any:
        nonlocal lookups
        lookups += 1
        if lookups < 3:
            raise RuntimeError("no such application yet")
        return handle

    RouterOracle(10, look_up).prepare([SEMANTIC])
    async with asyncio.timeout(20):
        while not handle.asked:
            await asyncio.sleep(0)
    assert lookups == 3


async def test_nothing_is_told_where_no_rule_asks() -> None:
    def look_up() -> Any:
        raise AssertionError("nobody needs it")

    RouterOracle(10, look_up).prepare([])
    await asyncio.sleep(0)


async def test_what_cannot_be_had_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    told = RayTaskError("prepare", "…", Unavailable("Embedder 'near' has no key."))
    RouterOracle(10, lambda: Handle(raising(told))).prepare([SEMANTIC])
    async with asyncio.timeout(20):
        while "has no key" not in caplog.text:
            await asyncio.sleep(0)
