"""The order of a run: start, talk, strike, settle, look, judge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import openai

from bench import servers
from chaos import plants
from chaos.check import Finding, check
from chaos.crowd import Crowd
from chaos.faults import DONE_BY_RAY, STRIKES, NothingToHit, Target
from chaos.hand import Hand, HandFailed, hand
from chaos.instance import Instance, instance
from chaos.plan import Plan
from chaos.record import Answer, SessionRecord, Stored
from chaos.schedule import Due, schedule
from chaos.silence import Strike
from chaos.store import Store
from chaos.talk import now
from contracts.tasks import spawn, stop

Say = Callable[[str], None]
_PROGRESS_S = 10.0
_LOOK_S = 0.1
_SPEAKS_AGAIN_S = 1.0
"""No running answer silent for longer than this: everybody is served again."""
_API_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Outcome:
    """What a run has shown.

    `unwell`: what did not come back, could not be struck or went wrong in the run itself.
    """

    plan: Plan
    sessions: list[tuple[SessionRecord, Stored]] = field(
        default_factory=list[tuple[SessionRecord, Stored]]
    )
    strikes: list[Strike] = field(default_factory=list[Strike])
    findings: list[Finding] = field(default_factory=list[Finding])
    troubles: dict[str, int] = field(default_factory=dict[str, int])
    unwell: list[str] = field(default_factory=list[str])

    @property
    def answers(self) -> list[Answer]:
        return [answer for record, _ in self.sessions for answer in record.answers.values()]


class Run:
    """One run against an instance that is up.

    Args:
        plan: What is asked.
        target: What is struck.
        crowd: Who talks.
        http: For questions about how things are.
        say: Where progress goes.
    """

    def __init__(
        self, plan: Plan, target: Target, crowd: Crowd, http: aiohttp.ClientSession, say: Say
    ) -> None:
        self._plan = plan
        self._target = target
        self._crowd = crowd
        self._http = http
        self._say = say
        self._began = now()
        self.outcome = Outcome(plan)

    async def go(self) -> Outcome:
        """All of it."""
        store = Store(self._http, self._target.instance.url)
        await self._crowd.start(store)
        progress = spawn(self._progress(), name="progress")
        try:
            await self._everybody_talks()
            self._target.instance.remember()
            await self._strike_all()
        finally:
            await stop(progress)
        await self._settle()
        await self._look(store)
        return self.outcome

    async def _everybody_talks(self) -> None:
        """Until half of the sessions have had an answer, so that the first fault meets a crowd."""
        limit = now() + self._plan.settle_limit_s
        while self._crowd.answered() < self._plan.sessions / 2 and now() < limit:
            await asyncio.sleep(_LOOK_S)

    async def _strike_all(self) -> None:
        """The schedule: until every fault has struck in turn, and then until the time is up."""
        ends = now() + self._plan.seconds
        last = now()
        for number, due in enumerate(schedule(self._plan), 1):
            in_turn = number <= len(self._plan.faults)
            if due.after_s is None:
                await self._calm()
            else:
                await asyncio.sleep(max(0.0, last + due.after_s - now()))
            if now() >= ends and not in_turn:
                break
            last = now()
            await self._strike(number, due)

    async def _strike(self, number: int, due: Due) -> None:
        """One fault; in turn, its effect is watched until all is well again."""
        struck, streaming = now(), self._crowd.streaming()
        if self.outcome.strikes:
            self.outcome.strikes[-1] = self.outcome.strikes[-1]._replace(until=struck)
        try:
            detail = await STRIKES[due.fault](self._target)
        except NothingToHit:
            # At random a part may be struck before it is back from the last time.
            self._tell(f"{number}: {due.fault}: nothing there to hit")
            return
        except HandFailed as error:
            self.outcome.unwell.append(f"{due.fault}: {error}")
            detail = f"could not be done: {error}"
        self._tell(f"{number}: {due.fault}: {detail}; {streaming} answers were running")
        back_s: float | None = None
        if due.after_s is None:
            left_s = self._plan.back_limit_s
            if await self._target.instance.until_well(self._http, left_s) is not None:
                back_s = now() - struck
                self._tell(f"   all parts are back after {back_s:.1f} s")
            else:
                missing = ", ".join(self._target.instance.missing()) or "/readyz is not ok"
                self.outcome.unwell.append(f"{due.fault}: not back after {left_s:.0f} s: {missing}")
                self._tell(f"   NOT BACK after {left_s:.0f} s: {missing}")
        self.outcome.strikes.append(Strike(due.fault, detail, struck, now(), back_s))

    async def _calm(self) -> None:
        """Until everybody is served again, and a little longer."""
        limit = now() + self._plan.calm_limit_s
        while now() < limit:
            await asyncio.sleep(self._plan.calm_s)
            if self._crowd.silent_s() < _SPEAKS_AGAIN_S:
                return

    async def _settle(self) -> None:
        self._say("No more faults; the last answers")
        well = await self._target.instance.until_well(self._http, self._plan.back_limit_s)
        if well is None:
            self.outcome.unwell.append("at the end: not well again")
        waiting = await self._crowd.stop(self._plan.settle_limit_s)
        if self.outcome.strikes:
            self.outcome.strikes[-1] = self.outcome.strikes[-1]._replace(until=now())
        if waiting:
            self.outcome.unwell.append(f"{waiting} clients still waited for an answer at the end")
        self.outcome.unwell += [f"a client broke: {error}" for error in self._crowd.broken]
        self.outcome.troubles = dict(self._crowd.troubles().most_common())

    async def _look(self, store: Store) -> None:
        """Read the store and compare."""
        records = self._crowd.records
        self._say(f"Reading {len(records)} conversations back")
        stored = await asyncio.gather(*(store.read(record) for record in records))
        self.outcome.sessions = list(zip(records, stored, strict=True))
        if self._plan.plant is not None:
            what = plants.plant(self._plan.plant, self.outcome.sessions)
            self._say(f"Planted {self._plan.plant}: one more of '{what}' must be counted")
        for record, held in self.outcome.sessions:
            self.outcome.findings += check(record, held, self._plan.tokens)

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            crowd = self._crowd
            self._tell(
                f"{crowd.answered()} answers, {crowd.streaming()} running, "
                f"{sum(crowd.troubles().values())} reconnects and repeats so far"
            )

    def _tell(self, what: str) -> None:
        self._say(f"{now() - self._began:6.1f} s  {what}")


async def run(plan: Plan, logs: Path, say: Say) -> Outcome:
    """Start everything, run, and take everything down."""
    servers.allow_many_sockets()
    say("Starting a Troupe of its own")
    async with (
        servers.simulator() as (provider, _),
        instance(plan, provider, logs / "troupe.log") as troupe,
        _hand_if_needed(plan, troupe, logs) as its_hand,
    ):
        say(f"Up at {troupe.url}; {plan.sessions} sessions begin to talk")
        random = Random(f"{plan.seed}/targets")
        target = Target(troupe, random, plan.freeze_s, its_hand)
        return await against(plan, target, say)


async def against(plan: Plan, target: Target, say: Say) -> Outcome:
    """The run itself, against an instance that is up."""
    url = target.instance.url
    limits = aiohttp.ClientTimeout(total=_API_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(limit=0)) as http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="chaos") as sdk,
    ):
        crowd = Crowd(plan, url, http, sdk)
        return await Run(plan, target, crowd, http, say).go()


@contextlib.asynccontextmanager
async def _hand_if_needed(plan: Plan, troupe: Instance, logs: Path) -> AsyncGenerator[Hand | None]:
    if not DONE_BY_RAY.intersection(plan.faults):
        yield None
        return
    async with hand(troupe.cluster(), troupe.environ(), logs / "hand.log") as its_hand:
        yield its_hand
