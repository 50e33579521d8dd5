"""`python -m bench`: run it all, print the figures, keep them."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from bench import conductor, report, rules, servers, sleep, storm, wake
from bench.facts import facts
from bench.figures import Found, Result
from bench.generator import GeneratorError
from bench.plan import PARTS, Part, Plan, Target
from bench.verdict import checks

_QUIET = 0.5
"""The load average up to which a machine counts as idle."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def read_plan(words: list[str]) -> tuple[Plan, bool]:
    """The plan that the command line asks for, and whether a missed promise is an error."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Troupe beside a stateless proxy."
    )
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,…", help=",".join(PARTS))
    parser.add_argument("--sessions", default=",".join(map(str, usual.counts)), metavar="N,N,…")
    parser.add_argument("--seconds", type=float, default=usual.window_s, help="counted, each time")
    parser.add_argument("--warm", type=float, default=usual.warm_s, help="seconds before that")
    parser.add_argument("--target", choices=("troupe", "proxy", "both"), default="both")
    parser.add_argument("--waking", type=int, default=usual.waking, help="sessions, together")
    parser.add_argument("--asleep", type=int, default=usual.asleep, help="sockets")
    parser.add_argument("--talking", type=int, default=usual.talking, help="of those asleep")
    parser.add_argument("--storm", type=int, default=usual.storm, help="sessions in the storm")
    parser.add_argument("--out", type=Path, default=usual.out, help="folder of the results")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the think times")
    parser.add_argument("--generators", type=int, default=1, help="load generator processes")
    parser.add_argument("--url", help="measure a running Troupe instead of starting one")
    parser.add_argument("--pid", type=int, help="with --url: the process whose tree it is")
    parser.add_argument("--key", help="with --url: its bearer key")
    parser.add_argument("--strict", action="store_true", help="exit with 1 on a missed promise")
    options = parser.parse_args(words)
    asked = options.only.split(",")
    parts: tuple[Part, ...] = tuple(part for part in PARTS if part in asked)
    if not parts or len(parts) != len(asked):
        parser.error(f"--only takes some of {', '.join(PARTS)}, separated by commas")
    if options.url:
        # The others put servers into states that nobody else's are to be put into.
        if options.only not in ("load", ",".join(PARTS)):
            parser.error("--url measures the load alone")
        parts = ("load",)
    targets: tuple[Target, ...] = usual.targets
    if options.target != "both":
        targets = (options.target,)
    try:
        counts = tuple(int(count) for count in options.sessions.split(","))
        if min(counts) < 1:
            raise ValueError
    except ValueError:
        parser.error("--sessions takes whole numbers above 0, separated by commas")
    if options.seconds <= 0 or options.warm < 0 or options.generators < 1:
        parser.error("--seconds and --generators must be above 0, --warm not below")
    if min(options.waking, options.talking, options.storm) < 1 or options.talking > options.asleep:
        parser.error(
            "--waking, --talking and --storm must be above 0, --talking not above --asleep"
        )
    plan = Plan(
        parts=parts,
        counts=counts,
        targets=targets,
        window_s=options.seconds,
        warm_s=options.warm,
        seed=options.seed,
        waking=options.waking,
        asleep=options.asleep,
        talking=options.talking,
        storm=options.storm,
        generators=options.generators,
        out=options.out,
        url=options.url,
        pid=options.pid,
        headers={"Authorization": f"Bearer {options.key}"} if options.key else {},
    )
    return plan, options.strict


async def measure(plan: Plan, logs: Path) -> Found:
    """Run the plan; what was found so far is kept when it is interrupted."""
    found = Found()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever ends the run, the servers that it started end with it.
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    servers.allow_many_sockets()
    try:
        for part in plan.parts:
            try:
                await _measure_part(part, plan, logs, found)
            except (servers.StartError, GeneratorError, aiohttp.ClientError) as error:
                say(f"{part}: FAILED: {error}")
    except asyncio.CancelledError:
        say("interrupted; what was measured so far:")
    return found


async def _measure_part(part: Part, plan: Plan, logs: Path, found: Found) -> None:
    if part == "load":
        async for one in conductor.run(plan, logs, say):
            found.results.append(one)
            _doubt(one)
    elif part == "wake":
        async for one in wake.run(plan, logs, say):
            found.wakes.append(one)
    elif part == "rules":
        found.decidings.append(await rules.run(plan, say))
    elif part == "storm":
        weathered = await storm.run(plan, logs, say)
        found.storms.append(weathered)
        _doubt(weathered.calm)
        _doubt(weathered.storm)
    else:
        slept = await sleep.run(plan, logs, say)
        found.sleeps.append(slept)
        _doubt(slept.among)
        _doubt(slept.alone)


def _doubt(one: Result) -> None:
    for doubt in one.warnings:
        say(f"    warning: {doubt}")


def main() -> int:
    """Measure, print, keep; 1 if nothing was measured, or if `--strict` and a promise is missed."""
    plan, strict = read_plan(sys.argv[1:])
    began = datetime.now(UTC)
    say(
        f"{', '.join(plan.parts)}: about {plan.estimate_s() / 60:.0f} minutes; "
        f"provider: {plan.ttft_ms} ms + {plan.tokens} tokens x {plan.gap_ms} ms; "
        f"sessions answer after {plan.think_s:g} s on average"
    )
    busy = os.getloadavg()[0]
    if busy > _QUIET:
        say(f"warning: something keeps this machine busy (load average {busy:.1f})")
    logs = Path(tempfile.mkdtemp(prefix="troupe-bench-"))
    say(f"what the servers print goes to {logs}")
    found = asyncio.run(measure(plan, logs))
    judged = checks(found)
    if not judged:
        return 1
    machine: dict[str, Any] = {**facts(), "load_average_before": round(busy, 2)}
    say(f"\n{report.everything(found)}\n\n{report.judgement(judged)}\n")
    plan.out.mkdir(parents=True, exist_ok=True)
    name = began.strftime("%Y-%m-%dT%H%M%SZ")
    document = report.document(plan, machine, found, judged, began.isoformat())
    title = f"{machine['cores']} cores, {machine['cpu']}; {began:%Y-%m-%d}; "
    title += f"Python {machine['python']}, Ray {machine['packages']['ray']}"
    # The plot needs a large library that a run without it can do without until here.
    from bench.plot import draw, drawable

    report.save(document, plan.out / f"{name}.json")
    shutil.copyfile(plan.out / f"{name}.json", plan.out / "latest.json")
    if drawable(found):
        draw(found, title, plan.out / f"{name}.png")
        shutil.copyfile(plan.out / f"{name}.png", plan.out / "latest.png")
    kept = "and its picture, and" if drawable(found) else "and"
    say(f"kept in {plan.out}: {name}.json {kept} as latest.*")
    missed = any(check.passed is False for check in judged)
    return 1 if strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
