"""Policies: documents that operators put while Troupe runs, and what holds once they are laid over
the settings.

A document is YAML, as a settings file is, and is held to the same: what is wrong with it is told
all at once, each with its line. A document that does not fit, alone or with the others, changes
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast
from weakref import WeakValueDictionary

from pydantic import Field

from config.agents import Agent
from config.budgets import Budgets, Price, SpendingLimits
from config.check import Finding, Parts, check
from config.errors import Problem, did_you_mean
from config.explain import unknown_key
from config.files import KeyPath, dotted, parse_yaml
from config.load import APART, check_name, fill_endpoints, read_rules, validated
from config.overlay import Raw, refuse_secrets
from config.resolve import rule_spec
from config.rules import ELSE, Rule
from config.settings import Settings
from config.values import FrozenDict, Name, Section, Table
from contracts.errors import InvalidRequest
from contracts.policies import BASE, Policy
from routing.compiled import compiled
from routing.rules import SETTINGS, SETTINGS_VERSION, RuleSpec

MAX_AGENTS = 500
MAX_PROBLEMS = 100


class BaseDocument(Section):
    """What holds for everybody, over the settings."""

    agents: Table[Agent | None] = Field(
        default={},
        description="Agents, each in place of the settings' own of that name; `null` takes one "
        "away.",
    )
    rules: tuple[Rule, ...] = Field(
        default=(), description="Rules before those of the settings; an `else` takes the rest."
    )
    budgets: Budgets = Field(
        default=Budgets(), description="Limits in place of the settings' own of that name."
    )
    prices: Table[Price] = Field(
        default={}, description="Prices in place of the settings' own of that name."
    )


class OrganizationDocument(Section):
    """What holds for one organization, before what holds for everybody."""

    tier: Name | None = Field(
        default=None, description="What the operators call its kind; rules may ask for it."
    )
    rules: tuple[Rule, ...] = Field(
        default=(), description="Rules before those for everybody; an `else` takes the rest."
    )
    budgets: Budgets = Field(
        default=Budgets(), description="Limits in place of those for everybody of that name."
    )


class Origin(NamedTuple):
    """Where a rule stands: the scope of its document (or `settings`) and its place there."""

    scope: str
    place: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What `auto` goes through, in order, and where each of them comes from.

    `version` names the documents: `base.3+org_x.7`; 0 stands for settings alone.
    """

    rules: tuple[Rule, ...]
    origins: tuple[Origin, ...]
    version: str

    @property
    def specs(self) -> list[RuleSpec]:
        """As `routing.rules` takes them."""
        pairs = zip(self.rules, self.origins, strict=True)
        return [rule_spec(rule, origin.scope) for rule, origin in pairs]


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds once the documents are laid over the settings.

    Args:
        settings: With the agents that there are now, their keys included, and with the budgets and
            prices of now.
        rules: For everybody who has none of their own.
        rules_of: By organization.
        budgets_of: By organization, those for everybody included.
        tiers: By organization.
        versions: Of the documents in it, by scope.
        revision: Of the newest of them; 0: settings alone.
        held: What was read and compiled for it. Who holds this has it at hand for the next, of
            which most is the same.
    """

    settings: Settings
    rules: Rules
    rules_of: Mapping[str, Rules] = field(default_factory=dict[str, Rules])
    budgets_of: Mapping[str, SpendingLimits] = field(default_factory=dict[str, SpendingLimits])
    tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, int] = field(default_factory=dict[str, int])
    revision: int = 0
    held: tuple[object, ...] = field(default=(), repr=False, compare=False)


@dataclass(slots=True, weakref_slot=True)
class _Document:
    """One document as far as it is valid by itself."""

    policy: Policy
    raw: Raw
    named: list[str] = field(default_factory=list[str])
    """Every agent it speaks of, be it valid or not."""
    agents: dict[str, Agent | None] = field(default_factory=dict[str, Agent | None])
    rules: dict[int, Rule] = field(default_factory=dict[int, Rule])
    whole_rules: bool = True
    budgets: Budgets | None = None
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    tier: str = ""

    @property
    def scope(self) -> str:
        return self.policy.scope


def effective(
    settings: Settings, documents: Sequence[Policy], environ: Mapping[str, str] = os.environ
) -> Effective:
    """What holds with these documents, at most one of each scope.

    Args:
        settings: As loaded.
        documents: The newest version of each scope.
        environ: Where the keys of documents' agents are.

    Raises:
        InvalidRequest: `invalid_policy`; `details["problems"]` has everything that is wrong.
    """
    read = [_read(settings, policy) for policy in documents]
    parsed = [_own(one, policy) for one, policy in zip(read, documents, strict=True)]
    base = next((one for one in parsed if one.scope == BASE), None)
    agents = _agents(settings, base, environ)
    everybody = _joined([base] if base else [], settings)
    now = settings.model_copy(
        update={
            "agents": FrozenDict(agents),
            "rules": everybody.rules,
            "budgets": _limits(settings.budgets, base),
            "prices": FrozenDict({**settings.prices, **(base.prices if base else {})}),
        }
    )
    theirs = [one for one in parsed if one.scope != BASE]
    rules_of = {
        one.scope: _joined([one, base] if base else [one], settings) for one in theirs if one.rules
    }
    budgets_of = {one.scope: _limits(now.budgets, one) for one in theirs if one.budgets}
    whens = {spec.when for rules in (everybody, *rules_of.values()) for spec in rules.specs}
    conditions = [compiled(when)[0] for when in whens]
    problems = _problems(now, {one.scope: one for one in parsed}, everybody, rules_of, budgets_of)
    if problems:
        raise refused(problems)
    return Effective(
        settings=now,
        rules=everybody,
        rules_of=rules_of,
        budgets_of=budgets_of,
        tiers={one.scope: one.tier for one in parsed if one.tier},
        versions={one.scope: one.policy.version for one in parsed},
        revision=max((one.policy.revision for one in parsed), default=0),
        held=(read, conditions),
    )


def refused(problems: Sequence[Problem]) -> InvalidRequest:
    """The error that tells all of them."""
    told = [_told(problem) for problem in dict.fromkeys(problems)]
    told.sort(key=lambda each: (each["scope"], each["line"] or 0))
    first = told[0]
    place = f"line {first['line']}: " if first["line"] else ""
    where = f"{first['where']}: " if first["where"] else ""
    count = "1 problem" if len(told) == 1 else f"{len(told)} problems, the first"
    return InvalidRequest(
        f"The policy is not valid; {count} in `{first['scope']}`: {place}{where}{first['reason']}.",
        code="invalid_policy",
        details={"problems": told[:MAX_PROBLEMS]},
    )


def _told(problem: Problem) -> dict[str, Any]:
    scope, _, line = problem.source.partition(":")
    return {
        "scope": scope,
        "line": int(line) if line.isdecimal() else None,
        "where": problem.key,
        "reason": problem.reason,
    }


# -- one document ---------------------------------------------------------------------------------


_documents: WeakValueDictionary[tuple[str, object, str], _Document] = WeakValueDictionary()


def _read(settings: Settings, policy: Policy) -> _Document:
    """The document as it was read, if anybody still holds it; to be looked at only."""
    key = policy.scope, settings.environment, policy.text
    document = _documents.get(key)
    if document is None:
        document = _documents[key] = _parsed(settings, policy)
    return document


def _own(document: _Document, policy: Policy) -> _Document:
    """The same for this version of it, and for what is found wrong from now on."""
    raw = replace(document.raw, problems=list(document.raw.problems))
    return replace(document, policy=policy, raw=raw)


def _parsed(settings: Settings, policy: Policy) -> _Document:
    root = BaseDocument if policy.scope == BASE else OrganizationDocument
    read = parse_yaml(policy.scope, policy.text)
    raw = Raw(policy.scope, settings.environment, root=root)
    raw.problems += read.problems
    refuse_secrets(raw, read)
    raw.values, raw.sources = read.values, read.places
    document = _Document(policy, raw)
    for name, value in list(raw.values.items()):
        if name not in root.model_fields:
            raw.problems.append(unknown_key(raw, (name,)))
        elif value is None:
            del raw.values[name]
    if "budgets" in raw.values:
        document.budgets = validated(raw, ("budgets",), Budgets)
    if policy.scope == BASE:
        _read_agents(document)
        if "prices" in raw.values:
            document.prices = validated(raw, ("prices",), Table[Price]) or {}
    elif "tier" in raw.values:
        document.tier = validated(raw, ("tier",), root.model_fields["tier"].annotation) or ""
        check_name(raw, ("tier",))
    document.rules, document.whole_rules = read_rules(raw, raw.values.get("rules", []))
    return document


def _read_agents(document: _Document) -> None:
    raw = document.raw
    given = raw.values.get("agents", {})
    if not isinstance(given, dict):
        raw.problems.append(Problem(raw.source(("agents",)), "agents", "must be a mapping"))
        return
    named = cast("dict[str, Any]", given)
    if len(named) > MAX_AGENTS:
        reason = f"has more than {MAX_AGENTS} agents"
        raw.problems.append(Problem(raw.source(("agents",)), "agents", reason))
        return
    document.named = list(named)
    for name, value in named.items():
        check_name(raw, ("agents", name))
        agent = None if value is None else validated(raw, ("agents", name), Agent)
        if value is None or agent is not None:
            document.agents[name] = agent


# -- what they make together ----------------------------------------------------------------------


def _agents(
    settings: Settings, base: _Document | None, environ: Mapping[str, str]
) -> dict[str, Agent]:
    """The settings' agents with the base document's laid over them."""
    agents = dict(settings.agents)
    if base is None:
        return agents
    raw = base.raw
    parts = Parts(
        settings.environment,
        sections={"simulator": settings.simulator},
        providers=dict(settings.providers),
    )
    for name, agent in base.agents.items():
        path: KeyPath = ("agents", name)
        if agent is None:
            if agents.pop(name, None) is None:
                hint = did_you_mean(name, list(settings.agents))
                raw.problems.append(
                    Problem(raw.source(path), dotted(path), f"is no agent of the settings{hint}")
                )
            continue
        foreign = list(_foreign_keys(settings, path, agent, environ))
        if foreign:
            raw.problems += [Problem(raw.source(key), dotted(key), why) for key, why in foreign]
        else:
            parts.agents[name] = agent
        agents[name] = agent
    before = len(raw.problems)
    fill_endpoints(raw, parts, environ)
    for at, (variable, key, reason) in enumerate(raw.problems[before:], before):
        raw.problems[at] = Problem(raw.source(("agents",)), key, f"{variable}: {reason}")
    agents.update(parts.agents)
    for name, agent in parts.agents.items():
        simulator = settings.simulator
        if simulator.mode != "never" and agent.needs_simulator and not simulator.url:
            reason = "has no key here, and no simulator stands in for it"
            path = ("agents", name)
            raw.problems.append(Problem(raw.source(path), dotted(path), reason))
    return agents


def _foreign_keys(
    settings: Settings, path: KeyPath, agent: Agent, environ: Mapping[str, str]
) -> Iterator[tuple[KeyPath, str]]:
    """A document names only keys that the settings name, and for the addresses they name them for,
    so that whoever writes it can neither read a secret nor send one elsewhere.
    """
    for index, endpoint in enumerate(agent.endpoints):
        title = endpoint.provider or agent.provider
        if endpoint.api_key_env is None or title not in settings.providers:
            continue
        allowed = _known_keys(settings, title, environ)
        key = (*path, "endpoints", index, "api_key_env")
        if endpoint.api_key_env not in {name for _, name in allowed}:
            yield key, "must be a variable that the settings name for this provider"
        elif (endpoint.base_url, endpoint.api_key_env) not in allowed:
            yield key, "is not for this address; the settings name the addresses of each key"


def _known_keys(
    settings: Settings, title: str, environ: Mapping[str, str]
) -> set[tuple[str | None, str | None]]:
    """The addresses (None: the provider's own) and variables that the settings put together."""
    provider = settings.providers[title]
    allowed: set[tuple[str | None, str | None]] = {(None, name) for name in provider.api_key_env}
    for agent in settings.agents.values():
        allowed |= {
            (one.base_url, one.api_key_env)
            for one in agent.endpoints
            if (one.provider or agent.provider) == title
        }
    # Where the environment gives the provider's address, settings that gave none have it by now.
    given = environ.get(provider.base_url_env)
    return allowed | {(None, name) for address, name in allowed if given and address == given}


def _joined(documents: Sequence[_Document], settings: Settings) -> Rules:
    """The documents' rules in order, then the settings', up to what takes the rest.

    A rule takes the place of a later set's of the same name.
    """
    rules: list[Rule] = []
    origins: list[Origin] = []
    sets = [(one.scope, one.rules) for one in documents]
    for scope, own in [*sets, (SETTINGS, dict(enumerate(settings.rules)))]:
        taken = {rule.name for rule in rules}
        for index, rule in own.items():
            if rule.name not in taken:
                rules.append(rule)
                origins.append(Origin(scope, index))
        if any(rule.when == ELSE for rule in own.values()):
            break
    named = [f"{one.scope}.{one.policy.version}" for one in reversed(documents)]
    return Rules(tuple(rules), tuple(origins), "+".join(named) or SETTINGS_VERSION)


def _limits(under: SpendingLimits, document: _Document | None) -> SpendingLimits:
    """The document's limits; what it does not say is as it is `under` it."""
    budgets = document.budgets if document else None
    return under if budgets is None else budgets.over(under)


def _problems(
    settings: Settings,
    documents: Mapping[str, _Document],
    everybody: Rules,
    rules_of: Mapping[str, Rules],
    budgets_of: Mapping[str, SpendingLimits],
) -> list[Problem]:
    """What is wrong with each document, and with what they make of the settings together."""
    problems = [problem for one in documents.values() for problem in one.raw.problems]
    whole = all(one.whole_rules for one in documents.values())
    base = documents.get(BASE)
    removed = {name for name, agent in (base.agents if base else {}).items() if agent is None}
    names = list(dict.fromkeys([*settings.agents, *(base.named if base else ())]))
    names = [name for name in names if name not in removed]
    sections = {
        name: getattr(settings, name) for name in Settings.model_fields if name not in APART
    }
    for scope in (BASE, *dict.fromkeys([*rules_of, *budgets_of])):
        rules = rules_of.get(scope, everybody)
        parts = Parts(
            settings.environment,
            sections={**sections, "budgets": budgets_of.get(scope, settings.budgets)},
            providers=dict(settings.providers),
            provider_names=list(settings.providers),
            embedders=dict(settings.embedders),
            embedder_names=list(settings.embedders),
            agents=dict(settings.agents),
            agent_names=names,
            rules=dict(enumerate(rules.rules)),
            rule_sources={at: origin.scope for at, origin in enumerate(rules.origins)},
            whole_rules=whole,
        )
        problems += [
            _placed(finding, scope, rules, documents, removed)
            for finding in check(parts)
            if scope == BASE or finding.key[:1] in (("rules",), ("prices",))
        ]
    return problems


def _placed(
    finding: Finding,
    scope: str,
    rules: Rules,
    documents: Mapping[str, _Document],
    removed: set[str],
) -> Problem:
    """The finding where a person can mend it: in the document that it is about."""
    key, reason = finding.key, finding.reason
    if finding.source is not None:
        reason = f"{finding.source}: {reason}"
    if key[:1] == ("rules",) and len(key) > 1:
        index = cast("int", key[1])
        origin = rules.origins[index]
        if origin.scope != SETTINGS:
            document, key = documents[origin.scope], ("rules", origin.place, *key[2:])
            return Problem(document.raw.source(key), dotted(key), reason)
        rule = rules.rules[index]
        agent = next((name for name in removed if name in _named(rule)), None)
        if agent is not None:
            key = ("agents", agent)
            reason = f"cannot be removed: rule `{rule.name}` of the settings names it"
    document = documents.get(BASE if key[:1] == ("agents",) else scope)
    if document is None:
        return Problem(scope, dotted(key), reason)
    if key[:1] == ("prices",):
        # It lacks what it does not say: what made that a problem is what it does say.
        said = [(name,) for name in ("budgets", "prices", "agents") if name in document.raw.values]
        return Problem(document.raw.source(said[0] if said else key), dotted(key), reason)
    if key[:2] not in document.raw.sources:
        reason += " (in the settings)"
    return Problem(document.raw.source(key), dotted(key), reason)


def _named(rule: Rule) -> set[str]:
    """Every agent that a rule names."""
    names = {rule.agent} if rule.agent else set[str]()
    if rule.split:
        names |= set(rule.split.agents)
    if rule.semantic:
        names |= {*rule.semantic.examples, rule.semantic.otherwise}
    if rule.classifier:
        asked = rule.classifier
        names |= {*asked.answers, asked.agent, asked.otherwise}
    return names
