"""`python -m chaos`: run it, print what was found, keep it; 1 unless every count is 0."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import report as bench_report
from bench.facts import facts
from bench.servers import StartError
from chaos import conductor, report
from chaos.conductor import Outcome
from chaos.plan import FAULTS, Plan
from chaos.plants import PLANTS


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def read_plan(words: list[str]) -> Plan:
    """The plan that the command line asks for."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Kill parts of a Troupe while people talk to it."
    )
    parser.add_argument("--sessions", type=int, default=usual.sessions)
    parser.add_argument(
        "--seconds",
        type=float,
        default=usual.seconds,
        help="since the first fault; each strikes once in turn in any case",
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help="of what strikes when")
    parser.add_argument(
        "--faults", default=",".join(FAULTS), metavar="NAME,…", help=f"of {', '.join(FAULTS)}"
    )
    parser.add_argument("--hosts", type=int, default=usual.hosts)
    parser.add_argument("--gateways", type=int, default=usual.gateways)
    parser.add_argument(
        "--plant", choices=sorted(PLANTS), help="put one defect into the records; it must be found"
    )
    parser.add_argument("--out", type=Path, default=usual.out, help="folder of the results")
    options = parser.parse_args(words)
    faults = tuple(name.strip() for name in options.faults.split(",") if name.strip())
    unknown = [name for name in faults if name not in FAULTS]
    if unknown or not faults:
        parser.error(f"--faults takes some of {', '.join(FAULTS)}, not {', '.join(unknown)!r}")
    if min(options.sessions, options.hosts, options.gateways) < 1 or options.seconds < 0:
        parser.error("--sessions, --hosts and --gateways must be above 0, --seconds not below")
    return Plan(
        sessions=options.sessions,
        seconds=options.seconds,
        seed=options.seed,
        faults=faults,
        hosts=options.hosts,
        gateways=options.gateways,
        plant=options.plant,
        out=options.out,
    )


async def prove(plan: Plan, logs: Path) -> Outcome | None:
    """Run the plan; None if it was interrupted. Whoever ends it, what it started ends with it."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await conductor.run(plan, logs, say)
    except asyncio.CancelledError:
        say("interrupted; nothing was checked")
    except StartError as error:
        say(f"it did not start: {error}")
    return None


def main() -> int:
    """Run, print, keep; 0 if every count is 0."""
    plan = read_plan(sys.argv[1:])
    began = datetime.now(UTC)
    say(f"seed {plan.seed}; {plan.sessions} sessions; {', '.join(plan.faults)}")
    logs = Path(tempfile.mkdtemp(prefix="troupe-chaos-"))
    say(f"what the servers print goes to {logs}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(prove(plan, logs))
    if outcome is None:
        return 1
    say(f"\n{report.table(outcome)}\n")
    plan.out.mkdir(parents=True, exist_ok=True)
    document = report.document(outcome, facts(), began.isoformat())
    name = began.strftime("%Y-%m-%dT%H%M%SZ")
    # The plot needs a large library that a run without it can do without until here.
    from chaos.plot import draw

    title = f"{plan.sessions} sessions, {len(outcome.strikes)} faults, seed {plan.seed}; {began:%F}"
    for stem in (name, "latest"):
        bench_report.save(document, plan.out / f"{stem}.json")
        draw(outcome, title, plan.out / f"{stem}.png")
    say(f"kept: {plan.out / name}.json and .png, and as latest.*")
    verdict = "PASS: every count is 0" if report.passed(outcome) else "FAIL"
    say(f"{verdict}; seed {plan.seed}")
    return 0 if report.passed(outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
