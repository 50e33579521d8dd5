"""From files and environment to Settings, or to everything that is wrong, all at once.

The way of a value: `base.yaml`, the environment's own file laid over it, then variables. Each
section, agent and rule is validated by itself: one that is broken hides nothing about the others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import SecretStr, TypeAdapter, ValidationError

from config.agents import Agent, Endpoint, Provider, Simulator
from config.check import Parts, check
from config.embedders import Embedder
from config.environ import secret
from config.errands import WebhookEndpoint, Webhooks
from config.errors import Problem, SettingsError
from config.explain import explain, unknown_key
from config.files import KeyPath, dotted
from config.overlay import Raw, overlay
from config.rules import Rule
from config.settings import Settings
from config.values import BaseUrl, FrozenDict, Name

T = TypeVar("T")
E = TypeVar("E", Endpoint, Embedder)
DIRECTORY = Path(__file__).parent
APART = ("environment", "providers", "embedders", "agents", "rules")
"""What is not validated as one section."""


class Loaded(NamedTuple):
    """Settings, and for each value the file and line or variable that it comes from."""

    settings: Settings
    sources: Mapping[KeyPath, str]


def load(environ: Mapping[str, str] = os.environ, directory: Path = DIRECTORY) -> Settings:
    """The settings in force. Raises `SettingsError` with every problem there is."""
    return load_with_sources(environ, directory).settings


def load_with_sources(environ: Mapping[str, str], directory: Path = DIRECTORY) -> Loaded:
    """As `load`, with where each value comes from."""
    raw = overlay(environ, directory)
    parts = _parts(raw)
    fill_endpoints(raw, parts, environ)
    _fill_embedders(raw, parts, environ)
    _fill_webhooks(raw, parts, environ)
    for key, reason, source in check(parts):
        raw.problems.append(Problem(source or raw.source(key), dotted(key), reason))
    if raw.problems:
        raise SettingsError(raw.problems)
    settings = Settings.model_validate(
        {
            **parts.sections,
            "environment": parts.environment,
            "providers": parts.providers,
            "embedders": parts.embedders,
            "agents": parts.agents,
            "rules": tuple(parts.rules.values()),
        }
    )
    return Loaded(settings, FrozenDict(raw.sources))


def _parts(raw: Raw) -> Parts:
    parts = Parts(raw.environment)
    for name in raw.values:
        if name not in Settings.model_fields:
            raw.problems.append(unknown_key(raw, (name,)))
    for name, info in Settings.model_fields.items():
        if name in APART:
            continue
        if name not in raw.values:
            raw.problems.append(Problem(raw.base, name, "is missing; it must be set"))
            continue
        section = validated(raw, (name,), info.annotation)
        if section is not None:
            parts.sections[name] = section
    parts.providers, parts.provider_names = _table(raw, "providers", Provider)
    parts.embedders, parts.embedder_names = _table(raw, "embedders", Embedder, least=0)
    parts.agents, parts.agent_names = _table(raw, "agents", Agent)
    parts.rules, parts.whole_rules = read_rules(raw, raw.values.get("rules"))
    return parts


def validated(raw: Raw, path: KeyPath, kind: Any) -> Any | None:
    """What stands at the path, as this kind; None and a problem where it is not of it."""
    try:
        return TypeAdapter[Any](kind).validate_python(raw.at(path))
    except ValidationError as error:
        raw.problems += explain(raw, path, error)
        return None


def _table(raw: Raw, name: str, kind: type[T], *, least: int = 1) -> tuple[dict[str, T], list[str]]:
    """The valid entries of a table, and the names of all."""
    given = raw.values.get(name)
    if not isinstance(given, dict) or len(cast("dict[str, Any]", given)) < least:
        reason = "must be a mapping" + (" with at least one entry" if least else "")
        raw.problems.append(Problem(raw.source((name,)), name, reason))
        return {}, []
    valid: dict[str, T] = {}
    names = list(cast("dict[str, Any]", given))
    for key in names:
        check_name(raw, (name, key))
        entry = validated(raw, (name, key), kind)
        if entry is not None:
            valid[key] = entry
    return valid, names


def check_name(raw: Raw, path: KeyPath) -> None:
    """The last step of the path is a name that somebody chose."""
    try:
        TypeAdapter[str](Name).validate_python(path[-1])
    except ValidationError:
        reason = "must be named in up to 64 of a-z, 0-9, `.`, `_` and `-`"
        raw.problems.append(Problem(raw.source(path), dotted(path), reason))


def read_rules(raw: Raw, given: object) -> tuple[dict[int, Rule], bool]:
    """The valid rules of a list by their place in it, and whether that is all of them."""
    if not isinstance(given, list):
        raw.problems.append(Problem(raw.source(("rules",)), "rules", "must be a list of rules"))
        return {}, False
    count = len(cast("list[Any]", given))
    read = {index: validated(raw, ("rules", index), Rule) for index in range(count)}
    valid = {index: rule for index, rule in read.items() if rule is not None}
    return valid, len(valid) == count


def fill_endpoints(raw: Raw, parts: Parts, environ: Mapping[str, str]) -> None:
    """Give each endpoint its key and address from the environment, as the SDKs would find them."""
    simulator = parts.get(Simulator)
    for name, agent in parts.agents.items():
        endpoints: list[Endpoint] = []
        for index, endpoint in enumerate(agent.endpoints):
            provider = parts.providers.get(endpoint.provider or agent.provider)
            if simulator and simulator.mode == "always":
                endpoints.append(_cleared(endpoint))
            elif provider is None:
                endpoints.append(endpoint)
            else:
                path: KeyPath = ("agents", name, "endpoints", index)
                endpoints.append(_filled(raw, endpoint, provider, path, environ))
        parts.agents[name] = agent.model_copy(update={"endpoints": tuple(endpoints)})


def _fill_embedders(raw: Raw, parts: Parts, environ: Mapping[str, str]) -> None:
    """Likewise for each embedder; what an agent was told already is not told again."""
    simulator = parts.get(Simulator)
    before, known = len(raw.problems), {problem.source for problem in raw.problems}
    for name, embedder in parts.embedders.items():
        provider = parts.providers.get(embedder.provider)
        if provider is None:
            continue
        parts.embedders[name] = (
            _cleared(embedder)
            if simulator and simulator.mode == "always"
            else _filled(raw, embedder, provider, ("embedders", name), environ)
        )
    raw.problems[before:] = [one for one in raw.problems[before:] if one.source not in known]


def _fill_webhooks(raw: Raw, parts: Parts, environ: Mapping[str, str]) -> None:
    """Give each webhook endpoint its secret from the environment."""
    webhooks = parts.get(Webhooks)
    if webhooks is None:
        return
    endpoints: list[WebhookEndpoint] = []
    for index, endpoint in enumerate(webhooks.endpoints):
        path: KeyPath = ("webhooks", "endpoints", index, "secret")
        value, source, problem = secret(environ, endpoint.secret_env, dotted(path))
        if problem:
            raw.problems.append(problem)
        elif value:
            raw.sources[path] = source
        given = SecretStr(value) if value else None
        endpoints.append(endpoint.model_copy(update={"secret": given}))
    parts.sections["webhooks"] = webhooks.model_copy(update={"endpoints": tuple(endpoints)})


def _cleared(endpoint: E) -> E:
    return endpoint.model_copy(update={"api_key": None, "base_url": None})


def _filled(
    raw: Raw, endpoint: E, provider: Provider, path: KeyPath, environ: Mapping[str, str]
) -> E:
    update: dict[str, Any] = {}
    if endpoint.api_key_env:
        variables: tuple[str, ...] = (endpoint.api_key_env,)
    else:
        # A key made for the provider must not reach an address that the settings give.
        variables = provider.api_key_env if endpoint.base_url is None else ()
    if endpoint.api_key is None:
        for variable in variables:
            value, source, problem = secret(environ, variable, dotted((*path, "api_key")))
            if problem:
                raw.problems.append(problem)
            if value:
                update["api_key"] = SecretStr(value)
                raw.sources[(*path, "api_key")] = source
            if value or problem:
                break
    address = environ.get(provider.base_url_env)
    if endpoint.base_url is None and address:
        here = (*path, "base_url")
        try:
            update["base_url"] = TypeAdapter[str](BaseUrl).validate_python(address)
            raw.sources[here] = provider.base_url_env
        except ValidationError:
            reason = "must be an http:// or https:// address without user, query or fragment"
            raw.problems.append(Problem(provider.base_url_env, dotted(here), reason))
    return endpoint.model_copy(update=update) if update else endpoint
