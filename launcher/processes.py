"""The processes of an instance: started so that they die with it, found again, and taken down."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from launcher.tether import prctl

MARKER = "LAUNCHER_INSTANCE"
PR_SET_CHILD_SUBREAPER = 36
TETHER = Path(__file__).with_name("tether.py")


def adopt_orphans() -> None:
    """Have what our descendants leave behind fall to us, so that `sweep` finds it. Linux only."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def on_hangup(terminal: int, call: Callable[[], object]) -> None:
    """Call once, from another thread, when the terminal of this file descriptor is closed.

    The kernel tells that to the leader of the session alone, which a shell passes on and make does
    not. Nothing is read from it, and where it is no terminal there is nothing to wait for.
    """
    if not os.isatty(terminal):
        return
    poll = select.poll()
    poll.register(terminal, 0)  # hang-ups and errors are reported all the same

    def wait() -> None:
        poll.poll()
        call()

    threading.Thread(target=wait, name="terminal", daemon=True).start()


async def start(
    command: list[str],
    *,
    log: Path,
    environ: Mapping[str, str],
    cwd: Path,
    listens: bool = False,
    talks: bool = False,
    death_signal: int = signal.SIGKILL,
) -> asyncio.subprocess.Process:
    """Start a program in a process group of its own, so that Ctrl-C reaches the supervisor alone.

    Must be called in the main thread: the kernel takes the end of the thread that started a
    process for the end of its parent.

    Args:
        command: The program and its arguments.
        log: The file that its output is added to.
        environ: Its environment.
        cwd: Its working directory.
        listens: Whether it gets a pipe as its standard input.
        talks: Whether its standard output is a pipe instead of the log.
        death_signal: What it gets when this process ends, however that happens.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    options = ["--parent", str(os.getpid()), "--signal", str(int(death_signal))]
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(TETHER), *options, "--", *command),
            stdin=asyncio.subprocess.PIPE if listens else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if talks else file,
            stderr=file,
            cwd=cwd,
            env=dict(environ),
            process_group=0,
        )


async def stop(process: asyncio.subprocess.Process, number: int, within_s: float) -> None:
    """Send a signal and wait for the end; by force when it takes too long."""
    if process.returncode is not None:
        return
    _send(process.pid, number)
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        _send(process.pid, signal.SIGKILL)
        await process.wait()


def marked(marker: str) -> Iterator[psutil.Process]:
    """Processes of this user with this marker in their environment."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.environ().get(MARKER) == marker:
                yield process
        except (psutil.Error, OSError):
            continue  # gone, or another user's


def descendants(spare: Iterable[int] = ()) -> list[psutil.Process]:
    """What descends from this process, without the subtrees of the pids to spare."""
    spared = set(spare)
    found: list[psutil.Process] = []
    waiting = [psutil.Process()]
    while waiting:
        try:
            children = waiting.pop().children()
        except psutil.Error:
            continue
        for child in children:
            if child.pid not in spared:
                found.append(child)
                waiting.append(child)
    return found


def sweep(marker: str, spare: Iterable[int] = (), within_s: float = 5.0) -> list[str]:
    """Kill whatever is left of an instance; descendants and bearers of its marker.

    Again and again until none is found, since what dies may leave orphans that come to us then.

    Returns:
        Names of what would not die in time.
    """
    deadline = time.monotonic() + within_s
    while True:
        left = {process.pid: process for process in (*descendants(spare), *marked(marker))}
        for pid in list(left):
            try:
                # psutil compares start times, so a pid that was given out anew is not hit.
                left[pid].kill()
            except psutil.Error:
                del left[pid]
        psutil.wait_procs(list(left.values()), timeout=0.5)
        living = [process for process in left.values() if process.is_running()]
        living = [process for process in living if not _is_dead(process)]
        if not left:
            return []
        if time.monotonic() > deadline:
            return [f"{_name(process)} ({process.pid})" for process in living]


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "?"


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
