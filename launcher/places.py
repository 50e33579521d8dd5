"""Where an instance keeps what: files in the checkout, sockets under a short path, its own ports.

Two things cannot live in the checkout. Unix sockets: their paths end at 107 bytes, and Ray adds 61
to what it is given. And ports: every instance on the machine, of whatever checkout, needs some of
its own, so they come in blocks that are claimed with a lock in a folder that all instances of one
user share. A lock is held by an open file and so is freed however its process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BLOCKS = 110
BLOCK_PORTS = 100
FIRST_PORT = 20_000
"""The blocks end below 32768, where systems begin to give out ports to outgoing connections."""
LONGEST_SHARED = 24
STATE = "LAUNCHER_STATE"
"""The variable that names another folder than `.troupe` in the checkout."""


class InUse(Exception):
    """Another process has what this one needs; the message says which."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one instance.

    `state` and what is under it stay; `scratch` is emptied at every start. `marker` is put into
    the environment of every process of the instance, so that what a killed one left is found.
    """

    checkout: Path
    port: int
    state: Path

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def instance_lock(self) -> Path:
        return self.state / f"instance-{self.port}.lock"

    @property
    def token(self) -> Path:
        """Ray's token: whoever has it may run code in the cluster."""
        return self.state / f"ray-token-{self.port}"

    @property
    def servers(self) -> Path:
        """Sockets of the servers that the instances with this state share."""
        return shared() / digest(str(self.state))

    @property
    def scratch(self) -> Path:
        return shared() / digest(self.marker)

    @property
    def marker(self) -> str:
        return f"{self.state}:{self.port}"


def digest(text: str) -> str:
    """Eight characters that stand for a long name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def shared() -> Path:
    """The folder of all of this user's instances, made if need be.

    Raises:
        InUse: Someone else made it; sockets in it would be theirs to read.
    """
    path = Path("/tmp")  # made with mode 0700 and checked below
    if len(tempfile.gettempdir()) < LONGEST_SHARED:
        path = Path(tempfile.gettempdir())
    path = path / f"troupe-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InUse(f"{path} is not this user's own; remove it, or set TMPDIR to another folder.")
    return path


def lock(path: Path, *, wait: bool = False) -> IO[str] | None:
    """Lock a file until the result is closed or the process ends; None if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read, at every moment of its being there."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


@dataclass(frozen=True, slots=True)
class Ports:
    """A block of ports that this instance holds as long as `held` is open."""

    first: int
    held: IO[str]


def claim_ports(marker: str) -> Ports:
    """Claim a block; an instance gets the same one again where it can."""
    folder = shared() / "ports"
    for block in _blocks(marker):
        held = lock(folder / str(block))
        if held is None:
            continue
        first = FIRST_PORT + block * BLOCK_PORTS
        if all(is_free(port) for port in range(first, first + BLOCK_PORTS)):
            return Ports(first, held)
        held.close()
    raise InUse(f"No {BLOCK_PORTS} free ports in a row from {FIRST_PORT} on.")


def _blocks(marker: str) -> Iterator[int]:
    start = int(digest(marker), 16)
    for step in range(BLOCKS):
        yield (start + step) % BLOCKS


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: connections in TIME_WAIT are no hindrance, listeners are.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
