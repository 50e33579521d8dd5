"""Sockets that are connected and asleep: what they cost, and whether those that talk notice.

connect    all of them, one turn each, then silence until the sessions are let go: memory
reconnect  the same with clients that offer compression, as browsers do: memory again
among      some of them talk while all the others sleep
alone      as many talk with the others gone, on the same servers
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench import conductor, servers
from bench.conductor import LIMIT_S, OPENS_AT_ONCE, Say
from bench.figures import Idle, Result, Sleep, result
from bench.generator import Generators, generators
from bench.plan import Plan
from bench.wake import fall_asleep, sleepy

IDLE_S = 20
"""Short enough to wait for, and long enough that few sessions of those that talk fall asleep."""
_UNREST_S = 3.0


async def run(plan: Plan, logs: Path, say: Say) -> Sleep:
    """Measure all of it on one instance."""
    plan = sleepy(plan, IDLE_S)
    log = logs / "sleep.log"

    def tell(text: str) -> None:
        say(f"sleep: {text}")

    tell("starting")
    async with (
        servers.simulator() as (provider, simulator_pid),
        servers.server("troupe", plan, provider, log) as server,
        generators(server.url, plan) as load,
    ):
        tell(f"up after {server.started_in_s:.0f} s; warming up")
        await conductor.rehearse("troupe", server.url, plan, load)
        await asyncio.sleep(plan.idle_s / 2)
        before = server.processes.pss_kb()
        tell(f"{plan.asleep} conversations")
        paths = await conductor.new_paths("troupe", server.url, plan, plan.asleep)
        errors = await conductor.connected(plan, load, paths, tell)
        tell(f"silence for {IDLE_S} s")
        await fall_asleep(IDLE_S)
        plain = await conductor.at_rest(plan, server.processes, before, len(paths))
        await load.close()
        tell("the same with clients that offer compression")
        opened = await load.open(paths, at_once=OPENS_AT_ONCE, timeout_s=LIMIT_S, offer=True)
        errors |= conductor.failures(opened, "open again")
        compressed: int = opened["compressed"]
        await fall_asleep(IDLE_S)
        offering = await conductor.at_rest(plan, server.processes, before, len(paths))

        async def talk(talking: int | None, idle: Idle) -> Result:
            tell(f"{plan.talking} talk: {plan.window_s:.0f} s counted")
            raw, usage = await conductor.under_load(
                plan, server.processes, load, simulator_pid, talking
            )
            return result(
                plan,
                "troupe",
                plan.talking,
                errors_before={},
                raw=raw,
                usage=usage,
                idle=idle,
                started_in_s=server.started_in_s,
                processes=[use._asdict() for use in server.processes.listing()],
            )

        once = await _spoken_to(plan, load)
        errors |= conductor.failures(once, "first turn after the silence")
        among = await talk(plan.talking, offering)
        await load.close()
        await asyncio.sleep(_UNREST_S)
        few = paths[: plan.talking]
        opened = await load.open(few, at_once=OPENS_AT_ONCE, timeout_s=LIMIT_S)
        errors |= conductor.failures(opened, "open alone")
        await load.once(spread_s=_UNREST_S, timeout_s=LIMIT_S)
        alone = await talk(None, offering)
        await load.close()
        return Sleep(
            sockets=len(paths),
            plain=plain.figures(),
            offering=offering.figures(),
            compressed=compressed,
            asked=sum(once["outcomes"].values()),
            woke=once["woke"],
            among=among,
            alone=alone,
            errors=errors,
        )


async def _spoken_to(plan: Plan, load: Generators) -> dict[str, Any]:
    """One turn for each of those that will talk."""
    count = plan.talking // plan.generators
    return await load.once(spread_s=_UNREST_S, timeout_s=LIMIT_S, first=0, count=count)
