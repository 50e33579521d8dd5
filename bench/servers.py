"""Starts and stops what is measured, and the provider it talks to. Stops only what it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from bench.plan import Plan, Target
from bench.processes import MARK, Processes

ROOT = Path(__file__).resolve().parent.parent
_STOP_S = 40.0
_SIMULATOR_READY_S = 20.0
_TAIL_LINES = 30
_NOT_NEEDED = {"bench", "deploy", "docs", "requirements", "tests"}


class StartError(Exception):
    """A server did not come up; the message says what it printed last."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it answers and what it is made of.

    `home`: the copy of the checkout that it runs in, where that was made for it.
    """

    url: str
    processes: Processes
    started_in_s: float
    pid: int = -1
    home: Path | None = None


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def allow_many_sockets() -> int:
    """Raise the limit of open files as far as it goes, for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.asynccontextmanager
async def simulator() -> AsyncGenerator[tuple[str, int]]:
    """The provider: its address and its pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "simulator", "--port", "0", "--record", "0", "--watch-stdin"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_SIMULATOR_READY_S):
                line = (await process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        if "ready on " not in line:
            raise StartError(f"the simulator did not start: {line!r}")
        yield line.split()[-1], process.pid
    finally:
        await _stop(process, None, signal.SIGTERM)


@contextlib.asynccontextmanager
async def server(target: Target, plan: Plan, provider: str, log: Path) -> AsyncGenerator[Server]:
    """One of the targets, fresh, or the running one that the plan names.

    Args:
        provider: The simulator's address.
        log: File that takes what the server prints.
    """
    if target == "troupe" and plan.url is not None:
        yield Server(plan.url.rstrip("/"), Processes(plan.pid or -1), 0.0)
        return
    port, mark = free_port(), secrets.token_hex(8)
    environ = {**os.environ, MARK: mark}
    async with contextlib.AsyncExitStack() as stack:
        if target == "proxy":
            command = ["-m", "bench.proxy", "--port", str(port), "--provider", f"{provider}/v1"]
            command += ["--model", plan.provider_model]
            folder, probe, home = ROOT, "/", None
        else:
            command = ["-m", "launcher", "run", "--port", str(port)]
            environ |= troupe_environ(plan, provider)
            folder = home = stack.enter_context(own_checkout())
            probe = "/readyz"
        one = await stack.enter_async_context(
            running(
                command,
                folder,
                environ,
                f"http://127.0.0.1:{port}",
                probe,
                plan.start_limit_s,
                log,
            )
        )
        yield replace(one, home=home)


@contextlib.contextmanager
def own_checkout() -> Generator[Path]:
    """A copy of the code, so that this instance shares no server and no data with another one.

    It lies within the checkout, on the disk where the data of `make run` are: what a durable
    write costs depends on the disk.
    """
    (ROOT / ".troupe").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / ".troupe") as name:
        copy = Path(name)
        for entry in ROOT.iterdir():
            if entry.name.startswith(".") or entry.name in _NOT_NEEDED:
                continue
            if entry.is_dir():
                shutil.copytree(entry, copy / entry.name)
            else:
                shutil.copy2(entry, copy / entry.name)
        yield copy


@contextlib.asynccontextmanager
async def running(
    command: list[str],
    folder: Path,
    environ: dict[str, str],
    url: str,
    probe: str,
    start_limit_s: float,
    log: Path,
) -> AsyncGenerator[Server]:
    """Run a server until the block ends.

    Args:
        command: Words after the interpreter's.
        folder: Where it runs.
        environ: Its environment; `MARK` in it stands for all that it starts.
        url, probe: It is up once the two together answer 200.
        start_limit_s: How long that may take.
        log: File that takes what it prints.
    """
    began = time.monotonic()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    processes = Processes(process.pid, environ[MARK])
    try:
        await _ready(url + probe, process, start_limit_s, log)
        yield Server(url, processes, time.monotonic() - began, process.pid)
    finally:
        await _stop(process, processes, signal.SIGINT)


def troupe_environ(plan: Plan, provider: str) -> dict[str, str]:
    """Settings that make the agent `gpt` speak with the scripted provider, and no other be used."""
    return {
        **plan.settings,
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": f"{provider}/v1",
        "TROUPE_SIMULATOR__URL": provider,
        "TROUPE_AGENTS__GPT__MODEL": plan.provider_model,
    }


async def _ready(url: str, process: asyncio.subprocess.Process, limit_s: float, log: Path) -> None:
    """Wait until `url` answers 200; StartError if the process ends or the limit is reached."""
    deadline = time.monotonic() + limit_s
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise StartError(f"ended with {process.returncode}\n{tail(log)}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise StartError(f"not ready after {limit_s:.0f} s\n{tail(log)}")


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


async def _stop(
    process: asyncio.subprocess.Process, processes: Processes | None, how: signal.Signals
) -> None:
    """Ask politely, then make sure that nothing of it is left."""
    if process.returncode is None:
        process.send_signal(how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    for pid in processes.pids() if processes else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
