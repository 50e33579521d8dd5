"""Agents and rules as plain values: what a host is given, since it does not know settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from config.errors import Problem, SettingsError
from config.rules import ELSE, OneOrMore, Rule, When
from config.settings import Settings
from contracts.decisions import Classifier, Semantic
from routing.conditions import Conditions
from routing.rules import SETTINGS, RuleSpec
from routing.targets import Ask, Split, Target

SIMULATED_KEY = "simulated"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent, ready to be called: address, key and model are final. Picklable.

    `api_key` is None where the address needs none. Sizes are in tokens, times in seconds.
    """

    name: str
    provider: str
    model: str
    base_url: str
    api: str | None
    api_key: str | None = field(repr=False)
    simulated: bool
    prompt: str | None
    description: str
    context_tokens: int
    max_output_tokens: int | None
    temperature: float | None
    timeout_s: float
    attempts: int
    max_sessions: int
    region: str | None = None


def resolve(settings: Settings, simulator_url: str | None = None) -> dict[str, AgentSpec]:
    """Each agent with the endpoint in use: its first, or the simulator's where it has none.

    Args:
        settings: The settings in force.
        simulator_url: Where the simulator listens; `simulator.url` where not given.

    Raises:
        SettingsError: An agent is simulated and no simulator's address is known.
    """
    simulator = simulator_url or settings.simulator.url
    if simulator is None and (names := simulated(settings)):
        reason = f"must be set: {', '.join(names)} would be simulated"
        raise SettingsError([Problem("TROUPE_SIMULATOR__URL", "simulator.url", reason)])
    specs: dict[str, AgentSpec] = {}
    for name, agent in settings.agents.items():
        provider, endpoint = settings.providers[agent.provider], agent.endpoints[0]
        if agent.simulated:
            base_url = f"{(simulator or '').rstrip('/')}{provider.simulator_path}"
            api_key = SIMULATED_KEY
        else:
            base_url = endpoint.base_url or provider.base_url
            api_key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        specs[name] = AgentSpec(
            name=name,
            provider=agent.provider,
            model=endpoint.model or agent.model,
            base_url=base_url,
            api=agent.api,
            api_key=api_key,
            simulated=agent.simulated,
            prompt=agent.prompt,
            description=agent.description,
            context_tokens=agent.context_tokens,
            max_output_tokens=agent.max_output_tokens,
            temperature=agent.temperature,
            timeout_s=agent.timeout_s,
            attempts=agent.attempts,
            max_sessions=agent.max_sessions,
            region=endpoint.region,
        )
    return specs


def simulated(settings: Settings) -> list[str]:
    """The names of the agents that nothing real stands behind."""
    return [name for name, agent in settings.agents.items() if agent.simulated]


def rule_specs(settings: Settings) -> tuple[RuleSpec, ...]:
    """The rules as `routing.rules` takes them."""
    return tuple(rule_spec(rule) for rule in settings.rules)


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
