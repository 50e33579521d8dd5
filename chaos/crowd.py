"""All sessions of a run: made, set talking, stopped, and what they have become."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Protocol

import aiohttp
import openai

from chaos.native import NativeClient
from chaos.plan import Plan
from chaos.record import DONE, Kind, SessionRecord
from chaos.stock import SdkSource
from chaos.store import Store
from chaos.stream import EventClient, HttpSource
from chaos.talk import Manner, Talk, now
from contracts.tasks import spawn, stop

_SPREAD_S = 3.0
MODEL = "gpt"


class _Client(Protocol):
    async def run(self) -> None: ...


class Crowd:
    """Args:
    plan: How many there are, and how they behave.
    url: Where Troupe answers.
    http: For the clients that need one.
    sdk: For the stock clients.
    """

    def __init__(
        self, plan: Plan, url: str, http: aiohttp.ClientSession, sdk: openai.AsyncOpenAI
    ) -> None:
        self._plan = plan
        self._http = http
        self._sdk = sdk
        self._manner = Manner(url, MODEL, plan.think_s, plan.stall_s)
        self._talks: list[Talk] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.broken: list[str] = []
        """Clients that failed in a way that none of theirs is."""

    @property
    def records(self) -> list[SessionRecord]:
        return [talk.record for talk in self._talks]

    async def start(self, store: Store) -> None:
        """Make the conversations, and begin to talk within some seconds."""
        ids = await asyncio.gather(*(store.create() for _ in range(self._plan.sessions)))
        for index, session_id in enumerate(ids):
            random = Random(f"{self._plan.seed}/{index}")
            kind = self._plan.kind(index)
            talk = Talk(SessionRecord(session_id, kind), self._manner, random)
            self._talks.append(talk)
            late_s = random.uniform(0, _SPREAD_S)
            self._tasks.append(
                spawn(
                    self._run(self._client(kind, talk), late_s),
                    name=f"client-{session_id}",
                    on_error=lambda error: self.broken.append(repr(error)),
                )
            )

    async def stop(self, limit_s: float) -> int:
        """Nobody says anything new; wait until all are answered. How many are not."""
        for talk in self._talks:
            talk.stopped = True
        await asyncio.wait(self._tasks, timeout=limit_s)
        waiting = sum(not task.done() for task in self._tasks)
        await stop(*self._tasks)
        return waiting

    def streaming(self) -> int:
        """Answers that have begun to speak and have not ended."""
        return sum(
            bool(answer.times) and not answer.ended
            for talk in self._talks
            for answer in list(talk.record.answers.values())[-1:]
        )

    def answered(self) -> int:
        """Answers that have ended."""
        return sum(
            answer.status in DONE for talk in self._talks for answer in talk.record.answers.values()
        )

    def silent_s(self) -> float:
        """How long the running answer that is silent longest has been so; 0 without any."""
        last = [
            answer.times[-1]
            for talk in self._talks
            for answer in list(talk.record.answers.values())[-1:]
            if answer.times and not answer.ended
        ]
        return now() - min(last, default=now())

    def troubles(self) -> Counter[str]:
        """Why connections ended or requests were repeated, by kind of client."""
        found: Counter[str] = Counter()
        for record in self.records:
            for what, many in record.troubles.items():
                found[f"{record.kind}: {what}"] += many
        return found

    @staticmethod
    async def _run(client: _Client, late_s: float) -> None:
        await asyncio.sleep(late_s)
        await client.run()

    def _client(self, kind: Kind, talk: Talk) -> _Client:
        if kind == "native":
            return NativeClient(talk)
        if kind == "stock":
            return EventClient(talk, SdkSource(self._sdk, MODEL), takes_over=True)
        manner = self._manner
        source = HttpSource(self._http, manner.url, manner.model, manner.stall_s)
        return EventClient(talk, source)
