"""Files and variables become one frozen object, the nearer source winning."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError
from ray import cloudpickle

from config.load import load, load_with_sources


def test_without_anything_set_it_is_development_on_loopback(directory):
    settings = load({}, directory)
    assert settings.environment == "development"
    assert (settings.gateway.host, settings.gateway.port) == ("127.0.0.1", 8000)
    assert settings.context.hot_ttl_s == 3600
    assert settings.open
    assert list(settings.agents) == ["gpt", "gemini"]
    assert all(agent.simulated for agent in settings.agents.values())
    gpt = settings.agents["gpt"]
    assert (gpt.on_host_loss, gpt.on_busy, settings.hosts.turn_attempts) == ("continue", "queue", 3)


def test_the_environments_file_is_laid_over_base_and_variables_over_both(overlay):
    directory = overlay("gateway: {port: 8100, replicas: 3}\nhosts: {pace: {bulk_ms: 60}}")
    settings, sources = load_with_sources({"TROUPE_GATEWAY__PORT": "8200"}, directory)
    assert (settings.gateway.port, settings.gateway.replicas) == (8200, 3)
    assert settings.hosts.pace.bulk_ms == 60
    assert settings.hosts.pace.urgent_ms == 25
    assert sources["gateway", "port"] == "TROUPE_GATEWAY__PORT"
    assert sources["gateway", "replicas"] == "config/development.yaml:1"
    assert sources["hosts", "pace", "bulk_ms"] == "config/development.yaml:2"
    assert sources["hosts", "pace", "urgent_ms"].startswith("config/base.yaml:")


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_every_shipped_environment_starts_with_its_secrets(environment, production, directory):
    settings = load({**production, "TROUPE_ENV": environment}, directory)
    assert settings.environment == environment
    assert not settings.open


def test_settings_are_frozen_all_the_way_down(overlay):
    rules = "[{name: a, when: {metadata: {k: v}}, agent: gpt}, {name: b, when: else, agent: gpt}]"
    settings = load({}, overlay(f"rules: {rules}"))
    with pytest.raises(ValidationError):
        settings.gateway.port = 1
    with pytest.raises(TypeError, match="frozen"):
        settings.agents["gpt"] = settings.agents["gemini"]
    with pytest.raises(TypeError, match="frozen"):
        settings.agents.pop("gpt")
    with pytest.raises(TypeError, match="frozen"):
        settings.rules[0].when.metadata.update(tier=())
    assert isinstance(settings.rules, tuple)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_settings_travel_between_processes_with_their_secrets(pickler, production, directory):
    settings = load(production, directory)
    copy = pickle.loads(pickler.dumps(settings))
    assert copy == settings
    assert hash(copy) == hash(settings)
    assert copy.auth.api_key.get_secret_value() == "a-key-of-sixteen"


def test_no_secret_shows_in_the_repr(production, directory):
    shown = repr(load(production, directory))
    for secret in ("a-key-of-sixteen", "sk-openai", "g-gemini", "troupe:pw"):
        assert secret not in shown


def test_a_list_is_replaced_whole_and_its_old_lines_are_forgotten(overlay):
    directory = overlay("rules:\n- {name: all, when: else, agent: gpt}")
    settings, sources = load_with_sources({}, directory)
    assert [rule.name for rule in settings.rules] == ["all"]
    assert {path[1] for path in sources if path[0] == "rules" and len(path) > 1} == {0}


def test_null_takes_an_agent_out(overlay):
    text = "agents: {gemini: null}\nrules: [{name: all, when: else, agent: gpt}]"
    assert list(load({}, overlay(text)).agents) == ["gpt"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "gateway:\n", "null\n"])
def test_an_empty_overlay_or_section_changes_nothing(text, directory, overlay):
    before = load({}, directory)
    assert load({}, overlay(text)) == before


def test_a_new_agent_is_a_short_entry(overlay):
    directory = overlay(
        "agents:\n  local:\n    provider: openai\n    model: llama3\n"
        "    endpoints: [{base_url: 'http://127.0.0.1:11434/v1'}]"
    )
    agent = load({"OPENAI_API_KEY": "sk-x"}, directory).agents["local"]
    assert not agent.simulated
    assert agent.endpoints[0].api_key is None, "a key must not reach a server it was not made for"
    assert agent.timeout_s == 30


def test_the_processs_own_environment_is_the_default(monkeypatch, directory):
    monkeypatch.setenv("TROUPE_HOSTS__COUNT", "7")
    monkeypatch.delenv("TROUPE_ENV", raising=False)
    assert load(directory=directory).hosts.count == 7
