"""Ports for servers of tests."""

from __future__ import annotations

import socket
from random import SystemRandom

_PORTS = range(31_000, 32_768)
"""Below those that the system gives to connections and to whoever asks for any: between choosing
one and listening there, seconds may pass."""
_chance = SystemRandom()


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    while True:
        port = _chance.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
