"""SessionHost as a Ray actor: a shell around `HostRuntime`, and nothing else.

The Directory creates hosts; a host reports to it and listens for gateways (`server`). Settings
become plain values here; live clients are opened here, in the process that uses them, since none
of them can be pickled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from actors.collector import settle
from actors.desk import Desk, Seat
from actors.limits import HostLimits, SessionLimits
from actors.runtime import HostRuntime
from actors.server import HostServer
from agents.registry import build
from agents.spec import AgentSpec
from config.resolve import resolve, rule_specs
from config.stores import memory_of
from context.memory import ContextMemory
from contracts.hosts import HostAddress
from contracts.ids import new_id
from contracts.tasks import spawn, stop
from routing.rules import compile_rules

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger("troupe.actors.host")

NAMESPACE = "troupe"
REPORT_S = 1.0


class HostShell:
    """The body of the actor. Its id names this incarnation: a restarted actor has another."""

    def __init__(self, settings: Settings, directory: Any) -> None:
        self._host_id = new_id("host")
        self._directory = directory
        self._settings = settings
        self._runtime: HostRuntime | None = None
        self._memory: ContextMemory | None = None
        self._server: HostServer | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> str:
        """Open stores and agents, listen, register. Idempotent; returns the host's id."""
        async with self._starting:
            if self._reporter is None:
                await self._start()
        return self._host_id

    async def _start(self) -> None:
        settings = self._settings
        self._memory = memory_of(settings)
        await self._memory.open()
        self._runtime = runtime_of(self._host_id, settings, self._memory)
        self._server = HostServer(self._runtime, ray.util.get_node_ip_address())
        address = HostAddress(self._host_id, *await self._server.start(), self._server.token)
        self._reporter = spawn(self._report(self._runtime, address), name="host-report")
        await self._register(self._runtime, address)
        settle()

    async def ping(self) -> str:
        """Answers while the event loop is alive."""
        return self._host_id

    async def drain(self) -> None:
        """Keep what runs, stop, and let the stores go."""
        await stop(self._reporter)
        if self._runtime is not None and self._server is not None and self._memory is not None:
            await self._runtime.close()
            await self._server.close()
            await self._memory.aclose()

    async def _register(self, runtime: HostRuntime, address: HostAddress) -> None:
        me = ray.get_runtime_context().current_actor
        await self._directory.register.remote(address, me, runtime.keys())

    async def _report(self, runtime: HostRuntime, address: HostAddress) -> None:
        """Tell the Directory the load; one that lost its memory is told everything again."""
        while True:
            await asyncio.sleep(REPORT_S)
            try:
                known = await self._directory.report.remote(
                    self._host_id, runtime.load(), runtime.released()
                )
                if not known:
                    await self._register(runtime, address)
            except RayError as error:
                log.warning("the Directory does not answer: %r", error)


def runtime_of(host_id: str, settings: Settings, memory: ContextMemory) -> HostRuntime:
    """The plain host that these settings describe."""
    hosts, pace = settings.hosts, settings.hosts.pace
    return HostRuntime(
        host_id,
        memory,
        desk_of(settings),
        HostLimits(
            sessions=hosts.sessions_per_host,
            idle_s=hosts.idle_s,
            linger_s=hosts.log_linger_s,
            sweep_s=min(5.0, hosts.log_linger_s, hosts.idle_s),
            urgent_s=pace.urgent_ms / 1000,
            bulk_s=pace.bulk_ms / 1000,
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
        ),
        time.time,
    )


def desk_of(settings: Settings) -> Desk:
    """The agents with their adapters, and the rules between them. Imports the SDKs in use."""
    seats: dict[str, Seat] = {}
    for name, agent in resolve(settings).items():
        adapter = build(
            AgentSpec(
                name=name,
                provider=agent.provider,
                model=agent.model,
                instructions=agent.prompt,
                api_key=agent.api_key,
                base_url=agent.base_url,
                api=agent.api,
                timeout_s=agent.timeout_s,
                total_timeout_s=settings.hosts.max_turn_s,
                max_sessions=agent.max_sessions,
                pace_s=settings.hosts.pace.bulk_ms / 1000,
            )
        )
        seats[name] = Seat(
            name=name,
            agent=adapter,
            model=agent.model,
            instructions=agent.prompt,
            temperature=agent.temperature,
            max_output_tokens=agent.max_output_tokens,
            context_tokens=agent.context_tokens,
            attempts=agent.attempts,
            max_answer_chars=settings.hosts.max_answer_chars,
        )
    return Desk(seats, compile_rules(rule_specs(settings), seats))


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
