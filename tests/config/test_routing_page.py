"""docs/routing.md, tried: every policy in it can be put, every expression in it can be asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load
from config.policies import effective
from config.settings import Settings
from contracts.policies import BASE, Policy
from routing.expressions import Library, expression

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
POLICIES = [text for kind, text in FENCED if kind == "yaml" and not text.startswith("# config/")]
SETTINGS = [text for kind, text in FENCED if kind == "yaml" and text.startswith("# config/")]
EXPRESSIONS = [
    line for kind, text in FENCED if kind == "cel" for line in text.splitlines() if line.strip()
]
SIMULATOR = {"TROUPE_SIMULATOR__URL": "http://127.0.0.1:9"}


def document(text: str) -> dict[str, Any]:
    """A block as the whole of a policy; what is a list is one of rules."""
    found = yaml.safe_load(text)
    return {"rules": found} if isinstance(found, list) else found


def agents_of_the_page() -> dict[str, Any]:
    """Whoever some block defines may be named in another."""
    found: dict[str, Any] = {}
    for text in POLICIES:
        found |= {name: agent for name, agent in document(text).get("agents", {}).items() if agent}
    return found


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(SIMULATOR)


@pytest.mark.parametrize("text", POLICIES, ids=lambda text: text.splitlines()[0])
def test_every_policy_on_the_page_can_be_put(settings: Settings, text: str) -> None:
    given = document(text)
    base: dict[str, Any] = {"agents": agents_of_the_page()}
    documents = {BASE: base}
    if "tier" in given:
        documents["org_acme"] = given
    else:
        base |= {**given, "agents": base["agents"] | given.get("agents", {})}
    policies = [
        Policy(scope, 1, number, yaml.safe_dump(one, sort_keys=False), 0.0)
        for number, (scope, one) in enumerate(documents.items(), 1)
    ]
    assert effective(settings, policies, {}).revision == len(policies)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_expression_on_the_page_can_be_asked(text: str) -> None:
    assert expression(text, Library())


def test_the_page_has_examples() -> None:
    assert POLICIES
