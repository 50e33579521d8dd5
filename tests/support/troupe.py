"""The whole of Troupe as a process of its own: what `make run` runs, on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from tests.support.ports import free_port
from tests.support.quietly import quietly

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 120.0
STOP_LIMIT_S = 40.0


class RunningTroupe:
    """An instance with a state folder of its own; `start` and `stop` may be called in turn.

    Args:
        state: What stands for `.troupe`.
        environ: Laid over this process's environment.

    Raises:
        RuntimeError: it did not come up; the message ends with what it printed.
    """

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = state
        self.environ = {**os.environ, "LAUNCHER_STATE": str(state), **environ}
        self.output = state.parent / f"{state.name}-{self.port}.out"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "launcher", "run", "--port", str(self.port)],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Troupe did not come up:\n{self.printed()[-4000:]}")
            time.sleep(0.1)
        return self

    def _ready(self) -> bool:
        # What it prints last says that everything is up, not only the gateway.
        return "Troupe is up at" in self.printed()

    def printed(self) -> str:
        """All that it has printed."""
        return self.output.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Every process of the instance."""
        if self._process is None:
            return []
        try:
            mine = psutil.Process(self._process.pid)
            return [mine, *mine.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> list[psutil.Process]:
        """Interrupt it as Ctrl-C does; returns those of its processes that are still there."""
        if self._process is None:
            return []
        processes = self.processes()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_LIMIT_S)
        finally:
            _, left = psutil.wait_procs(processes, timeout=15)
            for process in left:
                quietly(process.kill, None)
            self._process = None
        return left

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
