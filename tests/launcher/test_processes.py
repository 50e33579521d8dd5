from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from launcher import processes
from launcher.processes import MARKER

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    *(sys.executable, "-c"),
    "import signal, time; signal.signal(15, signal.SIG_IGN)\n"
    "print('here', flush=True); time.sleep(60)",
]


async def started(
    command: list[str], folder: Path, marker: str = "test"
) -> asyncio.subprocess.Process:
    process = await processes.start(
        command,
        log=folder / "logs" / "it.log",
        environ={**os.environ, MARKER: marker},
        cwd=folder,
        talks=True,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"here\n"
    return process


async def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    process = await started(SLEEP, tmp_path)
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    await processes.stop(process, signal.SIGTERM, 10)
    assert process.returncode == -signal.SIGTERM


async def test_what_does_not_end_is_ended(tmp_path: Path) -> None:
    process = await started(STUBBORN, tmp_path)
    await processes.stop(process, signal.SIGTERM, 0.2)
    assert process.returncode == -signal.SIGKILL
    await processes.stop(process, signal.SIGTERM, 0.2)  # a second time is no error


async def test_its_errors_are_in_the_log(tmp_path: Path) -> None:
    process = await processes.start(
        [sys.executable, "-c", "raise SystemExit('what went wrong')"],
        log=tmp_path / "logs" / "it.log",
        environ=os.environ,
        cwd=tmp_path,
    )
    assert await process.wait() == 1
    assert "what went wrong" in (tmp_path / "logs" / "it.log").read_text()


def test_a_terminal_that_is_closed_is_noticed_but_not_what_is_typed() -> None:
    ours, terminal = pty.openpty()
    closed = threading.Event()
    processes.on_hangup(terminal, closed.set)
    os.write(ours, b"typed\n")
    assert not closed.wait(0.2)
    os.close(ours)
    assert closed.wait(10)
    os.close(terminal)


def test_what_is_no_terminal_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    called = threading.Event()
    threads = threading.active_count()
    processes.on_hangup(reading, called.set)
    assert threading.active_count() == threads
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans fall to us on Linux alone")
def test_a_sweep_finds_orphans_with_and_without_the_marker(tmp_path: Path) -> None:
    """In a process of its own: it sweeps whatever descends from it."""
    code = (
        "import os, subprocess, sys\n"
        "from launcher import processes\n"
        "processes.adopt_orphans()\n"
        "leave = 'import os, subprocess; quiet = subprocess.DEVNULL; '\n"
        'leave += \'p = subprocess.Popen(["sleep", "60"], stdout=quiet, env=ENV); \'\n'
        "leave += 'print(p.pid, flush=True); os._exit(0)'\n"
        "pids = []\n"
        "for env in ('{}', '{\"LAUNCHER_INSTANCE\": \"mine\"}'):\n"
        "    made = subprocess.run([sys.executable, '-c', leave.replace('ENV', env)],\n"
        "                          stdout=subprocess.PIPE, text=True, check=True)\n"
        "    pids.append(int(made.stdout))\n"
        "spared = subprocess.Popen(['sleep', '60'], env={})\n"
        "left = processes.sweep('mine', [spared.pid])\n"
        "print(left, spared.poll(), *pids)\n"
        "spared.kill(); spared.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    left, spared, *pids = done.stdout.split()
    assert (left, spared) == ("[]", "None")
    assert len(pids) == 2
    assert not any(psutil.pid_exists(int(pid)) for pid in pids)


async def test_what_a_killed_instance_left_is_found_by_its_marker(tmp_path: Path) -> None:
    mine = await started(SLEEP, tmp_path, "mine")
    other = await started(SLEEP, tmp_path, "other")
    found = [process.pid for process in processes.marked("mine")]
    for process in (mine, other):
        await processes.stop(process, signal.SIGKILL, 10)
    assert found == [mine.pid]
