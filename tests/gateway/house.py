"""A gateway on a real socket, with real stores, before a host whose agents say what a test tells.

Each house has an organization of its own, so tests share a database without meeting.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
import httpx2
import uvicorn
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from actors.runtime import HostRuntime
from config.load import load
from context.exchange import HostReports
from context.memory import ContextMemory
from contracts.agents import Agent
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable
from contracts.hosts import HostAddress
from contracts.messages import FailurePolicy
from contracts.money import NO_BUDGETS, Budgets, Price
from contracts.tasks import spawn
from gateway.app import build_app
from gateway.drain import Drain
from gateway.link import Link
from gateway.options import GatewayOptions, Services
from gateway.rulebook import Rulebook
from gateway.standing import standing
from gateway.uvicorn_socket import LeanSocket
from tests.support.runtime import OneHost, ScriptedAgent, make_runtime

SETTINGS = load(
    {
        "TROUPE_SIMULATOR__URL": "http://127.0.0.1:9",
        "TROUPE_AGENTS": json.dumps(
            {
                "gpt": None,
                "gemini": None,
                "echo": {"provider": "openai", "model": "m", "description": "Says what it hears."},
                "other": {"provider": "openai", "model": "m"},
            }
        ),
        "TROUPE_RULES": '[{"name": "rest", "when": "else", "agent": "echo"}]',
        "TROUPE_PRICES": '{"m": {"input_usd": 1, "output_usd": 4}}',
    }
)
"""What the gateway believes its agents to be; the host's are scripted."""

# Never used; but to load it for each client takes longer than most tests.
_TLS = ssl.create_default_context()
_count = itertools.count(1)


@dataclass(frozen=True)
class Stores:
    """Where the stores are; both are real."""

    database_url: str
    redis_url: str


class Hosts:
    """A `Locator` with one host at a time that takes sessions; `up` False: with none."""

    def __init__(self, runtime: HostRuntime) -> None:
        self.runtimes: dict[str, OneHost] = {}
        self.suspected: list[str] = []
        self.up = True
        self.put(runtime)

    def put(self, runtime: HostRuntime) -> None:
        """From now on sessions are placed on this one."""
        self.current = OneHost(runtime)
        self.runtimes[runtime.host_id] = self.current

    def connect(self, address: HostAddress) -> OneHost:
        return self.runtimes[address.host_id]

    async def locate(self, keys: list[SessionKey]) -> list[HostAddress]:
        if not self.up:
            raise HostUnavailable("No session host is up.")
        return await self.current.locate(keys)

    async def suspect(self, host_id: str) -> None:
        self.suspected.append(host_id)

    async def hosts(self) -> dict[str, int]:
        return {name: host.runtime.load() for name, host in self.runtimes.items()}


@dataclass
class House:
    """See the module.

    Attributes:
        client: The stock client.
        http: A plain client, for what the stock one would not send.
        health: What the dependencies are said to be.
    """

    url: str
    org: str
    agent: ScriptedAgent
    other: ScriptedAgent
    memory: ContextMemory
    database: asyncpg.Connection
    runtime: HostRuntime
    hosts: Hosts
    link: Link
    services: Services
    health: dict[str, str]
    client: AsyncOpenAI
    http: httpx2.AsyncClient

    @property
    def rulebook(self) -> Rulebook:
        return self.services.rulebook

    def key(self, session_id: str) -> SessionKey:
        return SessionKey(self.org, session_id)

    def readers(self) -> int:
        """How many readers the gateway has."""
        audience = self.link._audience
        states = (audience.attached, audience.dormant, audience.seeking)
        return sum(len(readers) for state in states for readers in state.values())

    def calls(self) -> int:
        """How many of the gateway's calls wait for a host's answer."""
        return sum(len(line.waiting) for line in self.link._lines.values())

    async def break_pipes(self) -> None:
        """Let every pipe of the host break, as when the connection is lost."""
        for outlet in list(self.runtime._outlets.values()):
            self.runtime._unplug(outlet)

    async def responses(self) -> list[tuple[str, str]]:
        """Id and status of every response in the store, oldest first."""
        rows = await self.database.fetch(
            "SELECT id, status FROM responses WHERE org_id = $1 ORDER BY id", self.org
        )
        return [(row["id"], row["status"]) for row in rows]

    async def status(self, response_id: str) -> str:
        return dict(await self.responses())[response_id]

    async def data(self) -> list[Any]:
        """Everything that is kept for the organization, to be compared with itself."""
        found: list[Any] = []
        for table in ("users", "sessions", "messages", "responses"):
            # An activation is no trace of a request: it takes an epoch and changes nothing else.
            rows = await self.database.fetch(
                f"SELECT to_jsonb(t) - 'epoch' AS row FROM {table} AS t"
                " WHERE org_id = $1 ORDER BY t::text",
                self.org,
            )
            found.append([row["row"] for row in rows])
        return found


