"""docs/routing.md, tried: every example in it can be put as it stands, as a policy or settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load
from config.policies import BaseDocument, OrganizationDocument, effective
from config.rules import TARGETS
from config.settings import Settings
from contracts.policies import BASE, Policy

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
EXAMPLES: list[str] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
OF_SETTINGS = re.compile(r"\A# config/|_env: ")
"""A policy brings no keys along."""
ORGANIZATION = "org_acme"
SIMULATOR = {"TROUPE_SIMULATOR__URL": "http://127.0.0.1:9"}
SOMEBODY = {"provider": "openai", "model": "any"}


def document(text: str) -> dict[str, Any]:
    """An example as the whole of a policy: it may show rules alone, or what stands in one."""
    found = yaml.safe_load(text)
    if isinstance(found, list):
        return {"rules": found}
    if found.keys() <= {"when", *TARGETS}:
        rule = {"name": "shown", "when": "message.length > 1", **found}
        return {"rules": [rule if found.keys() & set(TARGETS) else {**rule, "agent": "gpt"}]}
    return found


def named(rule: dict[str, Any]) -> Iterator[str]:
    """The agents that a rule may lead to or ask."""
    for target in (rule, *(rule.get(kind, {}) for kind in TARGETS if kind != "agent")):
        yield from (target[key] for key in ("agent", "else") if key in target)
        for table in ("agents", "examples", "answers"):
            yield from target.get(table, {})


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(SIMULATOR)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_what_the_page_shows_holds(
    settings: Settings, overlay: Callable[[str], Path], text: str
) -> None:
    if OF_SETTINGS.search(text):
        keys = dict.fromkeys(re.findall(r"_env: (\w+)", text), "a-key")
        assert load(SIMULATOR | keys, overlay(text)).agents
    else:
        put(settings, document(text))


def put(settings: Settings, given: dict[str, Any]) -> None:
    """Put it, beside a policy that has the agents it names; its rules are then in force."""
    agents = given.get("agents", {})
    others = {name for rule in given.get("rules", []) for name in named(rule)}
    others -= agents.keys() | settings.agents.keys()
    base = {"agents": {name: dict(SOMEBODY) for name in others}}
    documents = {BASE: base}
    if given.keys() <= BaseDocument.model_fields.keys():
        base |= given | {"agents": base["agents"] | agents}
    else:
        assert given.keys() <= OrganizationDocument.model_fields.keys()
        documents[ORGANIZATION] = given
    policies = [
        Policy(scope, 1, number, yaml.safe_dump(one, sort_keys=False), 0.0)
        for number, (scope, one) in enumerate(documents.items(), 1)
    ]
    found = effective(settings, policies, {})
    in_force = {rule.name for rule in found.rules_of.get(ORGANIZATION, found.rules).rules}
    assert {rule["name"] for rule in given.get("rules", [])} <= in_force
