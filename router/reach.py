"""The Router as a host reaches it: over a Serve handle, which finds replicas and shares them out.

Whatever keeps it from answering is told as a `TroupeError`; a rule's `else` is what follows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayTaskError

from contracts.decisions import Classifier, Found, Semantic
from contracts.errors import Busy, TroupeError, Unavailable
from contracts.tasks import spawn

log = logging.getLogger("troupe.router.reach")

DEPLOYMENT = "Router"
ANSWER_SHARE = 0.9
"""Of a question's time, what the Router takes for itself; the rest is the way there and back."""
PATIENCE_SHARE = 0.95
"""And after how much of it the Router is taken to be away: before who asked gives up."""
PREPARED = 100
"""Questions that the Router is told of in advance at most."""
PREPARE_S = 60.0
PREPARE_AGAIN_S = 1.0
AWAY_S = 1.0
"""How long nobody asks after it did not answer, so that not every message waits for it."""


class RouterOracle:
    """The port `contracts.decisions.Oracle` in a host.

    Args:
        waiting: Questions that may wait for an answer; one more is `Busy`.
        open_handle: Looks the deployment up. Blocks.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        waiting: int,
        open_handle: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = waiting
        self._waiting = 0
        self._open_handle = open_handle
        self._opening: asyncio.Task[None] | None = None
        self._handle: Any = None
        self._clock = clock
        self._away_until = 0.0
        self._preparing: asyncio.Task[None] | None = None

    async def nearest(self, question: Semantic, text: str) -> Found:
        return await self._ask("nearest", question, text)

    async def classify(self, question: Classifier, text: str) -> Found:
        return await self._ask("classify", question, text)

    def prepare(self, questions: Sequence[Semantic | Classifier]) -> None:
        """Tell the Router what is going to be asked, so that no message waits until it has loaded
        what that needs. Returns at once; what cannot be had now is tried when it is asked for.
        """
        if questions:
            work = self._prepare(list(questions[:PREPARED]))
            self._preparing = spawn(work, name="router-prepare", on_error=_unprepared)

    async def _prepare(self, questions: list[Semantic | Classifier]) -> None:
        # Hosts may be up before Serve has the Router.
        deadline = self._clock() + PREPARE_S
        while True:
            try:
                await self._open()
                break
            except Exception:
                if self._clock() > deadline:
                    raise
                await asyncio.sleep(PREPARE_AGAIN_S)
        await self._handle.prepare.remote(questions)

    async def _ask(self, method: str, question: Semantic | Classifier, text: str) -> Found:
        if self._clock() < self._away_until:
            raise Unavailable("The Router did not answer just now.", code="router_unavailable")
        if self._waiting >= self._limit:
            why = f"{self._limit} questions wait for the Router already."
            raise Busy(why, code="router_busy", retry_after=1.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(question.timeout_s * PATIENCE_SHARE):
                if self._handle is None:
                    await self._open()
                answer = await getattr(self._handle, method).remote(question, text)
        except TimeoutError:
            raise self._away(f"The Router did not answer in {question.timeout_s:g} s.") from None
        except Exception as error:  # whatever Ray and Serve raise: it cannot be had
            raise self._away(f"The Router is away: {type(error).__name__}.") from error
        finally:
            self._waiting -= 1
        if isinstance(answer, TroupeError):
            raise answer
        return answer

    def _away(self, why: str) -> Unavailable:
        self._away_until = self._clock() + AWAY_S
        return Unavailable(why, code="router_unavailable", retry_after=AWAY_S)

    async def _open(self) -> None:
        """Look it up; who runs out of patience meanwhile leaves that to the next."""
        if self._opening is None or self._opening.done():
            self._opening = spawn(self._look_up(), name="router-handle", on_error=_noted)
        await asyncio.shield(self._opening)

    async def _look_up(self) -> None:
        self._handle = await asyncio.to_thread(self._open_handle)


def _unprepared(error: BaseException) -> None:
    cause = error.cause if isinstance(error, RayTaskError) else error
    log.warning("not every rule that asks a model can be answered: %s", cause)


def _noted(error: BaseException) -> None:
    log.debug("the Router cannot be found: %r", error)


def router_oracle(application: str, waiting: int) -> RouterOracle:
    """The Router of this Serve application, looked up when it is first asked."""

    def open_handle() -> Any:
        from ray import serve  # tens of megabytes, which a host without such rules does without

        return serve.get_deployment_handle(DEPLOYMENT, application)

    return RouterOracle(waiting, open_handle)
