"""The pauses between tries, for everything that looks for a session anew."""

from __future__ import annotations

from random import random

FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5


def longer(pause_s: float) -> float:
    """The pause after this one."""
    return min(pause_s * 2, _LONGEST_PAUSE_S)


def jittered(pause_s: float) -> float:
    """Between half and all of it, so that many do not come back as one."""
    return pause_s * (0.5 + random() / 2)
