"""Embedders: where their keys come from; a missing one matters only to whom a rule asks."""

from __future__ import annotations

import pytest

from config.asking import embedder_specs
from config.load import load
from config.policies import effective
from contracts.errors import InvalidRequest
from contracts.policies import Policy

SEMANTIC = """
rules:
  - name: near
    when: {keywords: near}
    semantic:
      examples: {gemini: [translate this]}
      else: gemini
  - name: rest
    when: else
    agent: gemini
"""


def test_the_providers_key_makes_it_real(directory):
    settings = load({"OPENAI_API_KEY": "sk-1"}, directory)
    spec = embedder_specs(settings)["default"]
    assert (spec.provider, spec.model) == ("openai", "text-embedding-3-small")
    assert (spec.api_key, spec.base_url) == ("sk-1", "https://api.openai.com/v1")
    assert "sk-1" not in repr(settings) + repr(spec)


def test_without_a_key_it_is_simulated_where_there_is_a_simulator(directory):
    there = load({"TROUPE_SIMULATOR__URL": "http://127.0.0.1:1"}, directory)
    assert embedder_specs(there)["default"].base_url == "http://127.0.0.1:1/v1"
    assert embedder_specs(load({}, directory)) == {}


def test_always_simulated(directory):
    environ = {"OPENAI_API_KEY": "sk-1", "TROUPE_SIMULATOR__MODE": "always"}
    settings = load({**environ, "TROUPE_SIMULATOR__URL": "http://127.0.0.1:1"}, directory)
    assert embedder_specs(settings)["default"].api_key == "simulated"


def test_a_key_goes_only_where_it_was_made_for(overlay):
    directory = overlay(
        "embedders: {near: {provider: openai, model: m, base_url: 'http://own'},"
        " mine: {provider: openai, model: m, base_url: 'http://own', api_key_env: MINE}}"
    )
    specs = embedder_specs(load({"OPENAI_API_KEY": "sk-1", "MINE": "k"}, directory))
    assert (specs["near"].base_url, specs["near"].api_key) == ("http://own", None)
    assert specs["mine"].api_key == "k"


def test_it_may_be_taken_away(overlay):
    assert load({}, overlay("embedders: {default: null}")).embedders == {}


def test_one_that_no_rule_asks_does_not_stop_the_start(directory, production):
    del production["OPENAI_API_KEY"]
    (directory / "production.yaml").write_text(
        "simulator: {mode: never}\nagents: {gpt: null}\n"
        "rules: [{name: rest, when: else, agent: gemini}]\n"
    )
    assert embedder_specs(load(production, directory)) == {}


def test_one_that_a_rule_asks_must_have_its_key(directory, production, problems):
    del production["OPENAI_API_KEY"]
    (directory / "production.yaml").write_text(
        f"simulator: {{mode: never}}\nagents: {{gpt: null}}\n{SEMANTIC}"
    )
    reason = "asks `default`, whose key must be set; no embedder is simulated here (rule `near`)"
    assert problems(production, directory) == [
        ("OPENAI_API_KEY", "rules[0].semantic.embedder", reason)
    ]
    assert load({**production, "OPENAI_API_KEY": "sk-1"}, directory).embedders


@pytest.mark.parametrize(
    ("embedder", "key", "says"),
    [
        ("{provider: openia, model: m}", "provider", "did you mean `openai`?"),
        ("{provider: openai}", "model", "is missing"),
        ("{provider: openai, model: m, dimensions: 0}", "dimensions", "at least 1"),
        ("{provider: openai, model: m, api_key: sk-1}", "api_key", "holds a secret"),
        ("{provider: openai, model: m, api_key_env: TROUPE_X}", "api_key_env", "TROUPE_"),
    ],
)
def test_what_is_wrong_with_one(overlay, problems, embedder, key, says):
    [(place, where, reason)] = problems({}, overlay(f"embedders: {{near: {embedder}}}"))
    assert place.startswith("config/development.yaml:1")
    assert where == f"embedders.near.{key}"
    assert says in reason


def test_a_rule_names_an_embedder_that_there_is(overlay, problems):
    text = SEMANTIC.replace("semantic:\n", "semantic:\n      embedder: defualt\n")
    [(_, where, reason)] = problems({}, overlay(text))
    assert where == "rules[0].semantic.embedder"
    assert "defualt" in reason and "default" in reason


def test_a_policy_may_ask_an_embedder_of_the_settings(directory):
    settings = load({"TROUPE_SIMULATOR__URL": "http://127.0.0.1:1"}, directory)
    assert effective(settings, [Policy("base", 1, 1, SEMANTIC, 0.0)], {}).rules.rules
    text = SEMANTIC.replace("semantic:\n", "semantic:\n      embedder: defualt\n")
    with pytest.raises(InvalidRequest) as caught:
        effective(settings, [Policy("base", 1, 1, text, 0.0)], {})
    [problem] = caught.value.details["problems"]
    assert problem["where"] == "rules[0].semantic.embedder"
    assert problem["line"] == 6


def test_a_policy_is_refused_where_its_embedder_has_no_key(directory, production):
    del production["OPENAI_API_KEY"]
    (directory / "production.yaml").write_text(
        "simulator: {mode: never}\nagents: {gpt: null}\n"
        "rules: [{name: rest, when: else, agent: gemini}]\n"
    )
    settings = load(production, directory)
    for scope in ("base", "org_acme"):
        with pytest.raises(InvalidRequest) as caught:
            effective(settings, [Policy(scope, 1, 1, SEMANTIC, 0.0)], {})
        [problem] = caught.value.details["problems"]
        assert (problem["scope"], problem["line"]) == (scope, 5)
        assert problem["where"] == "rules[0].semantic.embedder"
        assert problem["reason"].startswith("OPENAI_API_KEY: asks `default`")
