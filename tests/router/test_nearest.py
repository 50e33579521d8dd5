"""Semantic questions, asked of real adapters over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from agents.registry import build_embedder
from agents.spec import EmbedderSpec
from contracts.decisions import Found, Semantic
from contracts.errors import ProviderRateLimited, ProviderTimeout, TroupeError, Unavailable
from contracts.money import Price
from router.oracle import Embedding, ModelOracle
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import until

EXAMPLES = (
    ("billing", "I was charged twice for my invoice"),
    ("billing", "When do I get my refund?"),
    ("code", "My Python function raises an exception"),
    ("code", "How do I write a SQL query?"),
)
QUESTION = Semantic("", EXAMPLES, 0.3, 20.0)


class World:
    """An oracle, and what its embedders were sent."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        self.opened: list[str] = []
        self.models: dict[str, str] = {"default": "text-embedding-3-small"}
        self.max_batch = 64
        self.kept = 100
        self.oracle = ModelOracle(self.open, self.seats, default="default", chars=200)

    async def open(self, name: str) -> Embedding:
        if name not in self.models:
            raise Unavailable(f"Embedder '{name}' is not there.")
        self.opened.append(name)
        spec = EmbedderSpec(
            name, "openai", self.models[name], base_url=self.simulator.openai_url, timeout_s=20
        )
        return Embedding(build_embedder(spec), self.max_batch, self.kept)

    async def seats(self) -> Mapping[str, Any]:
        return {}

    async def calls(self) -> list[list[str]]:
        """The texts of each call since the last one asked here."""
        records = await asyncio.to_thread(self.simulator.requests)
        await asyncio.to_thread(self.simulator.clear)
        return [record["body"]["input"] for record in records]


@pytest.fixture
async def world(simulator: SimulatorProcess) -> AsyncIterator[World]:
    await asyncio.to_thread(simulator.clear)
    world = World(simulator)
    yield world
    await world.oracle.aclose()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("why am I charged twice on this invoice", "billing"),
        ("refunds please", "billing"),
        ("an exception in my function", "code"),
        ("querying SQL", "code"),
    ],
)
async def test_the_nearest_example_has_the_label(world: World, text: str, label: str) -> None:
    found = await world.oracle.nearest(QUESTION, text)
    assert found.label == label
    assert found.score is not None and 0.3 <= found.score <= 1


async def test_what_is_near_to_nothing_is_none(world: World) -> None:
    found = await world.oracle.nearest(QUESTION, "Translate a poem about herons")
    assert found.label is None
    assert found.score is not None and found.score < 0.3
    assert (await world.oracle.nearest(QUESTION._replace(min_score=-1.0), "herons")).label


async def test_the_least_score_is_enough(world: World) -> None:
    found = await world.oracle.nearest(QUESTION, EXAMPLES[0][1])
    assert found == Found("billing", 1.0)
    assert await world.oracle.nearest(QUESTION._replace(min_score=1.0), EXAMPLES[0][1]) == found


@pytest.mark.parametrize("text", ["", " \n", " " * 500 + "invoice"])
async def test_nothing_is_asked_about_nothing(world: World, text: str) -> None:
    assert await world.oracle.nearest(QUESTION, text) == Found(None)
    assert await world.calls() == []


async def test_only_the_beginning_is_sent(world: World) -> None:
    text = "invoice " + "x" * 1000
    await world.oracle.nearest(QUESTION, text)
    assert [text[:200]] in await world.calls()


async def test_examples_are_asked_once_and_messages_that_come_together_together(
    world: World,
) -> None:
    texts = ["charged twice", "an exception", "charged twice", "refund"]
    answers = await world.oracle.nearest_of([(QUESTION, text) for text in texts])
    labels = [answer.label for answer in answers if isinstance(answer, Found)]
    assert labels == ["billing", "code", "billing", "billing"]
    examples = [text for _, text in EXAMPLES]
    assert sorted(await world.calls()) == sorted(
        [examples, ["charged twice", "an exception", "refund"]]
    )
    await world.oracle.nearest(QUESTION, "refund")
    assert await world.calls() == [["refund"]]
    assert world.opened == ["default"]


async def test_two_that_need_the_same_examples_ask_for_them_once(world: World) -> None:
    await asyncio.gather(
        world.oracle.nearest(QUESTION, "refund"), world.oracle.nearest(QUESTION, "exception")
    )
    examples = [text for _, text in EXAMPLES]
    assert (await world.calls()).count(examples) == 1


