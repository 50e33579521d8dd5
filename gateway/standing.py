"""Settings and policies → what a gateway knows to be in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.policies import Rules, effective
from contracts.policies import Policy
from gateway.rulebook import AgentCard, Listing, Standing
from routing.rules import compile_rules

if TYPE_CHECKING:
    from config.settings import Settings


def standing(settings: Settings, policies: Sequence[Policy]) -> Standing:
    """What holds with these policies, as a gateway has to know it. Raises `InvalidRequest`."""
    found = effective(settings, policies)
    agents = found.settings.agents

    def listing(rules: Rules) -> Listing:
        rows = tuple(
            {
                **rule.model_dump(mode="json", by_alias=True, exclude_defaults=True),
                "from": origin.scope,
            }
            for rule, origin in zip(rules.rules, rules.origins, strict=True)
        )
        compiled = compile_rules(rules.specs, agents, version=rules.version)
        return Listing(compiled, rows, rules.version)

    return Standing(
        cards=tuple(
            AgentCard(name, agent.description, agent.provider, agent.simulated)
            for name, agent in agents.items()
        ),
        rules=listing(found.rules),
        rules_of={org_id: listing(rules) for org_id, rules in found.rules_of.items()},
        tiers=found.tiers,
        revision=found.revision,
        budgets=found.settings.budgets.plain(),
        budgets_of={org_id: limits.plain() for org_id, limits in found.budgets_of.items()},
    )
