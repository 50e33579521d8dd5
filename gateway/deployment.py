"""The Gateway as a Ray Serve deployment: opens its stores and its link, then serves the app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ray import serve

from config.orders import orders
from config.stores import memory_of, reports_of
from contracts.collector import settle
from contracts.hosts import Locator
from contracts.ids import new_id
from contracts.tasks import spawn
from errands.crew import Crew
from gateway.app import build_app
from gateway.drain import Drain, Generation
from gateway.link import Link
from gateway.options import GatewayOptions, InputLimits, ScheduleLimits, Services
from gateway.rulebook import Rulebook
from gateway.standing import standing
from gateway.uvicorn_socket import install
from gateway.wire import WireHost

if TYPE_CHECKING:
    from config.settings import Settings

HEALTH_TIMEOUT_S = 2.0
_DRAIN_SHARE = 0.8
"""Of the time that Serve gives a replica to stop, what sending everybody away may take."""


class Directory(Locator, Protocol):
    """What a gateway needs of the Directory."""

    async def start(self) -> None: ...


class GatewayShell:
    """The body of a replica. Serve calls `__serve_build_asgi_app__` once, on the replica's loop.

    Args:
        settings: All of them.
        connect: Opens the way to the Directory; called in the replica.
        generation: Of the application that this replica belongs to; None: of the first that the
            Directory tells.
        beside: Handles of the application's other deployments. Serve wants its ingress to know
            them; a gateway asks none of them.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Settings], Directory],
        generation: int | None = None,
        beside: Sequence[Any] = (),
    ) -> None:
        del beside
        self._settings = settings
        self._generation = generation
        self._directory = connect(settings)
        self._crew: Crew | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def __serve_build_asgi_app__(self) -> Any:
        install()
        settings, directory = self._settings, self._directory
        memory = memory_of(settings)
        await memory.open()
        rulebook = Rulebook(
            memory.policies,
            partial(standing, settings),
            scopes=settings.routing.policy_scopes,
            chars=settings.routing.policy_chars,
            poll_s=settings.routing.poll_s,
        )
        await rulebook.watch.look()
        self._watcher = spawn(rulebook.watch.run(), name="gateway-policies")
        link = Link(
            new_id("gw"),
            directory,
            WireHost,
            silence_s=settings.gateway.pipe_silence_s,
            reader_events=settings.gateway.send_queue_events,
            reader_bytes=settings.gateway.send_queue_bytes,
            placements=settings.gateway.max_sockets * 2,
            call_timeout_s=settings.gateway.request_timeout_s,
            reattach_s=settings.gateway.reattach_s,
            command_batch=settings.gateway.command_batch,
        )
        drain = Drain(settings.gateway.drain_s * _DRAIN_SHARE)
        link.open(Generation(self._generation, drain).on_fleet)

        self._crew = Crew(
            link.gateway_id,
            orders(settings),
            outbox=memory.outbox,
            timetable=memory.timetable,
            archive=memory.archive,
            sessions=link,
        )
        self._crew.start()

        async def health() -> dict[str, str]:
            stores, hosts = await asyncio.gather(memory.health(), hosts_health(directory))
            return {**stores, "hosts": hosts}

        app = build_app(
            Services(
                link,
                memory.records,
                rulebook,
                health,
                options(settings),
                memory.timetable,
                drain,
                memory.routes,
                memory.spending,
                reports_of(settings),
            )
        )
        settle()
        return app


async def hosts_health(directory: Locator) -> str:
    """`ok`, or what is wrong with the hosts."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            return "ok" if await directory.hosts() else "no session host is up"
    except Exception:  # noqa: BLE001 - whatever it is, the answer to the question is no
        return "the Directory does not answer"


def options(settings: Settings) -> GatewayOptions:
    """The gateway's plain values."""
    gateway, limits, key = settings.gateway, settings.limits, settings.auth.api_key
    admin_key = settings.auth.admin_key
    return GatewayOptions(
        open_doors=key is None,
        api_keys=(key.get_secret_value(),) if key else (),
        organization=settings.auth.organization,
        admin_key=admin_key.get_secret_value() if admin_key else None,
        cors_origins=tuple(gateway.cors_origins),
        ticket_ttl_s=gateway.ticket_ttl_s,
        open_requests=gateway.max_sockets,
        body_bytes=gateway.max_body_bytes,
        body_timeout_s=gateway.body_timeout_s,
        open_timeout_s=gateway.open_timeout_s,
        keepalive_s=gateway.keepalive_s,
        send_timeout_s=gateway.send_timeout_s,
        limits=InputLimits(
            message_chars=limits.max_message_chars,
            instructions_chars=limits.max_instructions_chars,
            input_items=limits.max_input_items,
            metadata_pairs=limits.max_metadata_pairs,
            metadata_key_chars=limits.max_metadata_key_chars,
            metadata_value_chars=limits.max_metadata_value_chars,
            id_chars=limits.max_id_chars,
            page_items=limits.page_items,
            max_page_items=limits.max_page_items,
        ),
        schedules=ScheduleLimits(
            in_session=settings.schedules.per_conversation,
            in_organization=settings.schedules.per_organization,
            min_interval_s=settings.schedules.min_interval_s,
        ),
    )


def gateway(
    settings: Settings,
    connect: Callable[[Settings], Directory],
    generation: int | None = None,
    beside: Sequence[Any] = (),
) -> Any:
    """The bound deployment; see `GatewayShell`."""
    deployment: Any = serve.deployment(
        serve.ingress()(GatewayShell),
        name="Gateway",
        num_replicas=settings.gateway.replicas,
        ray_actor_options={"num_cpus": settings.gateway.cpus},
        max_ongoing_requests=settings.gateway.max_sockets * 2,
        graceful_shutdown_timeout_s=settings.gateway.drain_s,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )
    return deployment.bind(settings, connect, generation, beside)
