"""What a person reads while things start: one line a step, with the seconds since the beginning."""

from __future__ import annotations

import io
import sys
import threading
import time
from typing import TextIO


class Console:
    """Prints steps as they begin and end; several may run at once, from any thread.

    Args:
        out: Where to print; standard output is for what the caller asked for, so standard error.
        began: `time.monotonic()` of the beginning, if it was before now.
    """

    def __init__(self, out: TextIO = sys.stderr, began: float | None = None) -> None:
        self._out = out
        self._began = time.monotonic() if began is None else began
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One line, with the time."""
        self._write(f"{self.elapsed_s:6.1f} s  {text}\n")

    def plain(self, text: str = "") -> None:
        """One line or several, as they are."""
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                self._out.write(text)
                self._out.flush()
            except (OSError, ValueError):
                # The terminal is gone (SIGHUP); what is being taken down must go on.
                self._out = io.StringIO()
