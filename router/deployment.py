"""The Router as a Ray Serve deployment: a shell around `ModelOracle`, and nothing else.

It loads no SDK until a rule asks for one, for most instances have no such rule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ray import serve

from agents.registry import build_embedder
from config.asking import embedder_specs
from config.budgets import prices_of
from contracts.decisions import Classifier, Found, Semantic
from contracts.errors import ProviderTimeout, TroupeError, Unavailable
from router.oracle import Embedding, ModelOracle, Seat
from router.reach import ANSWER_SHARE, DEPLOYMENT
from routing.prices import price_of

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger("troupe.router")

MAX_BATCH = 64
BATCHES = 16
"""Batches under way at once: a slow embedder must not keep others waiting."""
MAX_REQUESTS = 1000


class Following(Protocol):
    """What is in force, as far as it is needed here."""

    @property
    def seats(self) -> Mapping[str, Seat]: ...

    async def open(self) -> None: ...


class RouterShell:
    """The body of a replica. What is expected to go wrong is returned, not raised: Serve would log
    each with its traceback.

    Args:
        settings: All of them.
        follow: Makes what follows settings and policies; opened when an agent is first asked.
    """

    def __init__(self, settings: Settings, follow: Callable[[Settings], Following]) -> None:
        self._settings = settings
        self._specs = embedder_specs(settings)
        self._follow = follow
        self._following: Following | None = None
        self._seating = asyncio.Lock()
        self._oracle = ModelOracle(
            self._embedding,
            self._seated,
            default=next(iter(settings.embedders), ""),
            chars=settings.routing.question_chars,
        )
        batch: Any = self._nearest
        batch.set_batch_wait_timeout_s(settings.routing.router_gather_ms / 1000)

    async def nearest(self, question: Semantic, text: str) -> Found | TroupeError:
        limit_s = question.timeout_s * ANSWER_SHARE
        try:
            async with asyncio.timeout(limit_s):
                asked: Any = self._nearest((question, text))
                answer: Found | TroupeError = await asked
        except TimeoutError:
            why = f"No embedder answered within {limit_s:g} s."
            return ProviderTimeout(why, charges=self._oracle.cost_of(question, text))
        return answer

    async def classify(self, question: Classifier, text: str) -> Found | TroupeError:
        limit_s = question.timeout_s * ANSWER_SHARE
        try:
            return await self._oracle.classify(question._replace(timeout_s=limit_s), text)
        except TroupeError as error:
            return error

    async def prepare(self, questions: Sequence[Semantic | Classifier]) -> None:
        """What is going to be asked. Raises a `TroupeError` for the first that cannot be had."""
        await self._oracle.prepare(questions)

    @serve.batch(max_batch_size=MAX_BATCH, max_concurrent_batches=BATCHES)
    async def _nearest(self, asks: Sequence[tuple[Semantic, str]]) -> list[Found | TroupeError]:
        return await self._oracle.nearest_of(asks)

    async def _embedding(self, name: str) -> Embedding:
        spec = self._specs.get(name)
        if spec is None:
            known = name in self._settings.embedders
            why = "has no key and no simulator" if known else "is not in the settings"
            raise Unavailable(f"Embedder '{name}' {why}.", code="embedder_unavailable")
        embedder = await asyncio.to_thread(build_embedder, spec)
        return Embedding(
            embedder,
            spec.max_batch,
            self._settings.routing.router_examples,
            (name, spec.model),
            price_of(prices_of(self._settings.prices), spec.provider, spec.model),
        )

    async def _seated(self) -> Mapping[str, Seat]:
        async with self._seating:
            if self._following is None:
                following = self._follow(self._settings)
                await following.open()
                self._following = following
            return self._following.seats


def router(settings: Settings, follow: Callable[[Settings], Following]) -> Any | None:
    """The bound deployment, or None where settings want no replica; see `RouterShell`."""
    routing = settings.routing
    if routing.router_replicas == 0:
        return None
    deployment: Any = serve.deployment(
        RouterShell,
        name=DEPLOYMENT,
        num_replicas=routing.router_replicas,
        ray_actor_options={"num_cpus": routing.router_cpus},
        max_ongoing_requests=MAX_REQUESTS,
        graceful_shutdown_timeout_s=5,
        logging_config={"enable_access_log": False},
        health_check_period_s=10,
        health_check_timeout_s=10,
    )
    return deployment.bind(settings, follow)
