"""Settings → what a desk works with: every agent with its adapters, and the rules between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.desk import InForce, Place, Seat
from agents.registry import build
from agents.spec import AgentSpec
from config.resolve import resolve, rule_specs
from routing.endpoints import InOrder
from routing.rules import compile_rules

if TYPE_CHECKING:
    from config.settings import Settings


def in_force(settings: Settings) -> InForce:
    """What the settings say. Imports the SDKs in use."""
    seats: dict[str, Seat] = {}
    for name, agent in resolve(settings).items():
        definition = settings.agents[name]
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
        seats[name] = Seat(
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
    return InForce(seats, compile_rules(rule_specs(settings), seats))
