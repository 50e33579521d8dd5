"""The watch of policies: what is put is in force at the next look, and what cannot be is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from context.watch import AGAIN_S, PolicyWatch
from contracts.errors import InvalidRequest, StoreUnavailable
from contracts.policies import Policy
from contracts.tasks import spawn, stop


class Store:
    """Policies in memory; away while `up` is False."""

    def __init__(self) -> None:
        self.policies: list[Policy] = []
        self.asked: list[int] = []
        self.up = True

    def put(self, scope: str, text: str) -> None:
        revision = len(self.policies) + 1
        version = sum(policy.scope == scope for policy in self.policies) + 1
        self.policies.append(Policy(scope, version, revision, text, 0.0))

    async def newer(self, revision: int) -> list[Policy]:
        self.asked.append(revision)
        if not self.up:
            raise StoreUnavailable("The store is unavailable.")
        newest = {policy.scope: policy for policy in self.policies if policy.revision > revision}
        return list(newest.values())


class Stage:
    """A watch whose time passes when a test says so."""

    def __init__(self) -> None:
        self.store = Store()
        self.applied: list[dict[str, str]] = []
        self.ticks: asyncio.Queue[None] = asyncio.Queue()
        self.waits: list[float] = []
        self.looked = asyncio.Event()
        self.watch = PolicyWatch(self.store, self.apply, poll_s=1, sleep=self.sleep)  # type: ignore[arg-type]

    async def apply(self, policies: Sequence[Policy]) -> None:
        texts = {policy.scope: policy.text for policy in policies}
        self.applied.append(texts)
        if "bad" in texts.values():
            raise InvalidRequest("It is bad.", code="invalid_policy")
        if "broken" in texts.values():
            raise ValueError("out of order")

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.looked.set()
        await self.ticks.get()

    async def tick(self) -> None:
        """One look."""
        self.looked.clear()
        self.ticks.put_nowait(None)
        await self.looked.wait()


@pytest.fixture
async def stage():
    stage = Stage()
    stage.store.put("base", "first")
    await stage.watch.look()
    running = spawn(stage.watch.run(), name="watch")
    await stage.looked.wait()
    yield stage
    await stop(running)


async def test_the_first_look_puts_all_in_force(stage: Stage) -> None:
    assert stage.applied == [{"base": "first"}]
    assert stage.watch.revision == 1
    assert stage.waits == [1]


async def test_a_change_is_in_force_at_the_next_look_with_all_the_rest(stage: Stage) -> None:
    await stage.tick()
    assert len(stage.applied) == 1, "nothing has changed"
    stage.store.put("org_a", "theirs")
    await stage.tick()
    assert stage.applied[1:] == [{"base": "first", "org_a": "theirs"}]
    assert stage.watch.revision == 2
    assert stage.store.asked == [0, 1, 1], "only what is newer is read"


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of what the watch has logged."""
    return [one.levelname for one in caplog.records if one.name == "troupe.context.watch"]


@pytest.mark.parametrize(
    ("text", "said"), [("bad", "It is bad."), ("broken", "ValueError('out of order')")]
)
async def test_what_cannot_be_had_here_changes_nothing_and_is_told_once(
    stage: Stage, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage.store.put("base", text)
    with caplog.at_level(logging.ERROR):
        await stage.tick()
        assert stage.watch.problem == f"revision 2: {said}"
        assert stage.watch.revision == 1
        while len(stage.applied) < 3:
            await stage.tick()
    assert levels(caplog) == ["ERROR"]
    assert len(stage.waits) == 2 + AGAIN_S, "it is tried again, but seldom"
    stage.store.put("base", "good")
    await stage.tick()
    assert (stage.watch.revision, stage.watch.problem) == (3, None)


async def test_while_the_store_is_away_all_stays(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.store.up = False
    with caplog.at_level(logging.WARNING):
        await stage.tick()
        await stage.tick()
    assert levels(caplog) == ["WARNING"]
    assert len(stage.applied) == 1
    stage.store.put("base", "second")
    stage.store.up = True
    await stage.tick()
    assert stage.applied[-1] == {"base": "second"}


async def test_it_does_not_start_without_the_store() -> None:
    stage = Stage()
    stage.store.up = False
    with pytest.raises(StoreUnavailable):
        await stage.watch.look()
