"""The process that keeps the embedded servers for all instances of a checkout.

    python -m launcher.keeper STATE SOCKETS POSTGRES_PROGRAMS VALKEY_PROGRAM

An instance is a connection to the keeper's socket. The first one brings the servers up, and when
the last one is gone, however it went, the keeper stops them and ends. So nothing counts users by
pid, and an instance that was killed is no user any more. The servers in turn are tethered to the
keeper: killed with -9 itself, it takes them along, and whoever comes next starts a new one.

One thread, one loop, standard library only: it costs ten megabytes and, while nothing happens, no
CPU. To a client it sends lines of JSON: `{"state": "starting", "what": ...}`, `{"state": "ready"}`,
`{"state": "failed", "reason": ...}`, `{"state": "stopped"}` to the last one that said `bye`.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from launcher import postgres, valkey
from launcher.places import lock
from launcher.tether import nobody

SOCKET = "keeper.sock"
LOCK = "keeper.lock"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
SHORT_LIVES = 10
"""Ends of one server in a row, each soon after it was up; more, and a person has to look."""
SHORT_LIFE_S = 3.0
PATIENCE_S = 20.0
"""How long a server that ended may fail to start again. Of a Postgres that was killed, backends
live on until their statements end, and as long as one does, no other server takes the data."""
PAUSE_S = 0.1
POLL_S = 0.02


class ServerFailed(Exception):
    """A server did not come up; the message says where to look."""


@dataclass(slots=True)
class Server:
    """One server process and what is known of it."""

    name: str
    command: list[str]
    log: Path
    stop_signal: int
    ready: Callable[[int], bool]
    not_root: bool = False
    process: subprocess.Popen[bytes] | None = None
    up_since: float = 0.0
    short_lives: int = 0

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerFailed: It ended or stayed silent.
        """
        now = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # our own servers
                tethered(self.command, self.stop_signal, not_root=self.not_root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.ready(self.process.pid):
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} did not start; see {self.log}")
            if time.monotonic() - now > READY_TIMEOUT_S:
                raise ServerFailed(
                    f"{self.name} did not answer within {READY_TIMEOUT_S:.0f} s; see {self.log}"
                )
            time.sleep(POLL_S)
        self.up_since = time.monotonic()

    def start_again(self) -> None:
        """Start it after it ended by itself, or was killed; again and again for a while.

        Raises:
            ServerFailed: It did not come up, or ended too often.
        """
        now = time.monotonic()
        self.short_lives = self.short_lives + 1 if now - self.up_since < SHORT_LIFE_S else 0
        if self.short_lives >= SHORT_LIVES:
            raise ServerFailed(f"{self.name} ended {SHORT_LIVES} times in a row; see {self.log}")
        while True:
            try:
                self.start()
            except ServerFailed:
                if time.monotonic() - now > PATIENCE_S:
                    raise
                time.sleep(PAUSE_S)
            else:
                return

    def stop(self) -> None:
        """Stop it in order, or by force after a while."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # SIGQUIT ends Postgres at once with all its children; it recovers at the next start.
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def ignore(number: int, frame: FrameType | None) -> None:
    """Being called at all is what wakes the loop."""


def tethered(command: list[str], death_signal: int, *, not_root: bool = False) -> list[str]:
    """The command, run so that it ends with this process."""
    tether = str(Path(__file__).with_name("tether.py"))
    options = ["--parent", str(os.getpid()), "--signal", str(death_signal)]
    if not_root:
        options.append("--not-root")
    return [sys.executable, "-I", "-S", tether, *options, "--", *command]


class Keeper:
    """The loop. `state` is the checkout's folder, `sockets` the short one."""

    def __init__(self, state: Path, sockets: Path, programs: Path, valkey_program: Path) -> None:
        self._state = state
        self._sockets = sockets
        self._programs = programs
        self._data = state / "postgres-18"
        logs = state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        (state / "valkey").mkdir(exist_ok=True)
        self._known = {
            "postgres": Server(
                "Postgres",
                postgres.run_command(programs, self._data, sockets),
                logs / "postgres.log",
                signal.SIGINT,  # its fast shutdown: sessions are cut, transactions rolled back
                lambda pid: postgres.is_ready(self._data, pid),
                not_root=True,
            ),
            "valkey": Server(
                "Valkey",
                valkey.run_command(valkey_program, state / "valkey", sockets),
                logs / "valkey.log",
                signal.SIGTERM,
                lambda pid: valkey.is_ready(sockets),
            ),
        }
        self._up: list[Server] = []
        self._clients: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._told: list[socket.socket] = []

    def run(self) -> None:
        """Serve until the last client is gone."""
        wakeup, waker = socket.socketpair()
        wakeup.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ignore)
        path = self._sockets / SOCKET
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(wakeup, selectors.EVENT_READ)
        served = ending = False
        while not ending and (self._clients or not served):
            for key, _ in self._selector.select(None if served else READY_TIMEOUT_S):
                if key.fileobj is wakeup:
                    ending = self._signalled(wakeup.recv(4096)) or ending
                elif key.fileobj is listener:
                    client = listener.accept()[0]
                    self._clients[client] = b""
                    self._selector.register(client, selectors.EVENT_READ)
                    served = True
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)
            if not served and not self._clients:
                break  # whoever started this is gone
        # Before the servers go, so that whoever comes now starts a keeper of its own, which waits.
        path.unlink(missing_ok=True)
        listener.close()
        for server in reversed(self._up):
            server.stop()
        for client in (*self._told, *self._clients):
            self._send(client, {"state": "stopped"})

    def _signalled(self, numbers: bytes) -> bool:
        """Whether to end. A server that ended by itself is started again."""
        if any(number != signal.SIGCHLD for number in numbers):
            return True
        for server in self._up:
            if server.process is not None and server.process.poll() is not None:
                self._tell({"state": "starting", "what": f"{server.name} again; it had ended"})
                if not self._start(server, again=True):
                    return True
        return False

    def _read(self, client: socket.socket) -> None:
        try:
            received = client.recv(65536)
        except OSError:
            received = b""
        *lines, self._clients[client] = (self._clients[client] + received).split(b"\n")
        for line in lines:
            if line == b"bye":
                self._told.append(client)
                received = b""
            else:
                self._bring_up(client, json.loads(line))
        if not received:
            self._selector.unregister(client)
            del self._clients[client]
            if client not in self._told:
                client.close()
            elif self._clients:
                self._send(client, {"state": "left"})
                self._told.remove(client)
                client.close()

    def _bring_up(self, client: socket.socket, names: list[str]) -> None:
        for name in names:
            server = self._known[name]
            if server in self._up:
                continue
            self._up.append(server)
            self._send(client, {"state": "starting", "what": server.name})
            if not self._start(server):
                self._up.remove(server)
                return
        self._send(client, {"state": "ready"})

    def _start(self, server: Server, *, again: bool = False) -> bool:
        try:
            if again:
                server.start_again()
            elif server is self._known["postgres"]:
                self._make_data()
                server.start()
                postgres.create_database(self._programs, self._sockets)
            else:
                server.start()
        except (ServerFailed, OSError) as error:
            self._tell({"state": "failed", "reason": str(error)})
            return False
        except subprocess.SubprocessError as error:
            said = str(getattr(error, "stderr", None) or error).strip()
            self._tell({"state": "failed", "reason": f"Postgres did not start: {said}"})
            return False
        return True

    def _make_data(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._tell({"state": "starting", "what": "Postgres for the first time"})
        self._data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self._data, *nobody())
        subprocess.run(
            tethered(
                postgres.make_command(self._programs, self._data), signal.SIGKILL, not_root=True
            ),
            check=True,
            capture_output=True,
            text=True,
            timeout=READY_TIMEOUT_S,
        )

    def _tell(self, message: dict[str, Any]) -> None:
        for client in list(self._clients):
            self._send(client, message)

    def _send(self, client: socket.socket, message: dict[str, Any]) -> None:
        try:
            client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # it is gone, which its own end of the connection tells soon


def main(arguments: list[str]) -> None:
    state, sockets, programs, valkey_program = (Path(argument) for argument in arguments)
    # A keeper that is stopping its servers still holds this; two on the same data must not be.
    held = lock(sockets / LOCK, wait=True)
    Keeper(state, sockets, programs, valkey_program).run()
    if held is not None:
        held.close()


if __name__ == "__main__":
    main(sys.argv[1:])
