"""Asking of a process that may end meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def quietly(ask: Callable[[], T], default: T) -> T:
    """What the process says, or the default if it has ended or will not tell."""
    try:
        return ask()
    except psutil.Error:
        return default
