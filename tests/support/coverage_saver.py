"""A coverage plugin that saves every second where processes do not live to their end.

Ray's workers and their driver are killed, and coverage writes when a process exits. This is loaded
with coverage in every process; it acts in those alone. The nursery must have one thread, or it
could not fork, so there the saving begins in each child.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import coverage

EVERY_S = 1.0
KILLED = ("launcher.driver", "default_worker.py")
NURSERY = "launcher.nursery"


def coverage_init(registry: Any, options: Any) -> None:
    """Called by coverage; nothing is registered."""
    command = " ".join(sys.orig_argv)
    if NURSERY in command:
        os.register_at_fork(after_in_child=begin)
    elif any(name in command for name in KILLED):
        begin()


def begin() -> None:
    threading.Thread(target=_save, name="coverage saver", daemon=True).start()


def _save() -> None:
    while True:
        time.sleep(EVERY_S)
        current = coverage.Coverage.current()
        if current is not None:
            current.save()
