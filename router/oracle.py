"""ModelOracle: answers rules' questions by asking embedders and agents.

Questions to one embedder that come together share its calls. What examples mean is asked once and
kept. Nothing is retried: who asked has a rule that says what to do without an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from typing import Any, Protocol, TypeVar

from context.tokens import estimate
from contracts.agents import Agent, Embedder, End
from contracts.decisions import Classifier, Found, Semantic
from contracts.errors import (
    AgentUnavailable,
    ProviderTimeout,
    TroupeError,
    Unavailable,
)
from contracts.messages import Usage
from contracts.money import Charge, Price, charged
from contracts.tasks import spawn, stop
from router.nearness import Examples, Vector, direction, nearest
from router.sorting import MAX_ANSWER_CHARS, asked, label_in
from routing.endpoints import EndpointSet
from routing.prices import charge_for, may_have_cost

T = TypeVar("T")
log = logging.getLogger("troupe.router.oracle")
ROUTER = "router"
"""Stands for the agent in charges of embedders."""
TOKENS_OF_ORDER = 300
"""What a classifier is told besides the message, and may answer, roughly."""
NOTHING = Found(None)


class Place(Protocol):
    """An agent's endpoint, as far as it is needed here."""

    @property
    def name(self) -> str: ...

    @property
    def agent(self) -> Agent: ...

    @property
    def model(self) -> str: ...

    @property
    def price(self) -> Price | None: ...


class Seat(Protocol):
    """An agent, as far as it is needed here."""

    @property
    def places(self) -> Mapping[str, Place]: ...

    @property
    def endpoints(self) -> EndpointSet: ...


