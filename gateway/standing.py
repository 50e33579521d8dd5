"""Settings and policies → what a gateway knows to be in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from config.policies import Origin, Rules, effective
from config.rules import Rule
from contracts.policies import Policy
from gateway.rulebook import AgentCard, Listing, Standing
from routing.rules import RuleSet, compile_rules

if TYPE_CHECKING:
    from config.settings import Settings


def standing(settings: Settings, policies: Sequence[Policy]) -> Standing:
    """What holds with these policies, as a gateway has to know it. Raises `InvalidRequest`."""
    found = effective(settings, policies)
    agents = found.settings.agents
    told: dict[Origin, Mapping[str, Any]] = {}

    def row(rule: Rule, origin: Origin) -> Mapping[str, Any]:
        if origin not in told:
            written = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            told[origin] = {**written, "from": origin.scope}
        return told[origin]

    def listing(rules: Rules, everybody: RuleSet | None = None) -> Listing:
        rows = tuple(map(row, rules.rules, rules.origins))
        version = rules.version
        compiled = compile_rules(rules.specs, agents, version=version, everybody=everybody)
        return Listing(compiled, rows, version)

    everybody = listing(found.rules)
    return Standing(
        cards=tuple(
            AgentCard(name, agent.description, agent.provider, agent.simulated)
            for name, agent in agents.items()
        ),
        rules=everybody,
        rules_of={
            org_id: listing(rules, everybody.rules) for org_id, rules in found.rules_of.items()
        },
        tiers=found.tiers,
        revision=found.revision,
        budgets=found.settings.budgets.plain(),
        budgets_of={org_id: limits.plain() for org_id, limits in found.budgets_of.items()},
        made_from=found,
    )
