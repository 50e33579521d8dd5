"""What the raylet runs to get a worker: asks the nursery for one, or becomes it as Ray would.

Ray's own script for this imports `ray` only to read its arguments, then runs the interpreter anew:
1.2 s of CPU for every worker. This one is the standard library alone.

Asked of the nursery, the worker is a fork of a process that has everything imported. Then this
process stays as its stand-in: it ends as the worker ends, and when it is killed, the nursery sees
its connection close and kills the worker. So for the raylet both are one.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import sys
from typing import NoReturn

NURSERY = "LAUNCHER_NURSERY"
"""The variable with the path of the nursery's socket."""
LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
TAKEN = b"+"
REFUSED = b"-"


def main(arguments: list[str]) -> NoReturn:
    program, environ = read(arguments, dict(os.environ))
    connection = _ask(program, environ)
    if connection is None:
        os.execve(sys.executable, [sys.executable, *program], environ)
    end_as(_status(connection))


def read(arguments: list[str], environ: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The worker's program and environment, from what the raylet passes.

    Raises:
        SystemExit: The worker would need more than variables; an instance never asks for that.
    """
    program: list[str] = []
    for word in arguments:
        if word.startswith("--serialized-runtime-env-context="):
            context = json.loads(word.split("=", 1)[1])
            environ = {**environ, **context.get("env_vars", {})}
            if context.get("command_prefix") or context.get("py_executable") not in (
                None,
                sys.executable,
            ):
                sys.exit(f"entry: a local instance cannot run a worker in {word}")
        elif word != "-u" and not word.startswith("--language="):
            program.append(word)
    return program, environ


def _ask(program: list[str], environ: dict[str, str]) -> socket.socket | None:
    """Have the nursery start it, with our standard files; None if there is no nursery."""
    path = environ.get(NURSERY)
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    request = json.dumps({"argv": program, "environ": environ, "cwd": os.getcwd()}).encode()
    files = array.array("i", [0, 1, 2])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)]
    head = LENGTH.pack(len(request))
    try:
        connection.sendmsg([head], rights)
        connection.sendall(request)
        taken = connection.recv(1) == TAKEN
    except OSError:
        taken = False
    if not taken:
        connection.close()
        return None
    return connection


def _status(connection: socket.socket) -> int:
    """Wait for the end; if the nursery ends first, so did everything that it started."""
    try:
        received = connection.recv(STATUS.size, socket.MSG_WAITALL)
    except OSError:
        received = b""
    if len(received) < STATUS.size:
        return signal.SIGKILL
    return int(STATUS.unpack(received)[0])


def end_as(status: int) -> NoReturn:
    """End with this wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1:])
