"""The garbage collector in the processes that people wait for: hosts and gateways."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""New objects after which the youngest are looked at; activating a session makes hundreds."""


def settle() -> None:
    """Set aside what is there now: the modules and what was built at the start stay for good.

    They are half a million objects. Were they looked through again whenever sessions or sockets
    have made many new ones, all turns would wait for as long as that takes, 50 to 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