async def eventually(what: Callable[[], Any], wanted: Any = True) -> None:
    """Wait until `what` gives `wanted`; a test that waits in vain fails by its time limit."""
    while True:
        found = what()
        if isinstance(found, Awaitable):
            found = await found
        if found == wanted:
            return
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(services: Services) -> AsyncIterator[str]:
    """The gateway's application on a port of its own; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(services), log_config=None, access_log=False, ws=LeanSocket)
    server = uvicorn.Server(config)
    task = spawn(server.serve([listener]), name="uvicorn")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        # A stream that a failed test left open must not keep the tests from ending.
        asyncio.get_running_loop().call_later(5, setattr, server, "force_exit", True)
        await task
        listener.close()


@asynccontextmanager
async def open_house(
    stores: Stores,
    *,
    agents: dict[str, Agent] | None = None,
    answer_chars: int = 10_000,
    on_failure: FailurePolicy = "continue",
    call_timeout_s: float = 30,
    reattach_s: float = 5,
    drain_s: float = 0,
    budgets: Budgets = NO_BUDGETS,
    price: Price | None = None,
    **options: Any,
) -> AsyncIterator[House]:
    """A house with the options given; without keys its door is open."""
    org = f"org_{os.getpid()}_{next(_count)}"
    keys = options.get("api_keys", ())
    key = keys[0] if keys else "none"
    agent, other = ScriptedAgent(), ScriptedAgent()
    health = {"postgres": "ok", "redis": "ok", "hosts": "ok"}

    async def ask_health() -> dict[str, str]:
        return health

    async with AsyncExitStack() as stack:
        database = await asyncpg.connect(stores.database_url)
        stack.push_async_callback(database.close)
        await database.execute("INSERT INTO organizations (id, name) VALUES ($1, 'test')", org)
        memory = ContextMemory(stores.database_url, stores.redis_url)
        stack.push_async_callback(memory.aclose)
        await memory.open(migrations=False)
        runtime = make_runtime(
            memory,  # type: ignore[arg-type]
            agents or {"echo": agent, "other": other},  # type: ignore[arg-type]
            max_answer_chars=answer_chars,
            budgets=budgets,
            price=price,
            ledger=memory.spending,
            on_failure=on_failure,
        )
        stack.push_async_callback(runtime.close)
        hosts = Hosts(runtime)
        link = Link(
            "gw_1",
            hosts,
            hosts.connect,
            silence_s=60,
            reader_events=1000,
            placements=1000,
            call_timeout_s=call_timeout_s,
            reattach_s=reattach_s,
        )
        stack.push_async_callback(link.close)
        given = GatewayOptions(**{"open_doors": not keys, "organization": org, **options})
        rulebook = Rulebook(memory.policies, partial(standing, SETTINGS))
        reports = HostReports(stores.redis_url, timeout_s=10.0)
        stack.push_async_callback(reports.aclose)
        services = Services(
            link,
            memory.records,
            rulebook,
            ask_health,
            given,
            memory.timetable,
            Drain(drain_s),
            memory.routes,
            memory.spending,
            reports,
        )
        url = await stack.enter_async_context(serving(services))
        client = await stack.enter_async_context(
            AsyncOpenAI(
                base_url=f"{url}/v1",
                api_key=key,
                max_retries=0,
                http_client=DefaultAsyncHttpxClient(verify=_TLS),
            )
        )
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {key}"},
                trust_env=False,
                verify=_TLS,
                timeout=60,
            )
        )
        yield House(
            url, org, agent, other, memory, database, runtime, hosts, link, services, health,
            client, http,
        )  # fmt: skip
