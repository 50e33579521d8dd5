"""Decisions over many rules, in a process of its own: what one costs on a host's event loop.

It uses Troupe's own code, since what it measures happens inside a turn and waits for nothing. It
takes one command as `load` does, and answers it:

    {"rules": 100, "decisions": 5000}  ->  {"us": [...]}

Each rule is an expression in CEL of one of the usual kinds; only the last one matches. Every
message is another one, and its first rule pays for making its facts ready.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

import orjson
import uvloop

from contracts.decisions import RoutingInput
from routing.decide import AUTO, decide
from routing.rules import RuleSet, RuleSpec, compile_rules

AGENTS = ("large", "small", "german")
KINDS = (
    'user.tier == "tier-{n}"',
    'message.text.contains("needle-{n}")',
    'message.length > 20000 && session.turns > {n} && session.agent == "small"',
    'message.text.words(["needle {n}", "haystack {n}", "straw {n}"])',
    'message.metadata.get("plan") in ["plan-{n}", "plan-x{n}"]',
    'org.tier == "internal" && hour(now, "Europe/Berlin") >= 8 && turn.number > {n}',
    'message.text.matches(r"(?i)\\bneedle[- ]?(no|nr)\\.? {n}\\b")',
    "session.failures > {n} + 2 || turn.background",
    'user.id.glob("beta-{n}-*")',
    'message.attachments.exists(one, one.type == "kind-{n}")',
)
_MESSAGE = "Number {n}: could you have a look at the invoice of last week, please? It says that "
_WARM = 200


def rule_set(rules: int) -> RuleSet:
    """As many rules, the last but one of which is the first to match."""
    whens = [KINDS[n % len(KINDS)].replace("{n}", str(n)) for n in range(rules - 2)]
    specs = [RuleSpec(f"rule-{n}", AGENTS[n % len(AGENTS)], when) for n, when in enumerate(whens)]
    last = RuleSpec("last", "german", 'message.text.contains("invoice")')
    return compile_rules([*specs, last, RuleSpec("rest", "large")], AGENTS)


def message(number: int) -> RoutingInput:
    """A message of some 400 characters."""
    return RoutingInput(
        _MESSAGE.format(n=number) * 5,
        {"tier": "gold", "plan": "monthly", "locale": "de-DE"},
        f"user-{number}",
        now=1_750_000_000.0 + number,
        org_id="org_bench",
        session_id=f"conv_{number}",
        turn=3,
        messages=4,
        agent="large",
        attachments=({"type": "image"},),
    )


async def measure(rules: int, decisions: int) -> list[float]:
    """Microseconds of each decision."""
    compiled = rule_set(rules)
    found: list[float] = []
    gc.freeze()
    for number in range(-_WARM, decisions):
        given = message(number)
        began = time.perf_counter()
        decision = await decide(compiled, AGENTS, AUTO, given)
        took = time.perf_counter() - began
        if decision.rule != "last":
            raise RuntimeError(f"rule {decision.rule} took a message that was meant for the last")
        if number >= 0:
            found.append(took * 1e6)
    return found


async def serve() -> None:
    """Answer commands until stdin ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        command: dict[str, Any] = orjson.loads(line)
        sys.stdout.buffer.write(orjson.dumps({"us": await measure(**command)}) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(serve())  # as Ray does in the actor that a host is
