"""Stands in for Ray's dashboard agent, which a local instance has no use for.

The raylet starts an agent, waits until it has written where it listens, and ends when it ends.
Ray's own imports the whole dashboard for that: 2.5 s of CPU and 130 MB, and then it samples every
process on the machine each few seconds for a dashboard that is not there. This one writes the files
and sleeps until the raylet is gone. Standard library only; it runs with `-I -S`.
"""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

NOBODY_LISTENS = "1"
"""A port that refuses connections at once. The raylet's attempts to send metrics end there."""
FILES = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")


def main(arguments: list[str]) -> None:
    options = dict(
        word.split("=", 1) for word in arguments if word.startswith("--") and "=" in word
    )
    for name in FILES:
        path = Path(options["--session-dir"], f"{name}_{options['--node-id']}")
        # The raylet reads it the moment it is there, so it must be whole by then.
        draft = path.with_suffix(".draft")
        draft.write_text(NOBODY_LISTENS)
        draft.replace(path)
    wait_for_end_of(os.getppid())


def wait_for_end_of(pid: int) -> None:
    """Return when the parent of this pid is gone."""
    if hasattr(os, "pidfd_open"):
        try:
            select.select([os.pidfd_open(pid)], [], [])
            return
        except OSError:
            pass  # gone already, or a kernel before 5.3
    while os.getppid() == pid:
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1:])
