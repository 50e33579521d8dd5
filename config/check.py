"""What must fit together: between settings, and between settings and the environment.

Works on whatever validated, so that one broken section hides nothing about the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

from config.agents import Agent, Provider, Simulator
from config.budgets import SpendingLimits, prices_of
from config.embedders import Embedder
from config.errands import Webhooks
from config.errors import did_you_mean
from config.files import KeyPath
from config.resolve import embedders_asked, rule_spec
from config.rules import Rule
from config.settings import (
    Auth,
    Context,
    Environment,
    Gateway,
    Hosts,
    Limits,
    Routing,
    is_loopback,
)
from config.values import Section
from contracts.errors import InvalidRequest
from contracts.money import NO_BUDGETS
from errands.addresses import may_be_public
from errands.signing import key_of
from routing.prices import price_of
from routing.rules import SETTINGS, faults_in

S = TypeVar("S", bound=Section)

MIN_KEY_CHARS = 16
MIN_SECRET_BYTES = 16
RESERVED_AGENTS = ("auto",)
ONE_API = ("gemini",)
"""Providers that leave no choice of API."""


class Finding(NamedTuple):
    """What does not fit. `source` is set where the remedy is a variable that is not there."""

    key: KeyPath
    reason: str
    source: str | None = None


@dataclass(slots=True)
class Parts:
    """The parts of the settings that are valid by themselves.

    `agent_names` also holds the names of agents that are not, so that a rule which names one is
    not blamed; `whole_rules` says whether none is missing from `rules`. `rule_sources` says of
    rules that do not come from the settings where they do.
    """

    environment: Environment | None
    sections: dict[str, Section] = field(default_factory=dict[str, Section])
    providers: dict[str, Provider] = field(default_factory=dict[str, Provider])
    provider_names: list[str] = field(default_factory=list[str])
    embedders: dict[str, Embedder] = field(default_factory=dict[str, Embedder])
    embedder_names: list[str] = field(default_factory=list[str])
    agents: dict[str, Agent] = field(default_factory=dict[str, Agent])
    agent_names: list[str] = field(default_factory=list[str])
    rules: dict[int, Rule] = field(default_factory=dict[int, Rule])
    rule_sources: dict[int, str] = field(default_factory=dict[int, str])
    whole_rules: bool = True

    def get(self, kind: type[S]) -> S | None:
        """The section of this type, if it is valid."""
        return next((part for part in self.sections.values() if isinstance(part, kind)), None)

    @property
    def guarded(self) -> bool:
        """Whether this environment takes nothing embedded and no open door."""
        return self.environment in ("staging", "production")


def check(parts: Parts) -> Iterator[Finding]:
    """Everything that does not fit together."""
    yield from _stores(parts)
    yield from _doors(parts)
    yield from _operators(parts)
    yield from _agents(parts)
    yield from _embedders(parts)
    yield from _rules(parts)
    yield from _asked(parts)
    yield from _figures(parts)
    yield from _routing(parts)
    yield from _webhooks(parts)
    yield from _prices(parts)


def _stores(parts: Parts) -> Iterator[Finding]:
    context = parts.get(Context)
    if context is None:
        return
    for key, url, schemes, variable in (
        ("database_url", context.database_url, ("postgresql", "postgres"), "DATABASE_URL"),
        ("redis_url", context.redis_url, ("redis", "rediss", "unix"), "REDIS_URL"),
    ):
        path = ("context", key)
        if url is None:
            if parts.guarded:
                reason = f"must be set; {parts.environment} takes no embedded server"
                yield Finding(path, reason, variable)
        elif not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            yield Finding(path, f"must begin with {' or '.join(f'{s}://' for s in schemes)}")


def _doors(parts: Parts) -> Iterator[Finding]:
    auth, gateway = parts.get(Auth), parts.get(Gateway)
    if auth is None:
        return
    path = ("auth", "api_key")
    if auth.api_key is None:
        if parts.guarded:
            reason = f"must be set; {parts.environment} takes no open door"
            yield Finding(path, reason, "TROUPE_API_KEY")
        elif gateway and not is_loopback(gateway.host):
            reason = f"must be set, since gateway.host is {gateway.host}, not loopback"
            yield Finding(path, reason, "TROUPE_API_KEY")
        return
    yield from _travels(path, auth.api_key.get_secret_value(), parts.guarded)


def _operators(parts: Parts) -> Iterator[Finding]:
    auth = parts.get(Auth)
    if auth is None or auth.admin_key is None:
        return
    path, key = ("auth", "admin_key"), auth.admin_key.get_secret_value()
    yield from _travels(path, key, parts.guarded)
    if auth.api_key is not None and auth.api_key.get_secret_value() == key:
        yield Finding(path, "must not be the API's key, which is not for operators alone")


def _travels(path: KeyPath, key: str, guarded: bool) -> Iterator[Finding]:
    """A key is sent in a header."""
    if not key.isascii() or not key.isprintable() or " " in key:
        yield Finding(path, "must be printable ASCII without spaces, to travel in a header")
    elif guarded and len(key) < MIN_KEY_CHARS:
        yield Finding(path, f"must have at least {MIN_KEY_CHARS} characters")


def _agents(parts: Parts) -> Iterator[Finding]:
    simulator = parts.get(Simulator)
    if simulator and parts.environment == "production" and simulator.mode != "never":
        yield Finding(("simulator", "mode"), "must be never; production takes no simulated agent")
    for name, provider in parts.providers.items():
        for index, variable in enumerate(provider.api_key_env):
            if variable.startswith("TROUPE_"):
                path = ("providers", name, "api_key_env", index)
                yield Finding(path, "must not begin with TROUPE_, which names settings")
    for name, agent in parts.agents.items():
        path: KeyPath = ("agents", name)
        if name in RESERVED_AGENTS:
            yield Finding(path, "is reserved: it stands for the rules")
        if agent.provider not in parts.provider_names:
            known = ", ".join(parts.provider_names)
            hint = did_you_mean(agent.provider, parts.provider_names)
            yield Finding((*path, "provider"), f"must be one of {known}{hint}")
            continue
        if agent.api is not None and agent.provider in ONE_API:
            yield Finding((*path, "api"), f"must be left out; {agent.provider} has one API")
        if simulator and simulator.mode == "never":
            yield from _real(name, agent, parts)
        yield from _summaries(path, agent, parts.agent_names)
        yield from _endpoints(path, name, agent, parts)
        yield from _failover(path, name, agent, parts)


def _endpoints(path: KeyPath, name: str, agent: Agent, parts: Parts) -> Iterator[Finding]:
    taken: set[str] = set()
    for index, title in enumerate(agent.endpoint_names(name)):
        endpoint, here = agent.endpoints[index], (*path, "endpoints", index)
        if title in taken:
            yield Finding((*here, "name"), f"is taken by another endpoint: {title}")
        taken.add(title)
        if endpoint.api_key_env and endpoint.api_key_env.startswith("TROUPE_"):
            reason = "must not begin with TROUPE_, which names settings"
            yield Finding((*here, "api_key_env"), reason)
        if endpoint.provider in (None, agent.provider):
            continue
        if endpoint.provider not in parts.provider_names:
            known = ", ".join(parts.provider_names)
            hint = did_you_mean(endpoint.provider, parts.provider_names)
            yield Finding((*here, "provider"), f"must be one of {known}{hint}")
        elif endpoint.model is None:
            reason = f"must be set; {endpoint.provider} may not know the agent's {agent.model}"
            yield Finding((*here, "model"), reason)


def _failover(path: KeyPath, name: str, agent: Agent, parts: Parts) -> Iterator[Finding]:
    for index, fallback in enumerate(agent.fallbacks):
        here = (*path, "fallbacks", index)
        if fallback not in parts.agent_names:
            hint = did_you_mean(fallback, parts.agent_names)
            yield Finding(here, f"must be the name of an agent{hint}")
        elif fallback in agent.fallbacks[:index]:
            yield Finding(here, f"is named twice: {fallback}")
        elif (way := _way_back(name, fallback, parts.agents)) is not None:
            yield Finding(here, f"leads back to {name}: {' → '.join(way)}")
    if agent.hedge and agent.hedge.after_ms >= agent.first_token_s * 1000:
        reason = f"must be less than first_token_s, which is {agent.first_token_s:g} s"
        yield Finding((*path, "hedge", "after_ms"), reason)


def _way_back(name: str, start: str, agents: Mapping[str, Agent]) -> list[str] | None:
    """How following fallbacks from `start` comes to `name`, if it does."""
    ways, seen = [[start]], {start}
    for way in ways:
        if way[-1] == name:
            return way
        known = agents.get(way[-1])
        for after in known.fallbacks if known else ():
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return None


def _embedders(parts: Parts) -> Iterator[Finding]:
    for name, embedder in parts.embedders.items():
        path: KeyPath = ("embedders", name)
        if embedder.provider not in parts.provider_names:
            known = ", ".join(parts.provider_names)
            hint = did_you_mean(embedder.provider, parts.provider_names)
            yield Finding((*path, "provider"), f"must be one of {known}{hint}")
        if embedder.api_key_env and embedder.api_key_env.startswith("TROUPE_"):
            reason = "must not begin with TROUPE_, which names settings"
            yield Finding((*path, "api_key_env"), reason)


def _summaries(path: KeyPath, agent: Agent, names: list[str]) -> Iterator[Finding]:
    writer = agent.summarize_with
    if writer is None:
        return
    if writer not in names:
        hint = did_you_mean(writer, names)
        yield Finding((*path, "summarize_with"), f"must be the name of an agent{hint}")
    if agent.summary_tokens * 2 > agent.context_tokens:
        reason = f"must be at most half of context_tokens, which is {agent.context_tokens}"
        yield Finding((*path, "summary_tokens"), reason)


def _real(name: str, agent: Agent, parts: Parts) -> Iterator[Finding]:
    """Where nothing may be simulated, each endpoint has its key, or an address that needs none."""
    for index, endpoint in enumerate(agent.endpoints):
        provider = parts.providers.get(endpoint.provider or agent.provider)
        path: KeyPath = ("agents", name, "endpoints", index)
        if endpoint.api_key is not None:
            continue
        if endpoint.api_key_env is not None:
            reason = "must be set; an agent's key may not be missing here"
            yield Finding((*path, "api_key"), reason, endpoint.api_key_env)
        elif endpoint.base_url is None and provider is not None:
            variable = provider.api_key_env[0]
            reason = "must be set, or the endpoint's base_url; no agent is simulated here"
            yield Finding((*path, "api_key"), reason, variable)


def _rules(parts: Parts) -> Iterator[Finding]:
    indices = list(parts.rules)
    sources = parts.rule_sources
    specs = [rule_spec(rule, sources.get(at, SETTINGS)) for at, rule in parts.rules.items()]
    for fault in faults_in(specs, parts.agent_names, embedders=parts.embedder_names):
        if fault.index is None:
            # With a rule missing, nobody can say what the list lacks.
            if parts.whole_rules:
                yield Finding(("rules",), fault.reason)
            continue
        path: KeyPath = ("rules", indices[fault.index], *fault.field.split("."))
        yield Finding(path, f"{fault.reason} (rule `{fault.name}`)")


def _asked(parts: Parts) -> Iterator[Finding]:
    """Where nothing may be simulated, an embedder that a rule asks has its key."""
    simulator = parts.get(Simulator)
    if simulator is None or simulator.mode != "never":
        return
    for index, rule in parts.rules.items():
        for name in embedders_asked([rule], parts.embedder_names):
            embedder = parts.embedders.get(name)
            provider = parts.providers.get(embedder.provider) if embedder else None
            if embedder is None or provider is None or not embedder.simulated:
                continue
            variable = embedder.api_key_env or provider.api_key_env[0]
            why = "whose key must be set; no embedder is simulated here"
            reason = f"asks `{name}`, {why} (rule `{rule.name}`)"
            yield Finding(("rules", index, "semantic", "embedder"), reason, variable)


def _figures(parts: Parts) -> Iterator[Finding]:
    if gateway := parts.get(Gateway):
        if hosts := parts.get(Hosts):
            keepalive = hosts.pace.pipe_keepalive_s
            if gateway.pipe_silence_s <= keepalive:
                reason = f"must be more than hosts.pace.pipe_keepalive_s, which is {keepalive:g}"
                yield Finding(("gateway", "pipe_silence_s"), reason)
        limits = parts.get(Limits)
        if limits and limits.max_message_chars > gateway.max_body_bytes:
            reason = f"must be at most gateway.max_body_bytes, which is {gateway.max_body_bytes}"
            yield Finding(("limits", "max_message_chars"), reason)
    if (hosts := parts.get(Hosts)) and hosts.pace.urgent_ms > hosts.pace.bulk_ms:
        reason = f"must be at most hosts.pace.bulk_ms, which is {hosts.pace.bulk_ms:g}"
        yield Finding(("hosts", "pace", "urgent_ms"), reason)
    if hosts and hosts.pace.bulk_max_ms < hosts.pace.bulk_ms:
        reason = f"must be at least hosts.pace.bulk_ms, which is {hosts.pace.bulk_ms:g}"
        yield Finding(("hosts", "pace", "bulk_max_ms"), reason)
    if (context := parts.get(Context)) and context.pool_min > context.pool_max:
        reason = f"must be at most context.pool_max, which is {context.pool_max}"
        yield Finding(("context", "pool_min"), reason)
    if context and (hosts := parts.get(Hosts)) and context.journal_ttl_s <= hosts.max_turn_s:
        reason = f"must be more than hosts.max_turn_s, which is {hosts.max_turn_s:g}"
        yield Finding(("context", "journal_ttl_s"), reason)
    if (limits := parts.get(Limits)) and limits.page_items > limits.max_page_items:
        reason = f"must be at most limits.max_page_items, which is {limits.max_page_items}"
        yield Finding(("limits", "page_items"), reason)


def _routing(parts: Parts) -> Iterator[Finding]:
    routing = parts.get(Routing)
    if routing is None:
        return
    circuit = routing.circuit
    if circuit.enough > circuit.outcomes:
        reason = f"must be at most routing.circuit.outcomes, which is {circuit.outcomes}"
        yield Finding(("routing", "circuit", "enough"), reason)
    if circuit.first_s > circuit.longest_s:
        reason = f"must be at most routing.circuit.longest_s, which is {circuit.longest_s:g}"
        yield Finding(("routing", "circuit", "first_s"), reason)
    if routing.backoff_s > routing.backoff_max_s:
        reason = f"must be at most routing.backoff_max_s, which is {routing.backoff_max_s:g}"
        yield Finding(("routing", "backoff_s"), reason)


def _prices(parts: Parts) -> Iterator[Finding]:
    """A limit that does not see what a model costs would limit nothing."""
    budgets, table = parts.get(SpendingLimits), cast("Any", parts.sections.get("prices"))
    if budgets is None or table is None or budgets.plain() == NO_BUDGETS:
        return
    prices = prices_of(table)
    for name, agent in parts.agents.items():
        for endpoint in agent.endpoints:
            model = endpoint.model or agent.model
            provider = endpoint.provider or agent.provider
            if endpoint.price is None and price_of(prices, provider, model) is None:
                reason = f"must say what {model} of agent {name} costs, since budgets has limits"
                yield Finding(("prices",), reason)


def _webhooks(parts: Parts) -> Iterator[Finding]:
    webhooks = parts.get(Webhooks)
    names: set[str] = set()
    for index, endpoint in enumerate(webhooks.endpoints if webhooks else ()):
        path: KeyPath = ("webhooks", "endpoints", index)
        if endpoint.name in names:
            yield Finding((*path, "name"), f"is taken by another endpoint: {endpoint.name}")
        names.add(endpoint.name)
        if endpoint.secret_env.startswith("TROUPE_"):
            reason = "must not begin with TROUPE_, which names settings"
            yield Finding((*path, "secret_env"), reason)
        elif endpoint.secret is None:
            reason = "must be set; without it nobody could tell who sent the event"
            yield Finding((*path, "secret"), reason, endpoint.secret_env)
        elif fault := _weak(endpoint.secret.get_secret_value()):
            yield Finding((*path, "secret"), fault, endpoint.secret_env)
        if parts.guarded:
            yield from _guarded_url((*path, "url"), endpoint.url)


def _weak(secret: str) -> str | None:
    """What is wrong with a secret that signs."""
    try:
        key = key_of(secret)
    except InvalidRequest:
        return "must be Base64 after whsec_"
    if len(key) < MIN_SECRET_BYTES:
        return f"must have at least {MIN_SECRET_BYTES} bytes"
    return None


def _guarded_url(path: KeyPath, url: str) -> Iterator[Finding]:
    """Outside development nothing is told in the clear, or to a machine of this network."""
    if not url.startswith("https://"):
        yield Finding(path, "must begin with https://")
    if not may_be_public(url):
        yield Finding(path, "must not be a private address")
