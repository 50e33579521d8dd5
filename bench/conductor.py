"""The order of a run. For each number of sessions and each target, from a fresh server:

    start      the server, then some sessions and turns that are not counted: imports and pools
    idle       memory with nobody connected; connect all, one turn each, silence; memory again
    load       the same sockets think and ask; counted once the load is even
    stop       everything that was started

A target is measured alone: the other one is not running meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench import servers, stats
from bench.figures import Idle, Result, Usage, result
from bench.generator import GeneratorError, Generators, generators
from bench.plan import Plan, Target
from bench.processes import Processes, cpu_of, machine_cpu_s

Say = Callable[[str], None]
_REHEARSAL_SESSIONS = 32
_REHEARSAL_TURNS = 3
_CREATES_AT_ONCE = 16
OPENS_AT_ONCE = 64
LIMIT_S = 60.0
_LOOK_S = 0.5
_SOON_S = 0.3


async def run(plan: Plan, logs: Path, say: Say) -> AsyncIterator[Result]:
    """Yield each result as it is there, all targets at the smallest count first.

    A target that does not come up is reported with what it printed last, and left out.
    """
    steps: list[tuple[int, Target]] = [
        (sessions, target) for sessions in plan.counts for target in plan.targets
    ]
    async with servers.simulator() as (provider, simulator_pid):
        for number, (sessions, target) in enumerate(steps, 1):
            where = f"[{number}/{len(steps)}] {target}, {sessions} sessions"

            def tell(what: str, where: str = where) -> None:
                say(f"{where}: {what}")

            log = logs / f"{target}-{sessions}.log"
            try:
                done = await _measure(plan, target, sessions, provider, simulator_pid, log, tell)
            except (servers.StartError, GeneratorError, aiohttp.ClientError) as error:
                tell(f"FAILED: {error}\n{servers.tail(log)}")
            else:
                yield done


async def _measure(
    plan: Plan,
    target: Target,
    sessions: int,
    provider: str,
    simulator_pid: int,
    log: Path,
    say: Say,
) -> Result:
    say("starting")
    async with (
        servers.server(target, plan, provider, log) as server,
        generators(server.url, plan) as load,
    ):
        say(f"up after {server.started_in_s:.0f} s; warming up")
        await rehearse(target, server.url, plan, load)
        paths = await new_paths(target, server.url, plan, sessions)
        errors, idle = await _idle(plan, server.processes, load, paths, say)
        say(f"load: {plan.warm_s:.0f} s to settle, then {plan.window_s:.0f} s counted")
        raw, usage = await under_load(plan, server.processes, load, simulator_pid)
        await load.close()
        done = result(
            plan,
            target,
            sessions,
            errors_before=errors,
            raw=raw,
            usage=usage,
            idle=idle,
            started_in_s=server.started_in_s,
            processes=[use._asdict() for use in server.processes.listing()],
        )
        say(_short(done))
        return done


async def rehearse(target: Target, url: str, plan: Plan, load: Generators) -> None:
    """Some sessions and turns that are not counted."""
    paths = await new_paths(target, url, plan, _REHEARSAL_SESSIONS)
    await load.open(paths, at_once=OPENS_AT_ONCE, timeout_s=LIMIT_S)
    for _ in range(_REHEARSAL_TURNS):
        await load.once(spread_s=0.5, timeout_s=LIMIT_S)
    await load.close()


async def new_paths(target: Target, url: str, plan: Plan, count: int) -> list[str]:
    """Sockets of `count` new conversations; the proxy takes any name, Troupe creates them."""
    if target == "proxy":
        return [f"/v1/conversations/conv_{index}/ws" for index in range(count)]
    gate = asyncio.Semaphore(_CREATES_AT_ONCE)
    limit = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=limit, headers=plan.headers) as client:

        async def one() -> str:
            async with gate, client.post(f"{url}/v1/conversations", json={}) as answer:
                answer.raise_for_status()
                return f"/v1/conversations/{(await answer.json())['id']}/ws"

        return await asyncio.gather(*(one() for _ in range(count)))


async def _idle(
    plan: Plan, processes: Processes, load: Generators, paths: list[str], say: Say
) -> tuple[dict[str, int], Idle]:
    """Connect and activate all sessions; what went wrong, and what they cost while silent."""
    await asyncio.sleep(plan.idle_s / 2)
    before = processes.pss_kb()
    errors = await connected(plan, load, paths, say)
    say(f"silence for {plan.idle_s:.0f} s")
    await asyncio.sleep(plan.idle_s / 2)
    return errors, await at_rest(plan, processes, before, len(paths))


async def connected(plan: Plan, load: Generators, paths: list[str], say: Say) -> dict[str, int]:
    """Connect all sessions and have one turn each; what went wrong."""
    say("connecting")
    opened = await load.open(paths, at_once=OPENS_AT_ONCE, timeout_s=LIMIT_S)
    errors = failures(opened, "open")
    say(f"{opened['opened']} connected; one turn each")
    once = await load.once(spread_s=plan.activation_s(len(paths)), timeout_s=LIMIT_S)
    return errors | failures(once, "first turn")


def failures(answer: dict[str, Any], what: str) -> dict[str, int]:
    """What went wrong, in an answer of the generators to `open` or `once`."""
    outcomes: dict[str, int] = answer.get("failed") or answer.get("outcomes") or {}
    return {f"{what}: {how}": count for how, count in outcomes.items() if how != "ok"}


async def at_rest(
    plan: Plan, processes: Processes, before_kb: Mapping[str, float], sessions: int
) -> Idle:
    """What these connected sessions cost while nothing happens."""
    processes.look()
    began, used = time.monotonic(), processes.cpu_s()
    await asyncio.sleep(plan.idle_s)
    processes.look()
    return Idle(
        sessions=sessions,
        before_kb=before_kb,
        after_kb=processes.pss_kb(),
        cpu_s=stats.growth(used, processes.cpu_s()),
        watched_s=time.monotonic() - began,
    )


async def under_load(
    plan: Plan,
    processes: Processes,
    load: Generators,
    simulator_pid: int,
    talking: int | None = None,
) -> tuple[dict[str, Any], Usage]:
    """The load, and the CPU that everybody used while the window was open.

    Args:
        talking: How many of the sessions; None: all.
    """
    begin = time.monotonic() + _SOON_S
    raw, usage = await asyncio.gather(
        load.run(plan, begin, talking), _watch(plan, processes, load.pids, simulator_pid, begin)
    )
    return raw, usage


async def _watch(
    plan: Plan, processes: Processes, generator_pids: list[int], simulator_pid: int, begin: float
) -> Usage:
    """Read the counters when the window opens and when it closes, and look in between."""

    def used() -> tuple[float, float, float, float, float]:
        generators_s = sum(cpu_of(pid) for pid in generator_pids)
        return (generators_s, cpu_of(simulator_pid), cpu_of(os.getpid()), *machine_cpu_s())

    opens = begin + plan.warm_s
    await asyncio.sleep(opens - time.monotonic())
    processes.look()
    servers_before, before, began = processes.cpu_s(), used(), time.monotonic()
    while (left := opens + plan.window_s - time.monotonic()) > 0:
        await asyncio.sleep(min(_LOOK_S, left))
        processes.look()
    generators_s, simulator_s, bench_s, machine_s, steal_s = (
        after - earlier for after, earlier in zip(used(), before, strict=True)
    )
    return Usage(
        window_s=time.monotonic() - began,
        servers_s=stats.growth(servers_before, processes.cpu_s()),
        generators_s=generators_s,
        simulator_s=simulator_s,
        machine_s=machine_s,
        steal_s=steal_s,
        bench_s=bench_s,
    )


def _short(done: Result) -> str:
    """One line of progress about a result."""
    added, turn = done.added_ms, done.turn_ms
    return (
        f"{done.turns} turns, added p95 {added['p95']:.0f} ms, turn p95 {turn['p95']:.0f} ms, "
        f"{done.cpu_ms:.2f} CPU-ms a turn, {done.idle['kb_per_session']:.0f} KB a session, "
        f"{done.failed} errors, {done.damaged} damaged"
    )
