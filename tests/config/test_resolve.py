"""Agents and rules as hosts get them: plain, final, picklable."""

from __future__ import annotations

import pickle

import pytest

from config.errors import SettingsError
from config.load import load
from config.resolve import resolve, rule_spec, simulated
from routing.conditions import Conditions

SIMULATOR = "http://127.0.0.1:9000"


def test_without_keys_every_agent_is_simulated(directory):
    settings = load({}, directory)
    specs = {name: first for name, (first,) in resolve(settings, SIMULATOR).items()}
    assert simulated(settings) == ["gpt", "gemini"]
    assert specs["gpt"].base_url == f"{SIMULATOR}/v1"
    assert specs["gemini"].base_url == SIMULATOR
    assert all(spec.simulated and spec.api_key for spec in specs.values())
    assert specs["gpt"].model == settings.agents["gpt"].model


def test_the_simulators_address_may_come_from_the_settings(directory):
    settings = load({"TROUPE_SIMULATOR__URL": f"{SIMULATOR}/"}, directory)
    assert resolve(settings)["gpt"][0].base_url == f"{SIMULATOR}/v1"


def test_a_simulated_agent_without_a_simulator_stops_the_start(directory):
    with pytest.raises(SettingsError) as caught:
        resolve(load({"OPENAI_API_KEY": "k"}, directory))
    (problem,) = caught.value.problems
    assert problem.source == "TROUPE_SIMULATOR__URL"
    assert "gemini" in problem.reason
    assert "gpt" not in problem.reason


def test_a_key_makes_an_agent_real_and_leaves_the_other_simulated(directory):
    specs = resolve(load({"OPENAI_API_KEY": "k"}, directory), SIMULATOR)
    (gpt,), (gemini,) = specs["gpt"], specs["gemini"]
    assert (gpt.base_url, gpt.api_key) == ("https://api.openai.com/v1", "k")
    assert not gpt.simulated
    assert gemini.simulated


def test_an_endpoint_may_bring_its_own_address_model_and_region(overlay):
    endpoint = "{base_url: 'http://own/v1', model: llama3, region: eu, tokens_per_minute: 9}"
    directory = overlay(f"agents: {{gpt: {{endpoints: [{endpoint}, {{name: b, weight: 3}}]}}}}")
    own, other = resolve(load({}, directory), SIMULATOR)["gpt"]
    assert (own.base_url, own.api_key, own.simulated) == ("http://own/v1", None, False)
    assert (own.name, own.model, own.region, own.tokens_per_minute) == ("gpt-1", "llama3", "eu", 9)
    assert (other.name, other.weight, other.max_sessions, other.continues) == ("b", 3, None, True)
    assert (other.base_url, other.simulated) == (f"{SIMULATOR}/v1", True)


def test_an_endpoint_of_another_provider_has_its_key_and_address(overlay):
    endpoints = "[{}, {provider: gemini, model: gemini-x}]"
    directory = overlay(f"agents: {{gpt: {{api: responses, endpoints: {endpoints}}}}}")
    settings = load({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "g"}, directory)
    first, second = resolve(settings)["gpt"]
    assert (first.provider, first.api_key, first.api) == ("openai", "k", "responses")
    assert (second.provider, second.api_key, second.api) == ("gemini", "g", None)
    assert (second.model, second.base_url) == (
        "gemini-x",
        "https://generativelanguage.googleapis.com",
    )


def test_always_simulated_beats_key_and_address(overlay):
    directory = overlay(
        "simulator: {mode: always}\nagents: {gpt: {endpoints: [{base_url: 'http://own'}]}}"
    )
    settings = load({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}, directory)
    assert [spec.base_url for (spec,) in resolve(settings, SIMULATOR).values()] == [
        f"{SIMULATOR}/v1",
        SIMULATOR,
    ]


def test_a_spec_travels_and_hides_its_key(directory):
    (spec,) = resolve(load({"OPENAI_API_KEY": "sk-hush"}, directory), SIMULATOR)["gpt"]
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert "hush" not in repr(spec)


def test_one_condition_and_a_list_of_them_are_the_same(overlay):
    directory = overlay(
        "rules:\n"
        "- {name: a, when: {regex: x, keywords: [y, z], metadata: {k: v}}, agent: gpt}\n"
        "- {name: b, when: else, agent: gemini}\n"
    )
    first, last = map(rule_spec, load({}, directory).rules)
    assert first.when == Conditions(("x",), ("y", "z"), (("k", ("v",)),), ())
    assert (last.name, last.target, last.when) == ("b", "gemini", None)
