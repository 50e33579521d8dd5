"""A provider fails under load: whether anybody notices, and how soon the bad endpoints are left.

One agent with three endpoints at the provider, all alike, and one load twice on the same sessions:

    calm       all three are fine
    storm      some seconds into it one endpoint begins to refuse with 429, and a while later
               another one begins to fall silent after some tokens; the third stays fine

What the endpoints were asked is the provider's own record, not ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson

from bench import conductor, servers
from bench.conductor import Say
from bench.figures import Asked, Result, Storm, result
from bench.generator import generators
from bench.plan import Plan

SILENCE_S = 2.0
"""How long the agent's models may be silent: a person waits so long for an answer to go on."""
PROBES_PER_S = 2
"""What may reach a bad endpoint without counting as traffic: one request of each host."""
_UNREST_S = 3.0
now = time.monotonic


class Outage(NamedTuple):
    """What becomes of one endpoint, how long after the window has opened, and in what words."""

    endpoint: str
    after_s: float = 0.0
    script: str | None = None
    words: str = ""


OUTAGES = (
    Outage("refusing", 4.0, "fault=rate_limit;ttft_ms=20", "answers 429"),
    Outage("silent", 8.0, "fault=stall;at=5", "falls silent after 5 tokens"),
    Outage("fine", words="stays fine"),
)


def model_of(plan: Plan, number: int) -> str:
    """The name that tells one endpoint's requests from another's. All answer alike."""
    return f"{plan.provider_model}.seed-{number}"


def three_endpoints(plan: Plan, provider: str) -> Plan:
    """The plan with an agent whose endpoints are three models of the provider."""
    endpoints = [
        {
            "name": outage.endpoint,
            "model": model_of(plan, number),
            "base_url": f"{provider}/v1",
            "api_key_env": "OPENAI_API_KEY",
        }
        for number, outage in enumerate(OUTAGES)
    ]
    settings = {
        "TROUPE_AGENTS__GPT__ENDPOINTS": orjson.dumps(endpoints).decode(),
        "TROUPE_AGENTS__GPT__TIMEOUT_S": f"{SILENCE_S:g}",
    }
    return replace(plan, settings={**plan.settings, **settings})


async def run(plan: Plan, logs: Path, say: Say) -> Storm:
    """Measure both on one instance."""

    def tell(text: str) -> None:
        say(f"storm: {text}")

    tell("starting")
    log = logs / "storm.log"
    async with servers.simulator() as (provider, simulator_pid):
        plan = three_endpoints(plan, provider)
        async with (
            aiohttp.ClientSession(provider) as client,
            servers.server("troupe", plan, provider, log) as server,
            generators(server.url, plan) as load,
        ):
            tell(f"up after {server.started_in_s:.0f} s; warming up")
            for number in range(len(OUTAGES)):
                await _order(client, model_of(plan, number), None)
            await conductor.rehearse("troupe", server.url, plan, load)
            await asyncio.sleep(plan.idle_s / 2)
            before = server.processes.pss_kb()
            paths = await conductor.new_paths("troupe", server.url, plan, plan.storm)
            errors = await conductor.connected(plan, load, paths, tell)
            idle = await conductor.at_rest(plan, server.processes, before, len(paths))

            async def talk(errors_before: Mapping[str, int]) -> Result:
                raw, usage = await conductor.under_load(plan, server.processes, load, simulator_pid)
                return result(
                    plan,
                    "troupe",
                    plan.storm,
                    errors_before=errors_before,
                    raw=raw,
                    usage=usage,
                    idle=idle,
                    started_in_s=server.started_in_s,
                    processes=[use._asdict() for use in server.processes.listing()],
                )

            tell(f"{plan.storm} talk, all is well: {plan.window_s:.0f} s counted")
            calm = await talk(errors)
            await asyncio.sleep(_UNREST_S)
            tell(f"the same, and two of three endpoints fail: {plan.window_s:.0f} s counted")
            opens = now() + plan.warm_s
            storm, _ = await asyncio.gather(talk({}), break_down(plan, client, opens, tell))
            async with client.get("/_sim/faults") as answer:
                shown: dict[str, Any] = (await answer.json())["models"]
            await load.close()
            asked = [
                asked_of(outage, shown[model_of(plan, number)], opens, opens + plan.window_s)
                for number, outage in enumerate(OUTAGES)
            ]
            return Storm(plan.storm, calm, storm, asked)


async def break_down(
    plan: Plan,
    client: aiohttp.ClientSession,
    opens: float,
    say: Say,
    outages: Sequence[Outage] = OUTAGES,
) -> None:
    """Order each outage when its time has come, counted from `opens` (CLOCK_MONOTONIC)."""
    for number, outage in enumerate(outages):
        if outage.script is not None:
            await asyncio.sleep(opens + outage.after_s - now())
            await _order(client, model_of(plan, number), outage.script)
            say(f"endpoint {outage.endpoint}: {outage.words}")


async def _order(client: aiohttp.ClientSession, model: str, script: str | None) -> None:
    order = {"model": model, "script": script}
    async with client.post("/_sim/faults", json=order) as answer:
        answer.raise_for_status()


def asked_of(outage: Outage, shown: Mapping[str, Any], opens: float, closes: float) -> Asked:
    """What one endpoint was asked while the window was open.

    Args:
        shown: The provider's record of its model: `asked` and `since`, CLOCK_MONOTONIC seconds.
        opens, closes: The window, by the same clock.
    """
    times = [moment for moment in shown["asked"] if opens <= moment < closes]
    per_s = [0] * max(1, round(closes - opens))
    for moment in times:
        per_s[min(int(moment - opens), len(per_s) - 1)] += 1
    asked = Asked(outage.endpoint, outage.words, len(times), per_s)
    if outage.script is None:
        return asked
    began: float = shown["since"]
    after = [moment for moment in times if moment >= began]
    last = last_crowd(after, PROBES_PER_S)
    ceased = last is None or last < closes - 1.0
    return replace(
        asked,
        began_s=round(began - opens, 3),
        after=len(after),
        left_after_s=round((last or began) - began, 3) if ceased else None,
    )


def last_crowd(times: Sequence[float], few: int) -> float | None:
    """The last moment at which more than `few` requests had come within a second; None: never."""
    ordered = sorted(times)
    pairs = zip(ordered, ordered[few:], strict=False)
    crowds = [last for first, last in pairs if last - first < 1.0]
    return crowds[-1] if crowds else None
