"""The nursery and its stand-ins, with programs of a few lines instead of Ray's workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launcher import entry
from launcher.plan import FIRST_MODULES, LATER_MODULES
from tests.house.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it forks on Linux alone")
LIMIT_S = 60.0


class Nursery:
    """A running nursery, and how the raylet asks for a worker."""

    def __init__(self, folder: Path, first: str, later: str = "") -> None:
        self.folder = folder
        self.socket = folder / "n"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "launcher.nursery", str(self.socket), first, later],
                cwd=ROOT,
                stderr=log,
            )
        until(self.socket.exists)

    def program(self, code: str) -> str:
        path = self.folder / f"program{len(list(self.folder.iterdir()))}.py"
        path.write_text(code)
        return str(path)

    def ask(self, code: str, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, str(Path(entry.__file__)), self.program(code), *words),
                *("--language=PYTHON", "--serialized-runtime-env-context={}"),
            ],
            env={**os.environ, entry.NURSERY: str(self.socket), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self, code: str, *words: str, **environ: str) -> tuple[int, str, str]:
        asked = self.ask(code, *words, **environ)
        out, err = asked.communicate("typed\n", timeout=LIMIT_S)
        return asked.returncode, out, err


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    running = Nursery(tmp_path, "json,colorsys", "wave")
    yield running
    running.process.terminate()
    running.process.wait(LIMIT_S)


def until(condition: object) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


WHO = """\
import json, os, sys
print(json.dumps({
    "name": __name__, "argv": sys.argv[1:], "parent": os.getppid(), "cwd": os.getcwd(),
    "folder": sys.path[0], "typed": sys.stdin.readline(), "variable": os.environ.get("VARIABLE"),
    "there": [name in sys.modules for name in ("colorsys", "wave")],
    "alone": os.getpgid(0) == os.getpid(),
}))
print("to the log", file=sys.stderr)
sys.exit(3)
"""


def test_a_child_is_what_it_would_be_and_has_everything_imported(nursery: Nursery) -> None:
    code, out, err = nursery.result(WHO, "--a=1", "b c", VARIABLE="its own")
    said = json.loads(out)
    assert said["parent"] == nursery.process.pid, "it is not a fork of the nursery"
    assert said["name"] == "__main__"
    assert said["argv"] == ["--a=1", "b c"]
    assert said["typed"] == "typed\n"
    assert said["variable"] == "its own"
    assert said["there"][0] is True
    assert said["cwd"] == os.getcwd()
    assert said["folder"] == str(nursery.folder)
    assert said["alone"] is True
    assert err == "to the log\n"
    assert code == 3


def test_modules_of_the_second_list_are_there_for_later_children(nursery: Nursery) -> None:
    until(lambda: json.loads(nursery.result(WHO)[1])["there"] == [True, True])


def test_variables_of_a_runtime_env_are_set(nursery: Nursery) -> None:
    context = json.dumps({"env_vars": {"VARIABLE": "from Ray"}})
    program, environ = entry.read(
        [f"--serialized-runtime-env-context={context}", "p.py"], {"A": "1"}
    )
    assert program == ["p.py"]
    assert environ == {"A": "1", "VARIABLE": "from Ray"}


def test_a_runtime_env_that_needs_another_interpreter_is_refused() -> None:
    context = json.dumps({"py_executable": "/usr/bin/other"})
    with pytest.raises(SystemExit, match="cannot run"):
        entry.read([f"--serialized-runtime-env-context={context}", "p.py"], {})


def test_a_failing_child_tells_why_and_its_stand_in_fails(nursery: Nursery) -> None:
    code, _, err = nursery.result("raise RuntimeError('no luck')")
    assert code == 1
    assert "RuntimeError: no luck" in err


def test_a_killed_child_takes_its_stand_in_along(nursery: Nursery) -> None:
    code, _, _ = nursery.result("import os; os.kill(os.getpid(), 9)")
    assert code == -signal.SIGKILL


def test_a_killed_stand_in_takes_its_child_along(nursery: Nursery) -> None:
    asked = nursery.ask("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    assert asked.stdout is not None
    child = int(asked.stdout.readline())
    asked.kill()
    asked.communicate()
    until(lambda: gone(child))


def test_ending_it_ends_all_children_and_their_orphans(nursery: Nursery) -> None:
    """An orphan in a session of its own, as HAProxy's manager leaves one, is found all the same."""
    code = (
        "import os, subprocess, sys, time\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'start_new_session': True}\n"
        "left = subprocess.Popen(['sleep', '60'], **quiet)\n"
        "print(os.getpid(), left.pid, flush=True)\n"
        "if sys.argv[1] == 'leave': os._exit(0)\n"
        "time.sleep(60)"
    )
    asked = [nursery.ask(code, word) for word in ("leave", "stay")]
    lines = [process.stdout.readline() for process in asked if process.stdout is not None]
    pids = [int(pid) for line in lines for pid in line.split()]
    assert len(pids) == 4
    nursery.process.terminate()
    nursery.process.wait(LIMIT_S)
    assert [pid for pid in pids if not gone(pid)] == []
    for process in asked:
        process.communicate(timeout=LIMIT_S)


def test_without_a_nursery_the_program_runs_by_itself(nursery: Nursery) -> None:
    nursery.process.terminate()
    nursery.process.wait(LIMIT_S)
    code, out, _ = nursery.result(WHO)
    assert code == 3
    assert json.loads(out)["there"] == [False, False]


DRAW = "import ray._raylet as r; print(r.WorkerID.from_random().hex())"


def test_children_with_ray_s_library_do_not_draw_the_same_ids(tmp_path: Path) -> None:
    """They did, once: tasks of different workers had the same id, and Ray hung at its start."""
    nursery = Nursery(tmp_path, ",".join(FIRST_MODULES), ",".join(LATER_MODULES))
    try:
        code = f"import os; {DRAW}; print(os.getppid())"
        said = [nursery.result(code)[1].split() for _ in range(4)]
        assert {parent for _, parent in said} == {str(nursery.process.pid)}, "they are no forks"
        assert len({drawn for drawn, _ in said}) == 4
    finally:
        nursery.process.terminate()
        nursery.process.wait(LIMIT_S)


def test_a_nursery_whose_children_would_be_alike_does_not_fork(tmp_path: Path) -> None:
    (tmp_path / "drawing.py").write_text(DRAW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
        nursery = Nursery(tmp_path, "ray.actor,drawing")
    try:
        code, out, _ = nursery.result(WHO)
        assert code == 3, "the program must run all the same"
        assert json.loads(out)["parent"] != nursery.process.pid
        assert "alike, so no forks" in nursery.log.read_text()
    finally:
        nursery.process.terminate()
        nursery.process.wait(LIMIT_S)


def test_a_nursery_with_a_second_thread_does_not_fork(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environ["PYTHONPATH"])
        nursery = Nursery(tmp_path, "threaded")
    try:
        code, out, _ = nursery.result(WHO)
        assert code == 3, "the program must run all the same"
        assert json.loads(out)["parent"] != nursery.process.pid
        assert "2 threads, so no forks" in nursery.log.read_text()
    finally:
        nursery.process.terminate()
        nursery.process.wait(LIMIT_S)