async def test_more_than_one_call_takes_are_several(world: World) -> None:
    world.max_batch = 3
    answers = await world.oracle.nearest_of([(QUESTION, f"refund {n}") for n in range(5)])
    assert [answer.label for answer in answers if isinstance(answer, Found)] == ["billing"] * 5
    assert sorted(map(len, await world.calls())) == [1, 2, 3, 3]


async def test_what_is_kept_is_bounded_and_the_answer_is_right_all_the_same(world: World) -> None:
    world.kept = 3
    for _ in range(2):
        assert (await world.oracle.nearest(QUESTION, "charged twice")).label == "billing"
    calls = await world.calls()
    assert len(calls) == 4
    assert [EXAMPLES[0][1]] in calls, "of four, the one asked for longest ago had gone"


async def test_one_embedder_that_fails_fails_alone(world: World) -> None:
    world.models["bad"] = "scripted.fault-rate_limit"
    asks = [
        (QUESTION._replace(embedder="bad"), "refund"),
        (QUESTION, "refund"),
        (QUESTION._replace(embedder="unheard"), "refund"),
    ]
    bad, good, unheard = await world.oracle.nearest_of(asks)
    assert isinstance(bad, ProviderRateLimited)
    assert isinstance(good, Found) and good.label == "billing"
    assert isinstance(unheard, Unavailable)
    with pytest.raises(ProviderRateLimited):
        await world.oracle.nearest(asks[0][0], "refund")


async def test_examples_are_learned_in_advance(world: World) -> None:
    await world.oracle.prepare([QUESTION])
    assert await world.calls() == [[text for _, text in EXAMPLES]]
    await world.oracle.nearest(QUESTION, "refund")
    assert await world.calls() == [["refund"]]


class Changing:
    """An embedder whose model is exchanged for a larger one."""

    def __init__(self) -> None:
        self.size = 2
        self.refuses: str | None = None
        self.error: TroupeError = ProviderRateLimited("Not this one.")

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.refuses in texts:
            raise self.error
        return [[1.0] + [0.0] * (self.size - 1) for _ in texts]

    async def aclose(self) -> None:
        pass


async def test_another_model_behind_the_same_name_is_learned_anew() -> None:
    embedder = Changing()

    async def opened(name: str) -> Embedding:
        return Embedding(embedder, 64, 100)

    async def seats() -> Mapping[str, Any]:
        return {}

    oracle = ModelOracle(opened, seats, default="default", chars=200)
    assert (await oracle.nearest(QUESTION, "refund")).label == "billing"
    embedder.size = 3
    with pytest.raises(TroupeError, match="another model"):
        await oracle.nearest(QUESTION, "refund")
    assert (await oracle.nearest(QUESTION, "refund")).label == "billing"


async def test_a_question_whose_examples_fail_fails_alone() -> None:
    embedder = Changing()
    embedder.refuses = "bad"

    async def opened(name: str) -> Embedding:
        return Embedding(embedder, 1, 100)

    async def seats() -> Mapping[str, Any]:
        return {}

    oracle = ModelOracle(opened, seats, default="default", chars=200)
    bad = QUESTION._replace(examples=(("billing", "good"), ("code", "bad")))
    first, second = await oracle.nearest_of([(bad, "refund"), (QUESTION, "refund")])
    assert isinstance(first, ProviderRateLimited)
    assert isinstance(second, Found) and second.label == "billing"


async def test_it_is_told_what_a_message_cost_and_examples_are_nobodys() -> None:
    embedder, price = Changing(), Price(20.0, 0.0)

    async def opened(name: str) -> Embedding:
        return Embedding(embedder, 64, 100, ("near", "small"), price)

    async def seats() -> Mapping[str, Any]:
        return {}

    oracle = ModelOracle(opened, seats, default="near", chars=200)
    [charge] = (await oracle.nearest(QUESTION, "refund")).charges
    assert (charge.agent, charge.endpoint, charge.model) == ("router", "near", "small")
    assert charge.estimated
    assert 0 < charge.input_tokens < 10
    assert charge.nano == charge.input_tokens * 20_000
    [again] = (await oracle.nearest(QUESTION, "refund")).charges
    assert again == charge


