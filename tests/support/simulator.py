"""Start the provider simulator as the separate process it is, and ask it what it saw.

Used by every suite that needs a provider, and by the benchmark. The simulator ends with its
owner: it watches the pipe on its standard input, so even a killed test run leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
READY = "simulator ready on "


class SimulatorProcess:
    """A simulator on loopback, from `with` to the end of the block.

    Args:
        port: 0 lets the system choose.
        args: Further command-line arguments, such as `("--record", "0")`.
        start_limit_s: How long it may take to print its ready line.
        stop_limit_s: How long it may take to leave after SIGTERM before it is killed.

    Raises:
        RuntimeError: It did not start; the message holds what it wrote to standard error.
    """

    def __init__(
        self,
        port: int = 0,
        args: Sequence[str] = (),
        *,
        start_limit_s: float = 30.0,
        stop_limit_s: float = 5.0,
    ) -> None:
        self.port = port
        self.args = tuple(args)
        self.url = ""
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._process: subprocess.Popen[str] | None = None

    @property
    def openai_url(self) -> str:
        """What the openai SDK wants as `base_url`. Gemini's SDK wants plain `url`."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        if self._process is None:
            raise RuntimeError("the simulator is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait for its ready line."""
        command = [
            sys.executable,
            "-m",
            "simulator",
            "--port",
            str(self.port),
            "--watch-stdin",
        ]
        process = subprocess.Popen(
            [*command, *self.args],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._process = process
        assert process.stdout is not None
        watchdog = Timer(self._start_limit_s, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line.startswith(READY):
            self.stop()
            raise RuntimeError(f"the simulator did not start; it said {line!r}")
        self.url = line.removeprefix(READY).strip()
        self.port = int(self.url.rpartition(":")[2])
        return self

    def stop(self) -> int | None:
        """End it and give back its exit code. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            code = process.wait(self._stop_limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def requests(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest requests it was sent, oldest first. Blocks; see `simulator/recorder.py`."""
        return self._call("GET", f"/_sim/requests?limit={limit}")["requests"]

    def clear(self) -> None:
        """Forget the recorded requests. Blocks."""
        self._call("DELETE", "/_sim/requests")

    def stats(self) -> dict[str, int]:
        """Its counters. Blocks; see `simulator/stats.py`."""
        return self._call("GET", "/_sim/stats")

    def _call(self, method: str, path: str) -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
