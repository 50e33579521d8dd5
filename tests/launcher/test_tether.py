"""Nothing outlives a parent that was killed, and Postgres is not root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from launcher import tether

TETHER = Path(tether.__file__)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's doing, on Linux")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be anyone else")


def tethered(program: list[str], *options: str, number: int = signal.SIGKILL) -> list[str]:
    words = ["--parent", str(os.getpid()), "--signal", str(int(number)), *options]
    return [sys.executable, "-I", "-S", str(TETHER), *words, "--", *program]


def run(code: str, *options: str) -> str:
    command = tethered([sys.executable, "-c", code], *options)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@linux
def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    parent_code = (
        "import os, subprocess, sys; tether = sys.argv[1]\n"
        "words = ['--parent', str(os.getpid()), '--signal', '9', '--', 'sleep', '60']\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', tether, *words])\n"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code, str(TETHER)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    # Once it has become `sleep`, it is tethered.
    while child.name() != "sleep":
        assert parent.poll() is None
    parent.kill()
    parent.communicate()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@linux
def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    command = tethered(["echo", "started"])
    command[command.index("--parent") + 1] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "gone already" in done.stderr


def test_the_program_gets_its_arguments_as_they_are() -> None:
    command = tethered(["printf", "%s|", "a b", "--not-root", "--"])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "a b|--not-root|--|"


@linux
@as_root
def test_root_becomes_nobody_but_still_reads_its_own_files(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("inside")
    code = (
        f"import os; os.chdir({str(closed)!r})\n"
        "print(os.getuid(), os.geteuid(), os.getgroups(), open('file').read())"
    )
    user = tether.nobody()[0]
    assert run(code, "--not-root") == f"{user} {user} [] inside"


@linux
@as_root
def test_who_became_nobody_cannot_become_root_again() -> None:
    code = "import os\ntry: os.setuid(0)\nexcept PermissionError: print('refused')"
    assert run(code, "--not-root") == "refused"
