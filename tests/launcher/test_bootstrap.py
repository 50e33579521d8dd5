"""The set-up: what it decides. That it installs is what every run of these tests begins with."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher import bootstrap
from launcher.bootstrap import (
    SetupFailed,
    environment,
    find_pip,
    is_ready,
    run,
    set_up,
    wanted_hash,
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, with requirement files and an environment that looks installed."""
    (tmp_path / "requirements").mkdir()
    for name in ("run", "dev", "uv"):
        (tmp_path / "requirements" / f"{name}.txt").write_text(f"# {name}\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    monkeypatch.setattr(bootstrap, "STATE", tmp_path / ".troupe")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "stamp.json")
    return tmp_path


@pytest.fixture
def commands(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run to install; the installer is there already."""
    ran: list[list[str]] = []

    def pretend(command: list[str], *_: object, **__: object) -> None:
        ran.append(command)
        if command[1] == "venv":
            (checkout / ".venv" / "bin").mkdir(parents=True)

    monkeypatch.setattr(bootstrap, "run", pretend)
    monkeypatch.setattr(bootstrap, "ensure_uv", lambda began: "uv")
    return ran


def test_it_installs_once_and_then_again_when_requirements_change(
    checkout: Path, commands: list[list[str]]
) -> None:
    assert not is_ready("run")
    set_up("run", 0.0)
    assert is_ready("run") and not is_ready("dev")
    assert commands[-1][-1] == str(checkout / "requirements" / "run.txt")
    assert {"--require-hashes", "--only-binary"} <= set(commands[-1])
    (checkout / "requirements" / "run.txt").write_text("# newer\n")
    assert not is_ready("run")


def test_what_tests_need_serves_running_as_well(commands: list[list[str]]) -> None:
    set_up("dev", 0.0)
    assert is_ready("dev") and is_ready("run")
    assert len(commands) == 1


def test_running_does_not_take_away_what_tests_need(
    checkout: Path, commands: list[list[str]]
) -> None:
    (checkout / ".venv" / "bin" / "pytest").touch()
    set_up("run", 0.0)
    assert commands[-1][-1] == str(checkout / "requirements" / "dev.txt")
    assert is_ready("dev")


def test_an_environment_that_is_gone_is_made_again(
    checkout: Path, commands: list[list[str]]
) -> None:
    set_up("run", 0.0)
    (checkout / ".venv" / "bin" / "python").unlink()
    assert not is_ready("run")
    set_up("run", 0.0)
    assert commands[-2][:2] == ["uv", "venv"]


def test_of_two_at_once_one_installs_and_the_other_waits(
    checkout: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / ".troupe").mkdir()
    with (checkout / ".troupe" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=set_up, args=("run", 0.0))
        second.start()
        second.join(0.3)
        assert second.is_alive() and commands == []
        # The first one has finished:
        hashes = {"run": wanted_hash("run")}
        (checkout / ".venv" / "stamp.json").write_text(json.dumps(hashes))
    second.join(10)
    assert commands == []
    assert "Another make is installing here" in capsys.readouterr().err


def test_a_step_that_fails_is_tried_again_and_then_told(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.time, "sleep", lambda seconds: None)
    failing = [sys.executable, "-c", "raise SystemExit('no registry')"]
    with pytest.raises(SetupFailed, match="this failed"):
        run(failing, 0.0, attempts=3)
    assert capfd.readouterr().err.count("no registry") == 3


def test_a_long_step_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "TICK_S", 0.05)
    run([sys.executable, "-c", "import time; time.sleep(0.5)"], 0.0)
    assert "still at it" in capfd.readouterr().err


def test_pip_s_settings_hold_for_the_installer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror.test/simple")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("HOME", "/nowhere")
    found = environment()
    assert found["UV_DEFAULT_INDEX"] == "http://mirror.test/simple"
    assert "PIP_USER" not in found
    assert found["UV_PYTHON_DOWNLOADS"] == "never"
    assert found["UV_CACHE_DIR"].endswith(".troupe/uv-cache")


def test_pip_is_found_in_this_python(tmp_path: Path) -> None:
    command = find_pip(tmp_path / "draft")
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("pip ")


def test_a_python_without_pip_and_venv_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.sys, "executable", "/bin/false")
    with pytest.raises(SetupFailed, match="apt-get install python3-venv"):
        find_pip(tmp_path / "draft")


def test_an_old_python_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (4, 0))
    with pytest.raises(SystemExit, match=r"Python 4\.0 or newer is needed"):
        bootstrap.main(["run", "-m", "launcher"])


def test_it_becomes_what_is_to_run(
    checkout: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(bootstrap.os, "execve", lambda *arguments: became.append(arguments))
    monkeypatch.setattr(bootstrap.os, "chdir", lambda folder: None)
    monkeypatch.setenv("PYTHONPATH", "/someone/elses")
    bootstrap.main(["run", "-m", "launcher", "run"])
    program, words, environ = became[0]
    assert program == str(checkout / ".venv" / "bin" / "python")
    assert words[1:] == ["-m", "launcher", "run"]
    assert "PYTHONPATH" not in environ
    assert float(environ["LAUNCHER_BEGAN"]) > 0