async def test_what_was_asked_for_in_vain_is_told_with_the_error() -> None:
    embedder, price = Changing(), Price(20.0, 0.0)

    async def opened(name: str) -> Embedding:
        return Embedding(embedder, 1, 100, ("near", "small"), price)

    async def seats() -> Mapping[str, Any]:
        return {}

    oracle = ModelOracle(opened, seats, default="near", chars=200)
    assert oracle.cost_of(QUESTION, "refund") == (), "nothing can have been asked yet"
    [paid] = (await oracle.nearest(QUESTION, "refund")).charges
    # The examples fail, the message's own vector was had.
    embedder.refuses = "bad"
    bad = QUESTION._replace(examples=(("billing", "good"), ("code", "bad")))
    [failed] = await oracle.nearest_of([(bad, "refund")])
    assert isinstance(failed, ProviderRateLimited) and failed.charges == (paid,)
    # The message's own fails: refused, or nobody knows.
    embedder.refuses = "refund"
    asks = [(QUESTION, "refund"), (QUESTION, "refund of all of it"), (QUESTION, " ")]
    embedder.error = ProviderRateLimited("x")
    answers = await oracle.nearest_of(asks)
    assert [type(answer) for answer in answers] == [ProviderRateLimited] * 3
    assert [answer.charges for answer in answers] == [()] * 3
    embedder.error = ProviderTimeout("x")
    first, second, nothing = await oracle.nearest_of(asks)
    assert isinstance(first, ProviderTimeout)
    assert first.charges == (paid,) == oracle.cost_of(QUESTION, "refund")
    assert second.charges == oracle.cost_of(QUESTION, "refund of all of it") != first.charges
    assert nothing.charges == ()


class Slow:
    """An embedder that does not answer for texts with this word until it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.fails = False
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        if any("slow" in text for text in texts):
            await self.may.wait()
            if self.fails:
                raise ProviderRateLimited("Not now.")
        return [[1.0, 0.0] for _ in texts]

    async def aclose(self) -> None:
        pass

    def times(self, text: str) -> int:
        return sum(text in texts for texts in self.asked)


def slow_oracle(embedder: Slow) -> ModelOracle:
    async def opened(name: str) -> Embedding:
        return Embedding(embedder, 1, 100)

    async def seats() -> Mapping[str, Any]:
        return {}

    return ModelOracle(opened, seats, default="default", chars=200)


SLOW = QUESTION._replace(examples=(("billing", "slow one"), ("code", "slow two")))


async def test_a_question_does_not_wait_for_another_s_examples() -> None:
    oracle = slow_oracle(embedder := Slow())
    held = asyncio.ensure_future(oracle.nearest(SLOW, "refund"))
    await until(lambda: embedder.times("slow one") == 1, "examples are asked for")
    async with asyncio.timeout(10):
        assert (await oracle.nearest(QUESTION, "refund")).label == "billing"
    assert not held.done()
    embedder.may.set()
    assert (await held).label == "billing"
    await oracle.aclose()


async def test_who_gives_up_leaves_what_was_asked_for_to_the_next() -> None:
    oracle = slow_oracle(embedder := Slow())
    impatient = asyncio.ensure_future(oracle.nearest(SLOW, "refund"))
    await until(lambda: embedder.times("slow one") == 1, "examples are asked for")
    impatient.cancel()
    await asyncio.wait([impatient])
    second = asyncio.ensure_future(oracle.nearest(SLOW, "refund"))
    await until(lambda: embedder.times("refund") == 2, "the second asks")
    embedder.may.set()
    assert (await second).label == "billing"
    assert [embedder.times(text) for text in ("slow one", "slow two")] == [1, 1]
    await oracle.aclose()


async def test_all_who_wait_for_the_same_examples_hear_why_there_are_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    oracle = slow_oracle(embedder := Slow())
    embedder.fails = True
    held = [asyncio.ensure_future(oracle.nearest(SLOW, text)) for text in ("one", "two")]
    await until(lambda: embedder.times("two") == 1, "both ask")
    embedder.may.set()
    for one in held:
        with pytest.raises(ProviderRateLimited):
            await one
    assert (embedder.times("slow one"), embedder.times("slow two")) == (1, 0)
    embedder.fails = False
    assert (await oracle.nearest(SLOW, "refund")).label == "billing", "it is tried again"
    assert caplog.records == []
    await oracle.aclose()


async def test_what_is_asked_for_ends_with_the_oracle() -> None:
    oracle = slow_oracle(embedder := Slow())
    held = asyncio.ensure_future(oracle.nearest(SLOW, "refund"))
    await until(lambda: embedder.times("slow one") == 1, "examples are asked for")
    await oracle.aclose()
    with pytest.raises(asyncio.CancelledError):
        await held
