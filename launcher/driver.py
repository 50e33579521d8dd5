"""The process that is Ray's driver: starts the cluster and the application, then waits for orders.

    python -m launcher.driver HOST PORT CPUS SCRATCH DASHBOARD_PORT

It is a process of its own so that the supervisor stays small, answers signals at once, and can take
this one down whatever state Ray's library is in. To the supervisor it speaks in lines of JSON on
standard output, and it takes words on standard input: `go` (the servers are up: deploy), `drain
SECONDS`. At the end of its input it ends, and Ray's processes with it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

APP_VARIABLE = "LAUNCHER_APP_MODULE"
"""The module with `run(settings)` and `drain(timeout_s)`; another one in tests of the launcher."""
APP_MODULE = "serve_app"


class Line:
    """The way to the supervisor: the real standard output, kept away from whoever prints."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", buffering=1)
        # From here on whatever is printed lands in the log.
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def tell(self, event: str, **facts: Any) -> None:
        with self._lock:
            self._file.write(json.dumps({"event": event, **facts}) + "\n")


def main(arguments: list[str]) -> int:
    host, port, cpus, scratch, dashboard_port = arguments
    line = Line()
    began = time.monotonic()

    def lap(part: str) -> None:
        line.tell("lap", part=part, seconds=round(time.monotonic() - began, 2))

    try:
        from launcher import ray_node

        lap("import ray")
        # Serve is a second and a half of imports, while `ray.init` waits for others.
        background = threading.Thread(target=importlib.import_module, args=("ray.serve",))
        background.start()
        ray_node.start_ray(Path(scratch), int(cpus), int(dashboard_port))
        lap("ray.init")
        background.join()
        lap("import serve")
        ray_node.start_serve(host, int(port))
        lap("serve's controller")
        app = importlib.import_module(os.environ.get(APP_VARIABLE, APP_MODULE))
        from config.load import load

        settings = load(os.environ)
        lap("import the application")
        if sys.stdin.readline().strip() != "go":
            return 1
        app.run(settings)
        lap("the application")
        line.tell("up")
        _obey(app, line)
    except BaseException as error:  # noqa: BLE001 - told to the supervisor, whatever it is
        traceback.print_exc()
        line.tell("failed", reason=_sentence(error))
        return 1
    return 0


def _obey(app: Any, line: Line) -> None:
    for order in sys.stdin:
        word, _, rest = order.strip().partition(" ")
        if word == "drain":
            try:
                app.drain(float(rest))
            except Exception as error:  # noqa: BLE001 - it is going down either way
                traceback.print_exc()
                line.tell("drained", error=_sentence(error))
            else:
                line.tell("drained")


def _sentence(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Not through Ray's exit handlers: they ask processes in turn, the supervisor ends all at once.
    os._exit(code)