class Embedding:
    """One embedder, and what it has said of examples.

    Args:
        embedder: The adapter.
        max_batch: Texts that it takes at once.
        examples: How many vectors are kept.
        name: Of the embedder, and its model, for charges.
        price: Of its model; None: not known.
    """

    def __init__(
        self,
        embedder: Embedder,
        max_batch: int,
        examples: int,
        name: tuple[str, str] = ("", ""),
        price: Price | None = None,
    ) -> None:
        self._embedder = embedder
        self._name = name
        self._price = price
        self._max_batch = max_batch
        self._examples = Examples(examples)
        self._asked: dict[str, asyncio.Task[dict[str, Vector]]] = {}
        """By example: the call that it is in."""

    async def learn(self, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors of these examples. Those that another question is asking for are waited for.

        Who gives up stops nothing: what was asked for is there for the next one.
        """
        found = self._examples.known(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        self._ask_for([text for text in missing if text not in self._asked])
        calls = dict.fromkeys(self._asked[text] for text in missing)
        for call in calls:
            found |= await asyncio.shield(call)
        return {text: found[text] for text in texts}

    def _ask_for(self, texts: Sequence[str]) -> None:
        """In as many calls as it takes, one after the other."""
        call = None
        for start in range(0, len(texts), self._max_batch):
            part = texts[start : start + self._max_batch]
            call = spawn(self._learned(part, call), name="router-examples", on_error=_unexpected)
            self._asked |= dict.fromkeys(part, call)

    async def _learned(
        self, part: Sequence[str], before: asyncio.Task[dict[str, Vector]] | None
    ) -> dict[str, Vector]:
        try:
            if before is not None:
                await before
            new = dict(zip(part, await self.vectors(part), strict=True))
            # Each part by itself: who comes again after a failure goes on from there.
            self._examples.keep(new)
            return new
        finally:
            for text in part:
                del self._asked[text]

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """In as many calls as it takes, side by side."""
        size = self._max_batch
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        answers = await asyncio.gather(*(self._embedder.embed(part) for part in parts))
        return [direction(vector) for answer in answers for vector in answer]

    def charges(self, text: str) -> tuple[Charge, ...]:
        """What the vector of a message cost; providers do not say it for each, so by estimate."""
        if self._price is None:
            return ()
        return (charged(ROUTER, *self._name, self._price, estimate(text), estimated=True),)

    def forget(self) -> None:
        self._examples.clear()

    async def aclose(self) -> None:
        await stop(*self._asked.values())
        await self._embedder.aclose()


class ModelOracle:
    """The port `contracts.decisions.Oracle`, where models can be asked.

    Args:
        embedding: Opens the embedder of this name, on its first use. Raises `Unavailable`.
        seats: The agents as they are now.
        default: The embedder of a question that names none.
        chars: Characters of a message that are looked at.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        embedding: Callable[[str], Awaitable[Embedding]],
        seats: Callable[[], Awaitable[Mapping[str, Seat]]],
        *,
        default: str,
        chars: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = embedding
        self._embeddings: dict[str, Embedding] = {}
        self._opening = asyncio.Lock()
        self._seats = seats
        self._default = default
        self._chars = chars
        self._clock = clock

    async def nearest(self, question: Semantic, text: str) -> Found:
        """One question by itself."""
        [answer] = await self.nearest_of([(question, text)])
        if isinstance(answer, TroupeError):
            raise answer
        return answer

    async def nearest_of(self, asks: Sequence[tuple[Semantic, str]]) -> list[Found | TroupeError]:
        """Each question's answer or why there is none, in their order."""
        by_name: dict[str, list[int]] = {}
        for index, (question, _) in enumerate(asks):
            by_name.setdefault(question.embedder or self._default, []).append(index)
        groups = [[asks[index] for index in indices] for indices in by_name.values()]
        told = await asyncio.gather(
            *(self._ask(name, group) for name, group in zip(by_name, groups, strict=True))
        )
        answers: list[Found | TroupeError] = [NOTHING] * len(asks)
        for indices, group in zip(by_name.values(), told, strict=True):
            for index, answer in zip(indices, group, strict=True):
                answers[index] = answer
        return answers

    async def classify(self, question: Classifier, text: str) -> Found:
        """What the agent calls the message; anything but one of the labels is none."""
        text = text[: self._chars]
        if not text.strip():
            return NOTHING
        seat = (await self._seats()).get(question.agent)
        if seat is None:
            raise AgentUnavailable(f"There is no agent '{question.agent}' to ask.")
        now = self._clock()
        request_tokens = estimate(text) + TOKENS_OF_ORDER
        ticket = seat.endpoints.take(now, tokens=request_tokens)
        if ticket is None:
            wait_s = seat.endpoints.wait_s(now, tokens=request_tokens)
            why = f"No endpoint of agent '{question.agent}' can take a question now."
            raise AgentUnavailable(why, retry_after=wait_s)
        place = seat.places[ticket.endpoint]
        request = asked(question, text, place.model)
        said, end = "", None
        spoken = False

        def cost(usage: Usage | None = None) -> tuple[Charge, ...]:
            if place.price is None:
                return ()
            return (charge_for(question.agent, place, usage, request, said),)

        try:
            async with asyncio.timeout(question.timeout_s):
                stream: Any = place.agent.stream(request)
                async with aclosing(stream):
                    async for item in stream:
                        if not spoken:
                            spoken = True
                            ticket.spoke(self._clock())
                        if isinstance(item, End):
                            end = item
                        elif len(said := said + item) > MAX_ANSWER_CHARS:
                            break
        except TimeoutError:
            error = ProviderTimeout(f"Agent '{question.agent}' took too long to choose a label.")
            # The rule has less patience than the agent: that it was slow for a rule must not close
            # an endpoint to all who talk to it.
            ticket.left(self._clock())
            error.charges = cost()
            raise error from None
        except TroupeError as error:
            ticket.failed(self._clock(), error)
            if may_have_cost(error, heard=bool(said)):
                error.charges = cost()
            raise
        except BaseException:
            ticket.left(self._clock())
            raise
        if end is None:
            ticket.left(self._clock())
            return Found(None, None, cost())
        ticket.done(self._clock(), end.usage)
        label = label_in(said, question) if end.reason == "stop" else None
        return Found(label, None, cost(end.usage))

    def cost_of(self, question: Semantic, text: str) -> tuple[Charge, ...]:
        """What it costs to ask for the vector of a message, also if nobody waits for it."""
        embedding = self._embeddings.get(question.embedder or self._default)
        text = text[: self._chars]
        return embedding.charges(text) if embedding is not None and text.strip() else ()

    async def prepare(self, questions: Sequence[Semantic | Classifier]) -> None:
        """Open what these questions need and learn their examples, so that no message waits for it.

        Raises a `TroupeError` for the first that cannot be had now; it is tried again when it is
        asked for.
        """
        for problem in [await _tried(self._prepare(question)) for question in questions]:
            if problem is not None:
                raise problem

    async def _prepare(self, question: Semantic | Classifier) -> None:
        if isinstance(question, Semantic):
            embedding = await self._embedding(question.embedder or self._default)
            await embedding.learn([text for _, text in question.examples])
        elif question.agent not in await self._seats():
            raise AgentUnavailable(f"There is no agent '{question.agent}' to ask.")

    async def aclose(self) -> None:
        for embedding in self._embeddings.values():
            await embedding.aclose()

    async def _ask(
        self, name: str, asks: Sequence[tuple[Semantic, str]]
    ) -> list[Found | TroupeError]:
        """Everything that one embedder is asked at a time."""
        texts = {text: cut for _, text in asks if (cut := text[: self._chars]).strip()}
        if not texts:
            return [NOTHING] * len(asks)
        try:
            embedding = await self._embedding(name)
        except TroupeError as error:
            return [error] * len(asks)
        questions = list(dict.fromkeys(question for question, _ in asks))
        vectors, learned = await asyncio.gather(
            _tried(embedding.vectors(list(texts.values()))),
            asyncio.gather(
                *(_tried(embedding.learn([text for _, text in one.examples])) for one in questions)
            ),
        )
        if isinstance(vectors, TroupeError):
            lost = may_have_cost(vectors)
            return [
                _with(vectors, embedding.charges(texts[text]) if lost and text in texts else ())
                for _, text in asks
            ]
        messages = dict(zip(texts, vectors, strict=True))
        known = dict(zip(questions, learned, strict=True))
        answers: list[Found | TroupeError] = []
        for question, text in asks:
            examples, message = known[question], messages.get(text)
            if message is None:
                answers.append(NOTHING)
            elif isinstance(examples, TroupeError):
                answers.append(_with(examples, embedding.charges(texts[text])))
            elif any(vector.size != message.size for vector in examples.values()):
                embedding.forget()
                why = f"Embedder '{name}' has another model now than when it learned its examples."
                answers.append(Unavailable(why, charges=embedding.charges(texts[text])))
            else:
                label, score = nearest(message, question.examples, examples)
                label = label if score >= question.min_score else None
                answers.append(Found(label, score, embedding.charges(texts[text])))
        return answers

    async def _embedding(self, name: str) -> Embedding:
        async with self._opening:
            embedding = self._embeddings.get(name)
            if embedding is None:
                embedding = self._embeddings[name] = await self._open(name)
            return embedding


def _with(error: TroupeError, charges: tuple[Charge, ...]) -> TroupeError:
    """The error as one of those hears it whom it is told."""
    mine = copy(error)
    mine.charges = charges
    return mine


def _unexpected(error: BaseException) -> None:
    """Whoever waits for examples hears why they cannot be had; more than that is a fault."""
    if not isinstance(error, TroupeError):
        log.error("examples cannot be learned", exc_info=error)


async def _tried(work: Awaitable[T]) -> T | TroupeError:
    try:
        return await work
    except TroupeError as error:
        return error
