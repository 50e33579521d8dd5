"""The conductor's handle on the load generators: the same command to each, answers put together."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import IO, Any

import orjson

from bench.plan import Plan
from bench.servers import ROOT

_LINE_BYTES = 1 << 28
_STOP_S = 5.0


class GeneratorError(Exception):
    """A generator process ended or answered nonsense."""


class Generators:
    """Some generator processes that share the sessions evenly."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._processes]

    async def open(
        self, paths: list[str], *, at_once: int, timeout_s: float, offer: bool = False
    ) -> dict[str, Any]:
        """Open a session at each path; how many came up, and why the others did not."""
        many = len(self._processes)
        shares = [paths[index::many] for index in range(many)]
        at_once = max(1, at_once // many)
        common = {"do": "open", "at_once": at_once, "timeout_s": timeout_s, "offer": offer}
        return await self._all([{**common, "paths": share} for share in shares])

    async def once(
        self,
        *,
        spread_s: float | None,
        timeout_s: float,
        first: int = 0,
        count: int | None = None,
    ) -> dict[str, Any]:
        """One turn for each session, or for `count` of each generator's from its `first` on."""
        command = {"do": "once", "spread_s": spread_s, "timeout_s": timeout_s}
        return await self._all([{**command, "first": first, "count": count}] * len(self._processes))

    async def run(self, plan: Plan, begin: float, talking: int | None = None) -> dict[str, Any]:
        """The load, from `begin` (CLOCK_MONOTONIC) until the last turn of the window is over.

        Args:
            talking: How many sessions talk while the others listen; None: all.
        """
        command: dict[str, Any] = {
            "do": "run",
            "begin": begin,
            "warm_s": plan.warm_s,
            "window_s": plan.window_s,
            "drain_s": plan.drain_s,
            "think_s": plan.think_s,
        }
        many = len(self._processes)
        return await self._all(
            [
                {
                    **command,
                    "seed": plan.seed * 1000 + index,
                    "talking": None if talking is None else len(range(index, talking, many)),
                }
                for index in range(many)
            ]
        )

    async def close(self) -> None:
        """Close all sessions."""
        await self._all([{"do": "close"}] * len(self._processes))

    async def _all(self, commands: list[dict[str, Any]]) -> dict[str, Any]:
        pairs = zip(self._processes, commands, strict=True)
        return merge(await asyncio.gather(*(ask(*pair) for pair in pairs)))


async def ask(process: asyncio.subprocess.Process, command: dict[str, Any]) -> dict[str, Any]:
    """Send a command, as a line of JSON, and read the answer, which is another."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(orjson.dumps(command) + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise GeneratorError("a process of the bench ended; its error is above or in the log")
    return orjson.loads(line)


def merge(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what several generators counted, and join what they listed."""
    merged: dict[str, Any] = {}
    for answer in answers:
        for key, value in answer.items():
            if key not in merged:
                merged[key] = value
            elif isinstance(value, dict):
                merged[key] = dict(Counter(merged[key]) + Counter(value))  # pyright: ignore
            else:
                merged[key] = merged[key] + value
    return merged


@contextlib.asynccontextmanager
async def generators(url: str, plan: Plan) -> AsyncGenerator[Generators]:
    """Start the generators against `url`, and stop them."""
    command = ["-m", "bench.load", "--url", url, "--model", "gpt", "--tokens", str(plan.tokens)]
    command += ["--headers", orjson.dumps(plan.headers).decode()]
    async with started(command, plan.generators) as processes:
        yield Generators(processes)


@contextlib.asynccontextmanager
async def started(
    words: list[str],
    count: int,
    environ: Mapping[str, str] | None = None,
    errors: IO[bytes] | None = None,
) -> AsyncGenerator[list[asyncio.subprocess.Process]]:
    """Processes of the bench that take commands, until the block ends.

    Args:
        words: What Python is to run.
        environ: Their variables; None: ours.
        errors: What takes their standard error; None: ours.
    """
    processes: list[asyncio.subprocess.Process] = []
    try:
        while len(processes) < count:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                cwd=ROOT,
                env=environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=_LINE_BYTES,
                start_new_session=True,
            )
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Close a process's stdin, at which it leaves; kill it if it does not."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
