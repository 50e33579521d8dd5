"""How long a sleeping session takes to wake: from memory, from Redis, from Postgres alone.

Seen from within a host (`waker`) and, on the same instance, by clients: sockets that stay connected
while their sessions sleep. One session at a time, and many at the same moment. The provider answers
with one token at once, since it is not what is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from bench import conductor, servers, stats
from bench.conductor import LIMIT_S, Say
from bench.figures import Source, Wake
from bench.generator import GeneratorError, Generators, generators
from bench.plan import Plan

IDLE_S = 10
SWEEP_S = 5
"""A host looks for idle sessions at least this often."""
_SPARE_S = 3
_WAKER_S = 120.0


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
        say(f"wake: {plan.waking_alone} one at a time and {plan.waking} together, in a host")
        for found in await _waker("measure", server, plan, provider, log):
            yield _inside(found)
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
        await _waker("forget", server, plan, provider, log)
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


def _inside(found: dict[str, Any]) -> Wake:
    return Wake(
        seen="host",
        source=found["source"],
        at_once=found["at_once"],
        ms=stats.spread(found["ms"]),
        bare_ms=stats.spread(found["bare_ms"]),
        trips=found["trips"],
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


async def _waker(
    what: str, server: servers.Server, plan: Plan, provider: str, log: Path
) -> list[dict[str, Any]]:
    """Have `bench.waker` do something to the instance.

    Raises:
        GeneratorError: It failed; what it printed is in the log.
    """
    assert server.home is not None
    command = ["-m", "bench.waker", what, "--checkout", str(server.home)]
    command += ["--port", server.url.rpartition(":")[2]]
    command += ["--together", str(plan.waking), "--alone", str(plan.waking_alone)]
    command += ["--messages", str(plan.waking_messages)]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=servers.ROOT,
            env={**os.environ, **servers.troupe_environ(plan, provider)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
        )
    try:
        async with asyncio.timeout(_WAKER_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise GeneratorError(f"bench.waker {what} ended with {process.returncode}")
    wakes: list[dict[str, Any]] = orjson.loads(said)["wakes"]
    return wakes
