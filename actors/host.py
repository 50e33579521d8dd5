"""SessionHost as a Ray actor: a shell around `HostRuntime`, and nothing else.

The Directory creates hosts and asks them who they are; a host reports to it and listens for
gateways (`server`). Settings become plain values here; live clients are opened here, in the process
that uses them, since none of them can be pickled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray.exceptions import ActorDiedError, RayError

from actors.desk import Desk
from actors.limits import HostLimits, SessionLimits
from actors.metrics import HostMetrics
from actors.purse import Purse
from actors.renewal import Renewal
from actors.report import endpoint_rows, host_report
from actors.runtime import HostRuntime
from actors.seating import health_of
from actors.seats import in_force
from actors.server import HostServer
from config.stores import exchange_of, memory_of
from context.exchange import Exchange
from context.memory import ContextMemory
from context.watch import PolicyWatch
from contracts.collector import settle
from contracts.commands import SessionKey
from contracts.hosts import HostAddress
from contracts.ids import new_id
from contracts.pace import Pace
from contracts.policies import Policy
from contracts.tasks import spawn, stop
from router.reach import RouterOracle, router_oracle
from routing.health import HealthBook

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger("troupe.actors.host")

APP_NAME = "troupe"
"""The Serve application's."""
NAMESPACE = "troupe"
DIRECTORY = "directory"
"""The name of the Directory's actor."""
REPORT_S = 1.0
DRAINING_REPORT_S = 0.1
"""Where a session that was let go is placed next must not wait for long."""
REPORT_TIMEOUT_S = 5.0
FAREWELL_S = 0.2
METRICS_S = 5.0
LEFT_OPEN = 20_000
"""Sessions named at once, of those whose turns nobody may be running."""


class Presence(NamedTuple):
    """What a host that is up says of itself. `node` is Ray's hex id of the node it runs on."""

    address: HostAddress
    node: str
    draining: bool


class HostShell:
    """The body of the actor. Its id names this incarnation: a restarted actor has another.

    The Directory calls it, and it calls the Directory's `report`. They may be of different
    deployments, so what they say to each other keeps its shape.
    """

    def __init__(self, settings: Settings) -> None:
        self._host_id = new_id("host")
        self._settings = settings
        self._presence: Presence | None = None
        self._runtime: HostRuntime | None = None
        self._memory: ContextMemory | None = None
        self._server: HostServer | None = None
        self._renewal: Renewal | None = None
        self._watch: PolicyWatch | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._meter: asyncio.Task[None] | None = None
        self._directory: Any = None
        self._told: dict[SessionKey, int] = {}
        self._draining = False
        self._starting = asyncio.Lock()
        self._ending = asyncio.Lock()

    async def start(self) -> Presence:
        """Open stores and agents and listen. Idempotent; returns who answers."""
        async with self._starting:
            if self._presence is None:
                self._presence = await self._start()
        return self._presence._replace(draining=self._draining)

    async def _start(self) -> Presence:
        settings = self._settings
        self._memory = memory_of(settings)
        await self._memory.open()
        oracle = oracle_of(settings)
        health = health_of(settings)
        desk = Desk(in_force(settings, health), oracle)
        renewal = self._renewal = Renewal(settings, health, desk)

        async def renew(policies: Sequence[Policy]) -> None:
            await renewal.apply(policies)
            if oracle is not None:
                oracle.prepare(desk.in_force.questions())

        self._watch = PolicyWatch(self._memory.policies, renew, poll_s=settings.routing.poll_s)
        if oracle is not None:
            oracle.prepare(desk.in_force.questions())
        await self._watch.look()
        self._runtime = runtime_of(self._host_id, settings, self._memory, desk)
        self._server = HostServer(self._runtime, ray.util.get_node_ip_address())
        address = HostAddress(self._host_id, *await self._server.start(), self._server.token)
        self._watcher = spawn(self._watch.run(), name="host-policies")
        self._exchange = self._shared(health, desk, self._watch)
        self._reporter = spawn(self._report(self._runtime), name="host-report")
        self._meter = spawn(self._measure(self._runtime, self._memory, desk), name="host-metrics")
        settle()
        return Presence(address, ray.get_runtime_context().get_node_id(), self._draining)

    def _shared(self, health: HealthBook, desk: Desk, watch: PolicyWatch) -> Exchange:
        """What is known of endpoints, told to the other hosts and heard from them."""

        def report() -> dict[str, Any]:
            errors = [watch.problem] if watch.problem else []
            now = asyncio.get_running_loop().time()
            return host_report(self._host_id, desk, errors, now, time.time())

        exchange = exchange_of(self._settings, self._host_id, health, report)
        health.on_shut = exchange.nudge
        exchange.open()
        return exchange

    async def ping(self) -> str:
        """Answers while the event loop is alive."""
        return self._host_id

    async def enlist(self) -> dict[SessionKey, int]:
        """The sessions held and the epoch of each, for a Directory that does not know them."""
        self._told = {} if self._runtime is None else self._runtime.claims()
        return self._told

    async def left_open(self, born_after: float, born_before: float) -> list[SessionKey]:
        """Sessions with turns accepted between these times that have not ended; any host may say.

        Raises `StoreUnavailable`.
        """
        if self._memory is None:
            return []
        return await self._memory.left_open(
            born_after=born_after, born_before=born_before, limit=LEFT_OPEN
        )

    async def adopt(self, keys: list[SessionKey]) -> None:
        """Activate those of these sessions that are not active here, so that their turns go on."""
        if self._runtime is not None:
            self._runtime.adopt(keys)

    async def drain(self, deadline_s: float) -> None:
        """Take nothing new, let every session go, and close. Returns when all of that is done.

        Turns may run until the deadline; what is left of them goes on elsewhere. Idempotent, and of
        several deadlines the earliest holds.
        """
        self._draining = True
        if self._runtime is None or self._server is None or self._memory is None:
            return
        log.info("draining within %.1f s", deadline_s)
        await self._runtime.drain(deadline_s)
        async with self._ending:
            if self._reporter is None:
                return
            # What was said last is on its way to gateways; one that does not get it learns from
            # its closed connection that the host is gone.
            await asyncio.sleep(FAREWELL_S)
            await stop(self._reporter, self._meter, self._watcher)
            self._reporter = None
            await self._runtime.close()
            if self._exchange is not None:
                await self._exchange.aclose()
            if self._renewal is not None:
                await self._renewal.aclose()
            await self._server.close()
            await self._memory.aclose()

    async def _report(self, runtime: HostRuntime) -> None:
        """Tell the Directory the load, and what came and went since it last listened."""
        while True:
            await asyncio.sleep(DRAINING_REPORT_S if self._draining else REPORT_S)
            claims, told = runtime.claims(), self._told
            activated = {key: epoch for key, epoch in claims.items() if told.get(key) != epoch}
            released = [key for key in told if key not in claims]
            try:
                async with asyncio.timeout(REPORT_TIMEOUT_S):
                    superseded = await self._tell(runtime.load(), activated, released)
            except (RayError, TimeoutError, ValueError) as error:
                log.warning("the Directory does not answer: %r", error)
                continue
            if superseded is None:
                continue  # it does not know this host, and comes to ask for all of it
            self._told = claims
            if superseded:
                log.warning("%d sessions are active elsewhere", len(superseded))
                await runtime.depose(superseded)

    async def _measure(self, runtime: HostRuntime, memory: ContextMemory, desk: Desk) -> None:
        metrics = HostMetrics(ray.get_runtime_context().get_actor_name() or self._host_id)
        while True:
            health, counts = await memory.health(), memory.counts
            metrics.show(
                {
                    "sessions": runtime.load(),
                    "turns_running": runtime.running(),
                    "turns_waiting": runtime.waiting(),
                    "write_queue": counts["waiting"],
                    "postgres_up": health["postgres"] == "ok",
                    "redis_up": health["redis"] == "ok",
                    "activations": runtime.activations,
                    "wakes_hot": counts["hits"],
                    "wakes_cold": counts["misses"],
                    "writes": counts["writes"],
                    "write_batches": counts["batches"],
                    "journal_skipped": counts.get("journal_dropped", 0),
                }
            )
            now = asyncio.get_running_loop().time()
            metrics.show_endpoints(endpoint_rows(desk, now, time.time()))
            await asyncio.sleep(METRICS_S)

    async def _tell(
        self, load: int, activated: dict[SessionKey, int], released: list[SessionKey]
    ) -> list[SessionKey] | None:
        """One report. A Directory that was replaced is looked up by its name."""
        if self._directory is None:
            self._directory = await asyncio.to_thread(ray.get_actor, DIRECTORY, namespace=NAMESPACE)
        try:
            return await self._directory.report.remote(self._host_id, load, activated, released)
        except ActorDiedError:
            self._directory = None
            raise


