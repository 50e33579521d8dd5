"""A Troupe of a run's own, seen from outside: its processes by kind, and whether it is well.

Processes are found by walking down from the one that was started; nothing else on the machine can
be hit, whatever it is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import psutil

from bench import servers
from bench.processes import MARK, kind_of
from chaos.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
_LOOK_S = 0.25
_ANSWER_TIMEOUT_S = 3.0
PARTS = {
    "host": "hosts",
    "gateway": "gateway",
    "directory": "directory",
    "haproxy": "HAProxy",
    "valkey": "Valkey",
    "postgres": "Postgres",
}
"""Our names of the parts, and what `bench.processes` calls their processes."""


class Instance:
    """Args:
    url: Where it answers.
    root: The process that everything of it descends from.
    """

    def __init__(self, url: str, root: int) -> None:
        self.url = url
        self._root = root
        self._whole: Counter[str] = Counter()

    def processes(self) -> dict[str, list[psutil.Process]]:
        """All living processes by kind, the oldest first."""
        found: dict[str, list[psutil.Process]] = {}
        try:
            members = psutil.Process(self._root).children(recursive=True)
        except psutil.NoSuchProcess:
            return {}
        for process in members:
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    kind = kind_of(" ".join(process.cmdline()).strip())
                    found.setdefault(kind, []).append(process)
        for group in found.values():
            group.sort(key=_born)
        return found

    def parts(self, name: str) -> list[psutil.Process]:
        """The processes of one part; of Postgres the postmaster alone, see `backends`."""
        members = self.processes().get(PARTS[name], [])
        if name == "postgres":
            pids = {process.pid for process in members}
            members = [process for process in members if process.ppid() not in pids]
        return members

    def backends(self) -> list[psutil.Process]:
        """Postgres's processes that serve a client each."""
        return [
            process
            for process in self.processes().get(PARTS["postgres"], [])
            if "[local]" in " ".join(process.cmdline())
        ]

    def environ(self) -> dict[str, str]:
        """What every process of it was started with, but for what would make one of it."""
        drivers = [
            process
            for group in self.processes().values()
            for process in group
            if "launcher.driver" in process.cmdline()
        ]
        return {
            name: text
            for name, text in drivers[0].environ().items()
            if name not in ("LAUNCHER_INSTANCE", "LAUNCHER_NURSERY", MARK)
        }

    def cluster(self) -> str:
        """Where its Ray is."""
        for process in self.processes().get("raylet", ()):
            for word in process.cmdline():
                if word.startswith("--gcs-address="):
                    return word.partition("=")[2]
        raise RuntimeError("the instance has no raylet")

    def remember(self) -> None:
        """Take what is there now for the whole of it."""
        self._whole = self._census()

    async def well(self, http: aiohttp.ClientSession) -> bool:
        """Whether every part is there again, and answers."""
        if any(self._census()[name] < many for name, many in self._whole.items()):
            return False
        try:
            async with http.get(f"{self.url}/readyz", timeout=_limit()) as answer:
                return answer.status == 200 and (await answer.json())["status"] == "ok"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
            return False

    async def until_well(self, http: aiohttp.ClientSession, limit_s: float) -> float | None:
        """Wait for it; how long it took, or None if it did not become well."""
        began = time.monotonic()
        while not await self.well(http):
            if time.monotonic() - began > limit_s:
                return None
            await asyncio.sleep(_LOOK_S)
        return time.monotonic() - began

    def missing(self) -> list[str]:
        """Parts of which there are fewer than there were."""
        census = self._census()
        return [name for name, many in self._whole.items() if census[name] < many]

    def _census(self) -> Counter[str]:
        """How many there are of each part; of HAProxy any, since former ones live on a while."""
        groups = self.processes()
        census = Counter({name: len(groups.get(kind, ())) for name, kind in PARTS.items()})
        for name in ("haproxy", "postgres"):
            census[name] = min(census[name], 1)
        return census


@contextlib.asynccontextmanager
async def instance(plan: Plan, provider: str, log: Path) -> AsyncGenerator[Instance]:
    """Start one with data of its own, and take it down.

    Args:
        plan: How many hosts and gateways it has.
        provider: The simulator's address.
        log: File that takes what it prints.
    """
    port = servers.free_port()
    # On the disk where the data of `make run` are: durability costs what the disk takes for it.
    (ROOT / ".troupe").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=ROOT / ".troupe") as state:
        environ = {
            **os.environ,
            MARK: secrets.token_hex(8),
            "LAUNCHER_STATE": state,
            "OPENAI_API_KEY": "chaos",
            "OPENAI_BASE_URL": f"{provider}/v1",
            "TROUPE_SIMULATOR__URL": provider,
            "TROUPE_AGENTS__GPT__MODEL": plan.provider_model,
            "TROUPE_GATEWAY__REPLICAS": str(plan.gateways),
            "TROUPE_HOSTS__COUNT": str(plan.hosts),
            # How long Serve keeps a former gateway that nobody uses, for load balancers that have
            # not noticed yet; there is none here.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        }
        command = ["-m", "launcher", "run", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        async with servers.running(
            command, ROOT, environ, url, "/readyz", plan.start_limit_s, log
        ) as server:
            yield Instance(url, server.pid)


def _born(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _limit() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S)
