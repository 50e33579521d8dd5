"""What each fault does. Every one says in a few words what it hit."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from random import Random

import psutil
from redis.asyncio import Redis

from chaos.hand import Hand
from chaos.instance import Instance

Fault = Callable[["Target"], Awaitable[str]]
_WATCHED_S = 0.3


class NothingToHit(Exception):
    """What was to be hit is not there now."""


class Target:
    """What faults strike at.

    Args:
        instance: The Troupe.
        random: Draws which of several is hit.
        freeze_s: How long a frozen host stays so: longer than its replacement takes.
        hand: For those that Ray has to do; None where none of these is wanted.
    """

    def __init__(
        self, instance: Instance, random: Random, freeze_s: float, hand: Hand | None
    ) -> None:
        self.instance = instance
        self.random = random
        self.freeze_s = freeze_s
        self.hand = hand

    def one(self, processes: list[psutil.Process]) -> psutil.Process:
        """One of them."""
        if not processes:
            raise NothingToHit
        return self.random.choice(processes)

    async def busiest(self, processes: list[psutil.Process]) -> psutil.Process:
        """The one that works most. After a loss all sessions may live on one host."""
        before = [_cpu_s(process) for process in processes]
        await asyncio.sleep(_WATCHED_S)
        worked = [_cpu_s(process) - was for process, was in zip(processes, before, strict=True)]
        if not worked:
            raise NothingToHit
        return processes[worked.index(max(worked))]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _kill(part: str) -> Fault:
    async def strike(target: Target) -> str:
        process = target.one(target.instance.parts(part))
        process.kill()
        return f"killed pid {process.pid}"

    return strike


async def _kill_host(target: Target) -> str:
    process = await target.busiest(target.instance.parts("host"))
    process.kill()
    return f"killed pid {process.pid}"


async def _kill_all_haproxies(target: Target) -> str:
    """The running one, and those that a reload has left to their last connections."""
    processes = target.instance.parts("haproxy")
    target.one(processes)
    for process in processes:
        process.kill()
    return f"killed pid {', '.join(str(process.pid) for process in processes)}"


async def _kill_backend(target: Target) -> str:
    """One backend dies; Postgres then ends all others and recovers."""
    process = target.one(target.instance.backends())
    process.kill()
    return f"killed pid {process.pid}"


async def _freeze(target: Target) -> str:
    """A host that is not dead but silent, and comes back believing it owns what it had."""
    process = await target.busiest(target.instance.parts("host"))
    process.suspend()
    try:
        await asyncio.sleep(target.freeze_s)
    finally:
        process.send_signal(signal.SIGCONT)
    return f"pid {process.pid} stopped for {target.freeze_s:g} s"


async def _wipe(target: Target) -> str:
    redis = Redis.from_url(target.instance.environ()["REDIS_URL"])
    try:
        await redis.flushall()
    finally:
        await redis.aclose()
    return "emptied"


async def _amnesia(target: Target) -> str:
    """What was being said is on screens and nowhere else."""
    process = await target.busiest(target.instance.parts("host"))
    await _wipe(target)
    process.kill()
    return f"emptied Redis and killed pid {process.pid}"


async def _drain(target: Target) -> str:
    assert target.hand is not None
    host = await target.hand.order("fullest")
    if not host:
        raise NothingToHit
    await target.hand.order(f"drain {host}")
    return f"{host} is gone"


async def _redeploy(target: Target) -> str:
    assert target.hand is not None
    await target.hand.order("redeploy")
    return "ran the application again"


DONE_BY_RAY = frozenset({"drain", "redeploy"})
STRIKES: dict[str, Fault] = {
    "host": _kill_host,
    "gateway": _kill("gateway"),
    "directory": _kill("directory"),
    "haproxy": _kill_all_haproxies,
    "valkey": _kill("valkey"),
    "postgres": _kill("postgres"),
    "backend": _kill_backend,
    "freeze": _freeze,
    "wipe": _wipe,
    "amnesia": _amnesia,
    "drain": _drain,
    "redeploy": _redeploy,
}
