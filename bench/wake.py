"""How long a sleeping session takes to wake: from memory, from Redis, from Postgres alone.

Seen from within a host (`waker`) and, on the same instance, by clients: sockets that stay connected
while their sessions sleep. One session at a time, and many at the same moment. The provider answers
with one token at once, since it is not what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import conductor, servers, stats
from bench.conductor import LIMIT_S, Say
from bench.figures import Source, Wake
from bench.generator import GeneratorError, Generators, ask, generators, merge, started
from bench.plan import Plan

IDLE_S = 10
SWEEP_S = 5
"""A host looks for idle sessions at least this often."""
HOSTS = 2
"""As many as an instance has."""
ROUNDS = 3
_SPARE_S = 3
_SOON_S = 0.3


def sleepy(plan: Plan, idle_s: int) -> Plan:
    """The plan with sessions that are let go soon, and room for all before that."""
    settings = {
        "TROUPE_HOSTS__IDLE_S": str(idle_s),
        "TROUPE_HOSTS__LOG_LINGER_S": str(idle_s),
        "TROUPE_HOSTS__SESSIONS_PER_HOST": str(max(2000, plan.asleep, plan.waking)),
    }
    return replace(plan, settings={**plan.settings, **settings})


async def fall_asleep(idle_s: int) -> None:
    """Wait until sessions that nobody speaks to have been let go."""
    await asyncio.sleep(idle_s + SWEEP_S + _SPARE_S)


async def run(plan: Plan, logs: Path, say: Say) -> AsyncIterator[Wake]:
    """Yield what was measured, as it is there."""
    plan = replace(sleepy(plan, IDLE_S), ttft_ms=0, gap_ms=0, tokens=1, generators=1)
    log = logs / "wake.log"
    say("wake: starting")
    async with (
        servers.simulator() as (provider, _),
        servers.server("troupe", plan, provider, log) as server,
        generators(server.url, plan) as load,
    ):
        say(f"wake: up after {server.started_in_s:.0f} s; warming up")
        await conductor.rehearse("troupe", server.url, plan, load)
        async with _hosts(server, plan, provider, log) as hosts:
            say(f"wake: {plan.waking_alone} alone and {plan.waking} together, in {HOSTS} hosts")
            for found in await hosts.run():
                yield found
        paths = await conductor.new_paths(
            "troupe", server.url, plan, plan.waking + plan.waking_alone
        )
        errors = await conductor.connected(plan, load, paths, lambda text: say(f"wake: {text}"))
        if errors:
            raise GeneratorError(f"not all sessions came up: {errors}")
        clients = _Clients(plan, load)
        say(f"wake: asleep for {IDLE_S} s, then woken from Redis by their clients")
        await fall_asleep(IDLE_S)
        yield await clients.alone("Redis")
        yield await clients.alone("memory")
        yield await clients.together("Redis")
        yield await clients.together("memory")
        say("wake: asleep once more, then from Postgres alone")
        await fall_asleep(IDLE_S)
        async with _hosts(server, plan, provider, log, count=1) as hosts:
            await hosts.forget()
        yield await clients.alone("Postgres")
        yield await clients.together("Postgres")
        await load.close()


class _Clients:
    """Sockets whose clients speak up. The last ones do so alone, the others together."""

    def __init__(self, plan: Plan, load: Generators) -> None:
        self._plan = plan
        self._load = load

    async def alone(self, source: Source) -> Wake:
        """One after the other."""
        plan = self._plan
        once = await self._load.once(
            spread_s=None, timeout_s=LIMIT_S, first=plan.waking, count=plan.waking_alone
        )
        return _outside(source, 1, once)

    async def together(self, source: Source) -> Wake:
        """All at once."""
        count = self._plan.waking
        once = await self._load.once(spread_s=0.0, timeout_s=LIMIT_S, first=0, count=count)
        return _outside(source, count, once)


class _Hosts:
    """Some hosts, each a process, which share the sessions evenly."""

    def __init__(self, plan: Plan, processes: list[asyncio.subprocess.Process]) -> None:
        self._plan = plan
        self._processes = processes

    async def run(self) -> list[Wake]:
        """From Redis and from memory, then from Postgres alone."""
        plan = self._plan
        share = -(-plan.waking // len(self._processes))
        await self._all("tell", sessions=share, messages=plan.waking_messages)
        found = [await self._alone("Redis"), await self._alone("memory")]
        rounds = [
            (await self._together("Redis"), await self._together("memory")) for _ in range(ROUNDS)
        ]
        found += (_inside("Redis", plan.waking, [redis for redis, _ in rounds]),)
        found += (_inside("memory", plan.waking, [memory for _, memory in rounds]),)
        await self.forget()
        found.append(await self._alone("Postgres"))
        cold = [await self._together("Postgres") for _ in range(ROUNDS)]
        return [*found, _inside("Postgres", plan.waking, cold)]

    async def forget(self) -> None:
        """Leave all sessions of the instance to Postgres alone."""
        await ask(self._processes[0], {"do": "forget"})

    async def _alone(self, source: Source) -> Wake:
        command = {"do": "alone", "source": source, "count": self._plan.waking_alone}
        return _inside(source, 1, [await ask(self._processes[0], command)])

    async def _together(self, source: Source) -> dict[str, Any]:
        return await self._all("together", source=source, begin=time.monotonic() + _SOON_S)

    async def _all(self, what: str, **rest: Any) -> dict[str, Any]:
        command = {"do": what, **rest}
        return merge(await asyncio.gather(*(ask(process, command) for process in self._processes)))


def _inside(source: Source, at_once: int, rounds: list[dict[str, Any]]) -> Wake:
    """Some rounds of the same; `trips` are those of the last."""
    return Wake(
        seen="host",
        source=source,
        at_once=at_once,
        ms=stats.spread([ms for one in rounds for ms in one["ms"]]),
        bare_ms=stats.spread([ms for one in rounds for ms in one["bare_ms"]]),
        trips={store: rounds[-1].get(store, 0) for store in ("Postgres", "Redis")},
    )


def _outside(source: Source, at_once: int, once: dict[str, Any]) -> Wake:
    return Wake(
        seen="client",
        source=source,
        at_once=at_once,
        ms=stats.spread(once["accepted_ms"]),
        woke=once["woke"],
        errors=conductor.failures(once, "turn"),
    )


@contextlib.asynccontextmanager
async def _hosts(
    server: servers.Server, plan: Plan, provider: str, log: Path, count: int = HOSTS
) -> AsyncGenerator[_Hosts]:
    """Hosts of the bench's own, at the stores of this instance."""
    assert server.home is not None
    command = ["-m", "bench.waker", "--checkout", str(server.home)]
    command += ["--port", server.url.rpartition(":")[2]]
    environ = {**os.environ, **servers.troupe_environ(plan, provider)}
    with log.open("ab") as output:
        async with started(command, count, environ, output) as processes:
            yield _Hosts(plan, processes)
