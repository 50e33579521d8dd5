"""A hand inside the cluster, for the faults that only Ray can do: a process connected to it.

    python -m chaos.hand ADDRESS

It runs with the instance's own environment, takes one word a line on standard input and answers
each with one line: `ok`, or what went wrong.

    fullest     the id of the host with most sessions
    drain ID    that host drains and ends, another takes its place; answered when it is gone
    redeploy    what an operator does with a new version: the application is run again
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

from bench.generator import end

ROOT = Path(__file__).resolve().parent.parent
_NAMESPACE = "troupe"
_START_TIMEOUT_S = 60.0
_ORDER_TIMEOUT_S = 120.0
_DRAIN_LIMIT_S = 60.0
_LOOK_S = 0.1


class HandFailed(Exception):
    """An order could not be carried out; the text is the hand's own."""


class Hand:
    """The conductor's side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def order(self, words: str) -> str:
        """Have it done; what it said besides `ok`. Raises `HandFailed`."""
        assert self._process.stdin is not None
        self._process.stdin.write(words.encode() + b"\n")
        said = await self.heard(_ORDER_TIMEOUT_S)
        word, _, rest = said.partition(" ")
        if word != "ok":
            raise HandFailed(f"{words}: {said}")
        return rest

    async def heard(self, timeout_s: float) -> str:
        """The next line."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise HandFailed(f"no word for {timeout_s:.0f} s") from None
        if not line:
            raise HandFailed("it ended; its words are in the log")
        return line.decode().strip()


@contextlib.asynccontextmanager
async def hand(address: str, environ: Mapping[str, str], log: Path) -> AsyncGenerator[Hand]:
    """Start one and end it.

    Args:
        address: The cluster's.
        environ: As the instance's own processes have it.
        log: File that takes what it prints besides its answers.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chaos.hand", address),
            cwd=ROOT,
            env=dict(environ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    try:
        done = Hand(process)
        if (said := await done.heard(_START_TIMEOUT_S)) != "ok":
            raise HandFailed(said)
        yield done
    finally:
        await end(process)


def main(address: str) -> None:
    """The process: connect, then obey until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed goes to the log
    import ray
    from ray._private import services

    # The instance listens on loopback alone, which Ray takes for a mistake.
    services.resolve_ip_for_localhost = _as_it_is
    ray.init(
        address=address,
        namespace=_NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
    )
    answers.write("ok\n")
    for line in sys.stdin:
        word, _, about = line.strip().partition(" ")
        try:
            answers.write(f"ok {_ORDERS[word](about)}\n")
        except Exception as error:  # noqa: BLE001 - told to the conductor, whatever it is
            sentence = str(error).strip().replace("\n", " ")
            answers.write(f"failed {type(error).__name__}: {sentence[:500]}\n")


def _as_it_is(host: str) -> str:
    return host


def _fullest(about: str) -> str:
    hosts = _known_hosts()
    return max(hosts, key=hosts.__getitem__, default="")


def _drain(host_id: str) -> str:
    import ray

    ray.get(_directory().release.remote(host_id))
    deadline = time.monotonic() + _DRAIN_LIMIT_S
    while host_id in _known_hosts():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it is still there after {_DRAIN_LIMIT_S:.0f} s")
        time.sleep(_LOOK_S)
    return ""


def _redeploy(about: str) -> str:
    from config.load import load

    app: Any = importlib.import_module("serve_app")
    app.run(load(os.environ))
    return ""


def _known_hosts() -> dict[str, int]:
    """Those that are up, with the sessions that each holds."""
    import ray

    return ray.get(_directory().hosts.remote())


def _directory() -> Any:
    import ray

    # By name each time: a deployment brings another one.
    return ray.get_actor("directory", namespace=_NAMESPACE)


_ORDERS: dict[str, Callable[[str], str]] = {
    "fullest": _fullest,
    "drain": _drain,
    "redeploy": _redeploy,
}

if __name__ == "__main__":
    main(sys.argv[1])