def runtime_of(
    host_id: str, settings: Settings, memory: ContextMemory, desk: Desk | None = None
) -> HostRuntime:
    """The plain host that these settings describe; `desk` None: with their agents alone."""
    hosts, pace, budgets = settings.hosts, settings.hosts.pace, settings.budgets
    desk = desk or Desk(in_force(settings, health_of(settings)))
    return HostRuntime(
        host_id,
        memory,
        desk,
        Purse(
            memory.spending,
            desk.budgets,
            time.time,
            refresh_s=budgets.refresh_s,
            remembered=budgets.remembered,
        ),
        HostLimits(
            sessions=hosts.sessions_per_host,
            idle_s=hosts.idle_s,
            linger_s=hosts.log_linger_s,
            sweep_s=min(5.0, hosts.log_linger_s, hosts.idle_s),
            urgent_s=pace.urgent_ms / 1000,
            pace=pace_of(settings),
            phases=pace.phases,
            keepalive_s=pace.pipe_keepalive_s,
            outlet_items=hosts.pipe_events,
        ),
        SessionLimits(
            mailbox=hosts.mailbox_size,
            mail=hosts.mailbox_size * 8,
            messages=settings.context.window_messages,
            replay_events=settings.context.replay_events,
            save_attempts=hosts.save_attempts,
            turn_attempts=hosts.turn_attempts,
            turn_s=hosts.max_turn_s,
        ),
        time.time,
    )


def oracle_of(settings: Settings) -> RouterOracle | None:
    """Who answers rules that ask a model; None: nobody."""
    routing = settings.routing
    return router_oracle(APP_NAME, routing.router_asks) if routing.router_replicas else None


def pace_of(settings: Settings) -> Pace:
    """How text is gathered on its way out."""
    pace = settings.hosts.pace
    return Pace(pace.bulk_ms / 1000, pace.bulk_max_ms / 1000, pace.bulk_per_s)


def session_host(settings: Settings, name: str) -> Any:
    """The actor class of the host of this name, sized by settings.

    It outlives the Directory that creates it, and asks for CPUs and memory, since an actor that
    asks for nothing makes no cluster grow.
    """
    return ray.remote(HostShell).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=settings.hosts.cpus,
        memory=settings.hosts.memory_mb * 2**20,
        max_restarts=-1,
    )
