"""The embedded Valkey: its command.

Besides copies it holds what running turns have said so far, which is in Postgres only once they
have ended. So it writes its memory to disk when it is stopped in order, and a turn that a restart
of everything interrupts goes on where it was. While it runs it writes nothing: killed, it loses
unfinished text, never a message or an answer. What it reads back after that may be old; copies
carry their stamp and recordings their epoch, so what is old is not used.
"""

from __future__ import annotations

import socket
from pathlib import Path

SOCKET = "valkey.sock"
MAX_MEMORY = "256mb"


def url(sockets: Path) -> str:
    """What `REDIS_URL` is set to."""
    return f"unix://{sockets / SOCKET}"


def run_command(program: Path, folder: Path, sockets: Path) -> list[str]:
    """Runs the server in the foreground, on a Unix socket only."""
    settings = {
        "port": "0",
        "unixsocket": str(sockets / SOCKET),
        "unixsocketperm": "700",
        "dir": str(folder),
        "daemonize": "no",
        "save": "",
        "appendonly": "no",
        "shutdown-on-sigterm": "save",
        "maxmemory": MAX_MEMORY,
        # Everything of ours has a TTL; what has none may be someone else's and stays.
        "maxmemory-policy": "volatile-ttl",
        "hz": "10",
    }
    return [
        str(program),
        *(word for key, value in settings.items() for word in (f"--{key}", value)),
    ]


def is_ready(sockets: Path) -> bool:
    """Whether it answers."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(sockets / SOCKET))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
