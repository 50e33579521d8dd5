"""One agent's definition → its seat: adapters, endpoints and what chooses among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.desk import Hedge, Place, Seat
from agents.registry import build
from agents.spec import AgentSpec
from agents.streaming import StreamingAgent
from config.resolve import EndpointSpec, endpoints_of
from contracts.limits import RateLimits
from contracts.money import nano
from routing.circuit import Tolerance
from routing.endpoints import Balanced, Endpoint
from routing.health import Capacity, Health, HealthBook, identity

if TYPE_CHECKING:
    from config.agents import Agent as Definition
    from config.settings import Settings


def health_of(settings: Settings) -> HealthBook:
    """What one process comes to know of endpoints."""
    routing = settings.routing
    return HealthBook(Tolerance(**routing.circuit.model_dump()), routing.forget_s)


def seat_of(settings: Settings, name: str, definition: Definition, health: HealthBook) -> Seat:
    """The seat of one agent, whether or not it is the settings' own. Imports the SDKs in use.

    Args:
        settings: Where providers live, and what bounds every turn.
        name: As callers say it.
        definition: The agent.
        health: What this process knows of endpoints.

    Raises:
        SettingsError: it would be simulated, and there is no simulator.
        InvalidRequest: an adapter cannot use what is said of its endpoint.
    """
    places: dict[str, Place] = {}
    endpoints: list[Endpoint] = []
    for spec in endpoints_of(settings, name, definition):
        adapter = build(_adapter_spec(settings, name, definition, spec))
        capacity = Capacity(spec.max_sessions, spec.requests_per_minute, spec.tokens_per_minute)
        key = identity(spec.provider, spec.base_url, spec.model, spec.api_key)
        known = health.of(key)
        silent = None
        if isinstance(adapter, StreamingAgent):
            adapter.on_limits = _hears_limits(known)
            silent = adapter.silent
        places[spec.name] = Place(spec.name, adapter, spec.model, spec.price, spec.continues)
        facts = {"agent": name, "model": spec.model, "region": spec.region}
        endpoints.append(Endpoint(spec.name, known, spec.weight, silent, facts, capacity))
    hedge = definition.hedge
    return Seat(
        name=name,
        places=places,
        endpoints=Balanced(
            endpoints, definition.max_sessions, health.chance, alone=not definition.fallbacks
        ),
        instructions=definition.prompt,
        temperature=definition.temperature,
        max_output_tokens=definition.max_output_tokens,
        context_tokens=definition.context_tokens,
        max_answer_chars=settings.hosts.max_answer_chars,
        attempts=definition.attempts,
        retry_s=definition.retry_s,
        retry_nano=None if definition.retry_usd is None else nano(definition.retry_usd),
        backoff_s=settings.routing.backoff_s,
        backoff_max_s=settings.routing.backoff_max_s,
        on_failure=definition.on_failure,
        fallbacks=definition.fallbacks,
        hedge=hedge and Hedge(hedge.after_ms / 1000, nano(hedge.max_usd), hedge.share),
        on_host_loss=definition.on_host_loss,
        on_busy=definition.on_busy,
        summarize_with=definition.summarize_with,
        summary_tokens=definition.summary_tokens,
    )


def _adapter_spec(
    settings: Settings, name: str, definition: Definition, spec: EndpointSpec
) -> AgentSpec:
    return AgentSpec(
        name=name,
        provider=spec.provider,
        model=spec.model,
        instructions=definition.prompt,
        api_key=spec.api_key,
        base_url=spec.base_url,
        api=spec.api,
        first_token_s=definition.first_token_s,
        timeout_s=definition.timeout_s,
        total_timeout_s=settings.hosts.max_turn_s,
        silent_s=settings.routing.silent_s,
        max_sessions=definition.max_sessions,
        pace_s=settings.hosts.pace.bulk_ms / 1000,
    )


def _hears_limits(health: Health) -> Callable[[RateLimits], None]:
    def hear(limits: RateLimits) -> None:
        health.told(limits, asyncio.get_running_loop().time())

    return hear
