"""What a decision costs: a turn goes through its rules on the loop that all sessions share."""

from __future__ import annotations

from bench import stats
from bench.conductor import Say
from bench.figures import Deciding
from bench.generator import ask, started
from bench.plan import Plan


async def run(plan: Plan, say: Say) -> Deciding:
    """Measure it in a process that does nothing else."""
    say(f"rules: {plan.decisions} decisions over {plan.rules} rules")
    async with started(["-m", "bench.decider"], 1) as (process,):
        answer = await ask(process, {"rules": plan.rules, "decisions": plan.decisions})
    return Deciding(plan.rules, stats.spread(answer["us"]))
