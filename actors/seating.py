"""One agent's definition → its seat: an adapter, and how a turn is to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.desk import Place, Seat
from agents.registry import build
from agents.spec import AgentSpec
from config.resolve import resolve
from routing.endpoints import InOrder

if TYPE_CHECKING:
    from config.agents import Agent
    from config.settings import Settings


def seat_of(settings: Settings, name: str, definition: Agent) -> Seat:
    """The seat of one of the settings' agents. Imports the provider's SDK.

    Raises:
        InvalidRequest: An adapter cannot be made of it.
    """
    agent = resolve(settings)[name]
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
    place = Place(f"{name}-1", adapter, agent.model)
    return Seat(
        name=name,
        places={place.name: place},
        endpoints=InOrder([place.name]),
        instructions=agent.prompt,
        temperature=agent.temperature,
        max_output_tokens=agent.max_output_tokens,
        context_tokens=agent.context_tokens,
        attempts=agent.attempts,
        max_answer_chars=settings.hosts.max_answer_chars,
        on_host_loss=definition.on_host_loss,
        on_busy=definition.on_busy,
        summarize_with=definition.summarize_with,
        summary_tokens=definition.summary_tokens,
    )
