"""Agents and rules as plain values: what a host is given, since it does not know settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from config.agents import Agent
from config.budgets import prices_of
from config.errors import Problem, SettingsError
from config.rules import ELSE, OneOrMore, Rule, When
from config.settings import Settings
from contracts.decisions import Classifier, Semantic
from contracts.money import Price
from routing.conditions import Conditions
from routing.prices import price_of
from routing.rules import SETTINGS, RuleSpec
from routing.targets import Ask, Split, Target

SIMULATED_KEY = "simulated"


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One endpoint of an agent, ready to be called: address, key and model are final. Picklable.

    `api_key` is None where the address needs none. `api` is None where the provider's usual one is
    to be spoken.
    """

    name: str
    provider: str
    model: str
    base_url: str
    api: str | None
    api_key: str | None = field(repr=False)
    simulated: bool
    region: str | None
    weight: int
    max_sessions: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    continues: bool
    price: Price | None


def resolve(
    settings: Settings, simulator_url: str | None = None
) -> dict[str, tuple[EndpointSpec, ...]]:
    """Each agent's endpoints, those of the simulator where nothing real stands behind one.

    Args:
        settings: The settings in force.
        simulator_url: Where the simulator listens; `simulator.url` where not given.

    Raises:
        SettingsError: An endpoint is simulated and no simulator's address is known.
    """
    simulator = simulator_url or settings.simulator.url
    if simulator is None and (names := simulated(settings)):
        raise SettingsError([_no_simulator(names)])
    return {
        name: endpoints_of(settings, name, agent, simulator)
        for name, agent in settings.agents.items()
    }


def endpoints_of(
    settings: Settings, name: str, agent: Agent, simulator_url: str | None = None
) -> tuple[EndpointSpec, ...]:
    """One agent's endpoints, whether or not it is the settings' own. Raises as `resolve` does."""
    simulator = simulator_url or settings.simulator.url
    if simulator is None and agent.needs_simulator:
        raise SettingsError([_no_simulator([name])])
    specs: list[EndpointSpec] = []
    prices = prices_of(settings.prices)
    for title, endpoint in zip(agent.endpoint_names(name), agent.endpoints, strict=True):
        provider_name = endpoint.provider or agent.provider
        provider = settings.providers[provider_name]
        if endpoint.simulated:
            base_url = f"{(simulator or '').rstrip('/')}{provider.simulator_path}"
            api_key = SIMULATED_KEY
        else:
            base_url = endpoint.base_url or provider.base_url
            api_key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        model = endpoint.model or agent.model
        found = price_of(prices, provider_name, model)
        specs.append(
            EndpointSpec(
                name=title,
                provider=provider_name,
                model=model,
                base_url=base_url,
                api=agent.api if provider_name == agent.provider else None,
                api_key=api_key,
                simulated=endpoint.simulated,
                region=endpoint.region,
                weight=endpoint.weight,
                max_sessions=endpoint.max_sessions,
                requests_per_minute=endpoint.requests_per_minute,
                tokens_per_minute=endpoint.tokens_per_minute,
                continues=endpoint.continues,
                price=endpoint.price.plain() if endpoint.price else found,
            )
        )
    return tuple(specs)


def simulated(settings: Settings) -> list[str]:
    """The names of the agents that have an endpoint with nothing real behind it."""
    return [name for name, agent in settings.agents.items() if agent.needs_simulator]


def _no_simulator(names: list[str]) -> Problem:
    reason = f"must be set: {', '.join(names)} would be simulated"
    return Problem("TROUPE_SIMULATOR__URL", "simulator.url", reason)


def rule_spec(rule: Rule, source: str = SETTINGS) -> RuleSpec:
    """One rule as `routing.rules` takes it; `source` is where it comes from."""
    when: Conditions | str | None
    if isinstance(rule.when, When):
        when = _conditions(rule.when)
    else:
        when = None if rule.when == ELSE else rule.when
    return RuleSpec(rule.name, _target(rule), when, rule.sticky, rule.on_failure, source)


def embedders_asked(rules: Iterable[Rule], embedders: Sequence[str]) -> list[str]:
    """The embedders that these rules ask, of those there are; the first where a rule names none."""
    first = next(iter(embedders), "")
    named = [rule.semantic.embedder or first for rule in rules if rule.semantic]
    return [name for name in dict.fromkeys(named) if name in embedders]


def _target(rule: Rule) -> Target:
    if split := rule.split:
        return Split(split.by, tuple(split.agents.items()))
    if semantic := rule.semantic:
        question = Semantic(
            semantic.embedder or "",
            tuple(_pairs(semantic.examples)),
            semantic.min_score,
            semantic.timeout_ms / 1000,
        )
        return Ask(question, semantic.otherwise)
    if classifier := rule.classifier:
        asked = Classifier(
            classifier.agent,
            tuple(classifier.answers.items()),
            classifier.instructions,
            classifier.timeout_ms / 1000,
        )
        return Ask(asked, classifier.otherwise)
    return rule.agent or ""


def _pairs(examples: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for agent, texts in examples.items():
        for text in texts:
            yield agent, text


def _conditions(when: When) -> Conditions:
    metadata: Mapping[str, OneOrMore] = when.metadata or {}
    return Conditions(
        regex=_many(when.regex),
        keywords=_many(when.keywords),
        metadata=tuple((key, _many(value)) for key, value in metadata.items()),
        user=_many(when.user),
    )


def _many(value: OneOrMore | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value
