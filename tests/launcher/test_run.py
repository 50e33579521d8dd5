"""`python -m launcher run`, the whole of it: beside another one, interrupted, and killed.

`troupe` is the instance that the whole test session shares; it runs beside all of these.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.house.paths import ROOT
from tests.support.ports import free_port
from tests.support.quietly import quietly
from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe

LIMIT_S = 60.0
pytestmark = pytest.mark.timeout(300)


def run_once(port: int, state: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail by itself."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", "run", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "LAUNCHER_STATE": str(state), **environ},
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 2,
        check=False,
    )


def until(condition: object, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def bearers(state: Path) -> list[psutil.Process]:
    """Processes that were started for this state folder, by what stands in their command."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("LAUNCHER_INSTANCE", "")]
            lives = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if lives and any(str(state) in word for word in words):
            found.append(process)
    return found


def test_it_says_where_it_is_and_who_answers(troupe: RunningTroupe) -> None:
    printed = troupe.printed()
    assert f"Troupe is up at {troupe.url} after" in printed
    assert re.search(r"gpt +simulated; OPENAI_API_KEY makes it real", printed)
    assert re.search(r"gemini +simulated; GEMINI_API_KEY makes it real", printed)
    assert "Ctrl-C stops it." in printed
    assert str(troupe.state) in printed


def test_it_listens_on_loopback_alone(troupe: RunningTroupe) -> None:
    listening = [place for process in troupe.processes() for place in listeners(process)]
    assert len(listening) > 5
    # Serve leaves no choice: HAProxy shows its figures to everyone, and a replica has a port for
    # calls of other replicas, which asks for the cluster's token.
    loopback = ("127.", "::1", "::ffff:127.")
    named = {name for name, address, _ in listening if not address.startswith(loopback)}
    # While a replica is at work, Ray adds the method's name to that of the process.
    open_to_all = {name.partition(".")[0] for name in named}
    replicas = {f"ray::ServeReplica:troupe:{name}" for name in ("Gateway", "Router")}
    assert open_to_all <= {"haproxy", *replicas}


def listeners(process: psutil.Process) -> list[tuple[str, str, int]]:
    """Name, address and port of all that a process listens on."""
    try:
        return [
            (process.name(), connection.laddr.ip, connection.laddr.port)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    except psutil.Error:
        return []  # an idle worker that has just ended


def test_a_second_one_on_the_same_port_is_refused_in_a_sentence(troupe: RunningTroupe) -> None:
    second = run_once(troupe.port, troupe.state)
    assert second.returncode == 1
    assert f"runs from this folder on port {troupe.port} already" in second.stderr
    assert troupe.get("/healthz")[0] == 200


def test_a_port_of_another_program_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        refused = run_once(port, tmp_path / "state")
    assert refused.returncode == 1
    assert f"Port {port} is taken by another program" in refused.stderr
    assert f"make run PORT={port + 1}" in refused.stderr


def test_wrong_settings_stop_it_before_anything_starts(tmp_path: Path) -> None:
    refused = run_once(free_port(), tmp_path / "state", TROUPE_GATEWAY__REPLICAS="many")
    assert refused.returncode == 2
    assert "gateway.replicas" in refused.stderr
    assert not (tmp_path / "state").exists()


def test_an_application_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    state = tmp_path / "state"
    failed = run_once(free_port(), state, LAUNCHER_APP_MODULE="no_such_module")
    assert failed.returncode == 1
    assert "No module named 'no_such_module'" in failed.stderr
    assert "driver.log" in failed.stderr
    assert bearers(state) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_the_start_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "run", "--port", str(free_port())],
        cwd=ROOT,
        env={**os.environ, "LAUNCHER_STATE": str(state)},
        stderr=subprocess.PIPE,
    )
    until(lambda: (state / "postgres-18" / "postmaster.pid").exists())
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert b"Stopped" in said
    assert bearers(state) == []


def test_killed_with_9_it_leaves_nothing_and_starts_again(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    instance = RunningTroupe(state, {"TROUPE_SIMULATOR__URL": simulator.url})
    instance.start()
    processes = instance.processes()
    names = {quietly(process.name, "") for process in processes}
    assert {"haproxy", "gcs_server", "raylet"} <= names
    processes[0].kill()
    processes[0].wait(LIMIT_S)
    psutil.wait_procs(processes, timeout=LIMIT_S)
    assert [process for process in processes if process.is_running()] == []
    until(lambda: bearers(state) == [])
    instance.stop()
    with RunningTroupe(state, instance.environ) as again:
        assert again.get("/readyz")[0] == 200
        assert again.stop() == []
    assert bearers(state) == []
