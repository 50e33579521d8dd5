from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from bench.processes import MARK, Processes, cpu_of, kind_of, machine_cpu_s, parse_pss, parse_stat

STAND_INS = "workers' stand-ins"
TICK = 1 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/x/bin/postgres -D data", "Postgres"),
        ("postgres: troupe troupe 127.0.0.1(4711) idle", "Postgres"),
        ("/x/valkey-server 127.0.0.1:0", "Valkey"),
        ("/x/haproxy -f h.cfg", "HAProxy"),
        ("ray::ServeReplica:troupe:Gateway.handle", "gateway"),
        ("ray::SessionHost.pipe", "hosts"),
        ("ray::Directory", "directory"),
        ("ray::ServeController.run", "Serve control"),
        ("ray::ProxyActor", "Serve control"),
        ("ray::HAProxyManager", "Serve control"),
        ("ray::IDLE", "other of Ray"),
        ("/x/ray/core/src/ray/raylet/raylet --store=/postgres", "raylet"),
        (
            "/x/python3.11/ray/raylet --worker=/x/python /x/launcher/entry.py /x/ray/w.py",
            "raylet",
        ),
        ("/x/ray/core/src/ray/gcs/gcs_server --log_dir=/x", "GCS"),
        ("/x/python -u /x/ray/dashboard/agent.py", "other of Ray"),
        ("/x/python -I -S /x/launcher/entry.py /x/ray/w.py --raylet-name=/raylet", STAND_INS),
        ("/x/python -S -m launcher.keeper /x", "launcher"),
        ("/x/bin/python3.11 -u -m bench.proxy --port 1", "proxy"),
        ("/x/bin/python -m launcher run", "launcher"),
        ("/x/bin/python -m simulator --port 0", "simulator"),
        ("sleep 1", "other"),
    ],
)
def test_kinds(command: str, kind: str) -> None:
    assert kind_of(command) == kind


def test_stat_of_a_process_with_an_ugly_name() -> None:
    numbers = " ".join(str(number) for number in range(1, 51))
    stat = parse_stat(f"42 (a) b (c)) S {numbers}")
    assert (stat.pid, stat.parent, stat.own, stat.waited, stat.started) == (42, 1, 23, 27, 19)


def test_pss_counts_swap_and_nothing_twice_and_no_pages_of_files() -> None:
    text = b"Rss: 9 kB\nPss: 8 kB\nPss_Anon: 4 kB\nPss_File: 3 kB\nPss_Shmem: 1 kB\nSwapPss: 2 kB\n"
    assert parse_pss(b"55d6-7ffe ---p 00000000 00:00 0 [rollup]\n" + text) == 7
    assert parse_pss(b"Pss: 8 kB\nSwapPss: 2 kB\n") == 10
    assert parse_pss(b"") == 0


class Proc:
    """A folder that looks like /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(
        self,
        pid: int,
        parent: int,
        command: str,
        *,
        own: int = 0,
        waited: int = 0,
        mark: str = "",
        pss_kb: int = 0,
    ) -> None:
        folder = self.path / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", str(parent), *("0" * 9), str(own), "0", str(waited), "0", *("0" * 4), "77"]
        (folder / "stat").write_text(f"{pid} (x) {' '.join(fields)}")
        (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
        (folder / "environ").write_bytes(f"A=1\0{MARK}={mark}\0".encode())
        (folder / "smaps_rollup").write_text(f"Pss: {pss_kb} kB\n")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.path / str(pid))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_the_tree_and_the_marked_count_and_nothing_else(proc: Proc) -> None:
    proc.put(1, 0, "init", own=500)
    proc.put(10, 1, "python -m launcher run", own=10, pss_kb=10)
    proc.put(11, 10, "ray::SessionHost", own=20, pss_kb=20)
    proc.put(12, 11, "sleep", own=1)
    proc.put(13, 10, "python -m simulator", own=300, pss_kb=300)
    proc.put(20, 1, "/x/haproxy -f c", own=5, mark="m", pss_kb=5)
    proc.put(21, 1, "/x/haproxy -f other", own=900, mark="n")
    processes = Processes(10, "m", proc.path)
    processes.look()
    assert sorted(processes.pids()) == [10, 11, 12, 13, 20]
    used = {kind: round(seconds / TICK) for kind, seconds in processes.cpu_s().items()}
    assert used == {"launcher": 10, "hosts": 20, "other": 1, "HAProxy": 5}
    assert processes.pss_kb() == {"launcher": 10, "hosts": 20, "HAProxy": 5, "other": 0}


def total(processes: Processes) -> int:
    processes.look()
    return round(sum(processes.cpu_s().values()) / TICK)


def test_a_child_that_ends_is_counted_once(proc: Proc) -> None:
    proc.put(10, 1, "/x/postgres", own=10)
    proc.put(11, 10, "postgres: backend", own=7)
    processes = Processes(10, proc=proc.path)
    assert total(processes) == 17
    proc.end(11)
    proc.put(10, 1, "/x/postgres", own=10, waited=9)  # it used 2 more after the last look
    assert total(processes) == 19


def test_a_child_that_nobody_saw_is_counted(proc: Proc) -> None:
    proc.put(10, 1, "/x/postgres", own=10)
    processes = Processes(10, proc=proc.path)
    assert total(processes) == 10
    proc.put(10, 1, "/x/postgres", own=10, waited=4)
    assert total(processes) == 14


def test_a_child_that_nobody_waited_for_keeps_what_was_seen(proc: Proc) -> None:
    proc.put(10, 1, "/x/raylet", own=10)
    proc.put(11, 10, "ray::IDLE", own=6)
    processes = Processes(10, proc=proc.path)
    assert total(processes) == 16
    proc.end(11)
    assert total(processes) == 16


def test_a_new_process_with_an_old_pid_is_another(proc: Proc) -> None:
    proc.put(10, 1, "/x/postgres", own=10)
    proc.put(11, 10, "postgres: backend", own=7)
    processes = Processes(10, proc=proc.path)
    assert total(processes) == 17
    proc.end(11)
    proc.put(10, 1, "/x/postgres", own=10, waited=7)
    proc.put(11, 10, "postgres: backend", own=2)
    stat = proc.path / "11" / "stat"
    stat.write_text(stat.read_text().replace(" 77", " 78"))
    assert total(processes) == 19


async def test_a_real_tree_with_detached_and_ended_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "subprocess.Popen([sys.executable, '-c', 'input()'], start_new_session=True)\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env={**os.environ, MARK: "real"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    processes = Processes(process.pid, "real")
    try:
        assert await process.stdout.readline() == b"ready\n"
        processes.look()
        assert processes.count() == 2
        assert sum(processes.cpu_s().values()) >= 0.3
        assert sum(processes.pss_kb().values()) > 1000
        assert processes.listing()[0].cpu_s >= 0.3
    finally:
        process.stdin.write(b"\n\n")
        process.stdin.close()
        await process.wait()


def test_the_machine_is_busy_while_we_are() -> None:
    before, mine = machine_cpu_s()[0], cpu_of(os.getpid())
    while cpu_of(os.getpid()) < mine + 5 * TICK:
        pass
    assert machine_cpu_s()[0] > before
    assert cpu_of(2**30) == 0.0
