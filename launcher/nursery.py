"""Where Ray's workers are born: a process that has imported everything and then only forks.

    python -m launcher.nursery SOCKET MODULE,MODULE,... MODULE,MODULE,...

A worker that starts from nothing spends three seconds of CPU on imports, a session host five; an
instance has seven of them at once. Forked from here each takes a tenth of that, and shares the
memory of what is imported. The first list of modules must be there before anyone is born; the
second is imported while nobody asks.

Why this is safe: before it forks, nothing here starts a thread, opens a connection or draws a
random number of Ray's, and the first and the last are checked. Threads: a fork has none, but the
locks that they held. Random numbers: Ray's library has its own generator, and once it is in use all
children go on from the same state; their tasks then get the same ids, and Ray fails in ways that
nobody understands. With either in the way the nursery refuses, and workers start as Ray would have
them. Two values of the environment are read by Ray's library as it is loaded, so no child can have
its own:

- `RAY_JOB_ID` is nil, as in the workers that Ray starts in advance for any job;
- `RAY_RAYLET_PID`, by which a worker notices that it is an orphan, is the nursery's own pid.

The nursery is also the grave digger. Orphans of its children (HAProxy, when its manager is killed)
fall to it, and when it is told to end, or its parent ends, it kills all that is left of them.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from launcher.entry import LENGTH, REFUSED, STATUS, TAKEN
from launcher.keeper import ignore
from launcher.tether import prctl

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NIL_JOB = "ffffffff"
MOST_FILES = 16
REQUEST_TIMEOUT_S = 5.0


class Nursery:
    """The loop. Children are known by their connection, which their stand-in holds open."""

    def __init__(self, listener: socket.socket, modules: list[str]) -> None:
        self._listener = listener
        self._modules = modules
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        self._wakeup, self._waker = socket.socketpair()
        self._ending = False
        self._sound = children_differ()

    def run(self) -> None:
        """Until SIGTERM, SIGINT or SIGHUP."""
        self._wakeup.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, ignore)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        gc.freeze()  # so that a collection in a child does not copy all these pages
        while not self._ending:
            ready = self._selector.select(0 if self._modules else None)
            if not ready and self._modules:
                importlib.import_module(self._modules.pop(0))
                gc.freeze()
                self._sound = self._sound and children_differ()
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._birth()
                elif key.fileobj is self._wakeup:
                    self._wakeup.recv(4096)
                    self._bury()
                else:
                    self._abandoned(int(key.data))

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = True

    def _birth(self) -> None:
        connection = self._listener.accept()[0]
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            request, files = receive(connection)
        except (OSError, ValueError) as error:
            print(f"nursery: a request broke off: {error!r}", file=sys.stderr)  # noqa: T201
            connection.close()
            return
        pid = os.fork() if self._may_fork() else None
        if pid == 0:
            self._become(request, files, connection)
        for file in files:
            os.close(file)
        with suppress(OSError):  # it may be gone, and its closed connection says the rest
            connection.sendall(REFUSED if pid is None else TAKEN)
        if pid is None:
            connection.close()
            return
        self._children[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)

    def _may_fork(self) -> bool:
        """Whether forking is safe; see above."""
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            print(f"nursery: {threads} threads, so no forks", file=sys.stderr)  # noqa: T201
        elif not self._sound:
            print("nursery: children would be alike, so no forks", file=sys.stderr)  # noqa: T201
        return threads == 1 and self._sound

    def _become(self, request: dict[str, Any], files: list[int], own: socket.socket) -> NoReturn:
        """In the child: leave the nursery behind and run the program."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for each in (self._listener, self._wakeup, self._waker, own, *self._children.values()):
                each.close()
            os.setpgid(0, 0)
            take_over(request, files)
            runpy.run_path(request["argv"][0], run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - what any interpreter does at its end
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    code = code or 1
            os._exit(code)

    def _bury(self) -> None:
        """Collect the dead, ours and the orphans that fell to us, and tell the stand-ins."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self._children.pop(pid, None)
            if connection is None:
                continue
            self._selector.unregister(connection)
            with suppress(OSError):  # the stand-in may be gone as well
                connection.sendall(STATUS.pack(status))
            connection.close()

    def _abandoned(self, pid: int) -> None:
        """The stand-in was killed, so its worker is meant to be."""
        connection = self._children.pop(pid, None)
        if connection is None:
            return
        self._selector.unregister(connection)
        connection.close()
        kill_group(pid)

    def kill_all(self) -> None:
        """Kill all children and, as they become ours, their orphans."""
        self._listener.close()
        for pid in self._children:
            kill_group(pid)
        while True:
            for pid in children():
                kill(pid)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def draw_ids_from_the_system() -> None:
    """Keep Ray's generator out of use while modules are imported.

    `@ray.remote` on a class draws an id for it; from now on from the operating system.
    """
    actor: Any = importlib.import_module("ray.actor")
    kind = actor.ActorClassID

    class FromSystem:
        @staticmethod
        def from_random() -> Any:
            return kind(os.urandom(len(kind.nil().binary())))

    actor.ActorClassID = FromSystem


def children_differ() -> bool:
    """Whether two forks draw different numbers from Ray's generator."""
    library = sys.modules.get("ray._raylet")
    if library is None:
        return True
    drawn: list[bytes] = []
    for _ in range(2):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, library.WorkerID.from_random().binary())
            os._exit(0)
        os.close(writing)
        drawn.append(os.read(reading, 64))
        os.close(reading)
        os.waitpid(pid, 0)
    return drawn[0] != drawn[1]


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One request of `entry`: what to become, and the files that come with it."""
    size = array.array("i").itemsize
    head, ancillary, _, _ = connection.recvmsg(LENGTH.size, socket.CMSG_SPACE(MOST_FILES * size))
    files = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % size])
    length = LENGTH.unpack(head)[0]
    body = b""
    while len(body) < length:
        piece = connection.recv(length - len(body))
        if not piece:
            raise ValueError("it ended early")
        body += piece
    return json.loads(body), list(files)


def take_over(request: dict[str, Any], files: list[int]) -> None:
    """Make this process look as if the program had been run by whoever asked."""
    for number, file in enumerate(files):
        os.dup2(file, number, inheritable=True)
    for file in files:
        if file >= len(files):
            os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    sys.argv = list(request["argv"])
    sys.path[0] = str(Path(sys.argv[0]).parent)
    config = sys.modules.get("ray._raylet")
    if config is not None:
        config.Config.initialize("")  # Ray's own way to have it read the environment again


def children() -> list[int]:
    """Pids of this process's children, the fallen ones included."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in path.read_text().split()]


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_group(pid: int) -> None:
    """The process of this pid, and what it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        kill(pid)


def main(arguments: list[str]) -> None:
    path, first, later = arguments
    os.environ["RAY_JOB_ID"] = NIL_JOB
    os.environ["RAY_RAYLET_PID"] = str(os.getpid())
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    # From here on requests wait in line rather than find nobody.
    listener.listen(128)
    modules = first.split(",")
    if any(module.startswith("ray.") for module in modules):
        draw_ids_from_the_system()
    for module in modules:
        importlib.import_module(module)
    nursery = Nursery(listener, [module for module in later.split(",") if module])
    try:
        nursery.run()
    finally:
        nursery.kill_all()


if __name__ == "__main__":
    main(sys.argv[1:])
