"""What must fit together, and what each environment refuses."""

from __future__ import annotations

import pytest

from config.load import load


def test_production_names_everything_it_lacks(directory, problems):
    found = problems({"TROUPE_ENV": "production"}, directory)
    assert {(source, key) for source, key, _ in found} == {
        ("DATABASE_URL", "context.database_url"),
        ("REDIS_URL", "context.redis_url"),
        ("TROUPE_API_KEY", "auth.api_key"),
        ("OPENAI_API_KEY", "agents.gpt.endpoints[0].api_key"),
        ("GEMINI_API_KEY", "agents.gemini.endpoints[0].api_key"),
    }


def test_staging_takes_simulated_agents_but_nothing_embedded_or_open(
    directory, problems, production
):
    found = problems({"TROUPE_ENV": "staging"}, directory)
    assert [source for source, _, _ in found] == ["DATABASE_URL", "REDIS_URL", "TROUPE_API_KEY"]
    environ = {**production, "TROUPE_ENV": "staging", "OPENAI_API_KEY": "", "GEMINI_API_KEY": ""}
    assert all(agent.simulated for agent in load(environ, directory).agents.values())


@pytest.mark.parametrize(
    "lacking", ["DATABASE_URL", "REDIS_URL", "TROUPE_API_KEY", "OPENAI_API_KEY"]
)
def test_production_lacks_one_thing(lacking, directory, problems, production):
    del production[lacking]
    (problem,) = problems(production, directory)
    assert problem[0] == lacking
    assert problem[2].startswith("must be set")


def test_loopback_does_not_open_production(directory, problems, production):
    del production["TROUPE_API_KEY"]
    (problem,) = problems({**production, "TROUPE_GATEWAY__HOST": "127.0.0.1"}, directory)
    assert problem[0] == "TROUPE_API_KEY"


@pytest.mark.parametrize("mode", ["fallback", "always"])
def test_production_takes_no_simulator(mode, directory, problems, production):
    found = problems({**production, "TROUPE_SIMULATOR__MODE": mode}, directory)
    assert ("TROUPE_SIMULATOR__MODE", "simulator.mode") in {problem[:2] for problem in found}


def test_a_key_for_production_has_some_length(directory, problems, production):
    (problem,) = problems({**production, "TROUPE_API_KEY": "short"}, directory)
    assert problem == ("TROUPE_API_KEY", "auth.api_key", "must have at least 16 characters")


def test_an_address_stands_in_for_a_key_in_production(directory, production):
    del production["OPENAI_API_KEY"]
    settings = load({**production, "OPENAI_BASE_URL": "http://vllm:8000/v1"}, directory)
    assert settings.agents["gpt"].endpoints[0].base_url == "http://vllm:8000/v1"


def test_a_key_asked_for_by_name_may_not_be_missing_in_production(directory, problems, production):
    file = directory / "production.yaml"
    endpoint = "{base_url: 'http://vllm/v1', api_key_env: VLLM_KEY}"
    file.write_text(f"{file.read_text()}\nagents: {{gpt: {{endpoints: [{endpoint}]}}}}")
    (problem,) = problems(production, directory)
    assert problem[:2] == ("VLLM_KEY", "agents.gpt.endpoints[0].api_key")
    assert load({**production, "VLLM_KEY": "k"}, directory).agents["gpt"].endpoints[0].api_key


def test_an_agent_that_nothing_stands_behind_where_nothing_may_be_simulated(directory, problems):
    found = problems({"TROUPE_SIMULATOR__MODE": "never", "OPENAI_API_KEY": "k"}, directory)
    assert [problem[:2] for problem in found] == [
        ("GEMINI_API_KEY", "agents.gemini.endpoints[0].api_key")
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "troupe.example"])
def test_beyond_loopback_a_key_is_required_in_development_too(host, directory, problems):
    (problem,) = problems({"TROUPE_GATEWAY__HOST": host}, directory)
    assert problem[0] == "TROUPE_API_KEY"
    assert host in problem[2]
    environ = {"TROUPE_GATEWAY__HOST": host, "TROUPE_API_KEY": "k"}
    assert not load(environ, directory).open


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_on_loopback_development_is_open(host, directory):
    assert load({"TROUPE_GATEWAY__HOST": host}, directory).open


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"TROUPE_GATEWAY__PIPE_SILENCE_S": "1"}, "gateway.pipe_silence_s"),
        ({"TROUPE_LIMITS__MAX_MESSAGE_CHARS": "2000000"}, "limits.max_message_chars"),
        ({"TROUPE_HOSTS__PACE__URGENT_MS": "101"}, "hosts.pace.urgent_ms"),
        ({"TROUPE_CONTEXT__POOL_MIN": "9"}, "context.pool_min"),
        ({"TROUPE_CONTEXT__JOURNAL_TTL_S": "600"}, "context.journal_ttl_s"),
        ({"TROUPE_LIMITS__PAGE_ITEMS": "101"}, "limits.page_items"),
        ({"TROUPE_ROUTING__CIRCUIT__ENOUGH": "21"}, "routing.circuit.enough"),
        ({"TROUPE_ROUTING__CIRCUIT__FIRST_S": "31"}, "routing.circuit.first_s"),
        ({"TROUPE_ROUTING__BACKOFF_S": "2"}, "routing.backoff_s"),
    ],
)
def test_figures_that_contradict_each_other(environ, key, directory, problems):
    ((source, told, reason),) = problems(environ, directory)
    assert [source] == list(environ)
    assert told == key
    assert ", which is " in reason


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("circuit.streak", 0),
        ("circuit.streak", 1001),
        ("circuit.streak", 2.5),
        ("circuit.outcomes", 1001),
        ("circuit.enough", 0),
        ("circuit.share", 0),
        ("circuit.share", 1.1),
        ("circuit.first_s", 0),
        ("circuit.longest_s", 3601),
        ("circuit.limit_s", -1),
        ("circuit.key_s", 0),
        ("circuit.probe_s", 0),
        ("forget_s", 0),
        ("silent_s", 0),
        ("backoff_s", -0.1),
        ("backoff_max_s", 61),
    ],
)
def test_figures_of_routing_out_of_bounds(key, value, directory, problems):
    variable = f"TROUPE_ROUTING__{key.replace('.', '__').upper()}"
    ((source, told, _),) = problems({variable: str(value)}, directory)
    assert (source, told) == (variable, f"routing.{key}")


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (
            "agents: {auto: {provider: openai, model: m}}",
            "agents.auto",
            "is reserved: it stands for the rules",
        ),
        (
            "agents: {gpt: {endpoints: [{api_key_env: TROUPE_X}]}}",
            "agents.gpt.endpoints[0].api_key_env",
            "must not begin with TROUPE_, which names settings",
        ),
        (
            "providers: {openai: {api_key_env: [TROUPE_X]}}",
            "providers.openai.api_key_env[0]",
            "must not begin with TROUPE_, which names settings",
        ),
        (
            "context: {redis_url: 'http://h'}",
            "context.redis_url",
            "must begin with redis:// or rediss:// or unix://",
        ),
    ],
)
def test_what_cannot_be(text, key, reason, overlay, problems):
    assert problems({}, overlay(text)) == [("config/development.yaml:1", key, reason)]


def test_a_new_provider_is_an_entry(overlay):
    entry = "{base_url: 'https://api.example', api_key_env: [EX_KEY], base_url_env: EX_URL}"
    agent = "{provider: example, model: m}"
    directory = overlay(f"providers: {{example: {entry}}}\nagents: {{ex: {agent}}}")
    assert not load({"EX_KEY": "k"}, directory).agents["ex"].simulated


def test_who_sums_up_is_an_agent_and_leaves_room(overlay, problems):
    directory = overlay(
        "agents:\n"
        "  gpt: {summarize_with: gemni}\n"
        "  gemini: {summarize_with: gpt, context_tokens: 1500}\n"
    )
    assert {problem[1:] for problem in problems({}, directory)} == {
        ("agents.gpt.summarize_with", "must be the name of an agent; did you mean `gemini`?"),
        (
            "agents.gemini.summary_tokens",
            "must be at most half of context_tokens, which is 1500",
        ),
    }
    overlay("agents: {gpt: {summarize_with: gemini, context_tokens: 2000}}")
    assert load({}, directory).agents["gpt"].summarize_with == "gemini"
    assert load({}, directory).agents["gemini"].summarize_with is None


def test_a_provider_with_one_api_leaves_no_choice(directory, problems):
    found = problems({"TROUPE_AGENTS__GEMINI__API": "chat"}, directory)
    reason = "must be left out; gemini has one API"
    assert found == [("TROUPE_AGENTS__GEMINI__API", "agents.gemini.api", reason)]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a-key-of-sixteen", "must not be the API's key, which is not for operators alone"),
        ("short", "must have at least 16 characters"),
        ("with a space, and long", "must be printable ASCII without spaces, to travel in a header"),
    ],
)
def test_the_operators_key_is_a_good_one_and_theirs_alone(
    key, reason, directory, problems, production
):
    found = problems({**production, "TROUPE_ADMIN_KEY": key}, directory)
    assert found == [("TROUPE_ADMIN_KEY", "auth.admin_key", reason)]
    assert load(production, directory).auth.admin_key is None
    settings = load({**production, "TROUPE_ADMIN_KEY": "another-of-sixteen"}, directory)
    assert "another-of-sixteen" not in repr(settings)


def test_endpoints_and_fallbacks_fit_together(overlay, problems):
    directory = overlay(
        "agents:\n"
        "  gpt:\n"
        "    fallbacks: [gemini, gemini, poet]\n"
        "    hedge: {after_ms: 20000, max_usd: 0.01}\n"
        "    endpoints:\n"
        "    - {name: gpt-2}\n"
        "    - {}\n"
        "    - {provider: gemini}\n"
        "    - {provider: gemni, model: m}\n"
        "  gemini: {fallbacks: [third]}\n"
        "  third: {provider: openai, model: m, fallbacks: [gpt]}\n"
    )
    found = {key: reason for _, key, reason in problems({}, directory)}
    assert found == {
        "agents.gpt.fallbacks[0]": "leads back to gpt: gemini → third → gpt",
        "agents.gpt.fallbacks[1]": "is named twice: gemini",
        "agents.gpt.fallbacks[2]": "must be the name of an agent",
        "agents.gpt.hedge.after_ms": "must be less than first_token_s, which is 20 s",
        "agents.gpt.endpoints[1].name": "is taken by another endpoint: gpt-2",
        "agents.gpt.endpoints[2].model": (
            "must be set; gemini may not know the agent's gpt-5.4-mini"
        ),
        "agents.gpt.endpoints[3].provider": (
            "must be one of openai, gemini; did you mean `gemini`?"
        ),
        "agents.gemini.fallbacks[0]": "leads back to gemini: third → gpt → gemini",
        "agents.third.fallbacks[0]": "leads back to third: gpt → gemini → third",
    }


def test_an_agent_that_falls_back_on_itself(overlay, problems):
    directory = overlay("agents: {gpt: {fallbacks: [gpt]}}")
    ((_, key, reason),) = problems({}, directory)
    assert (key, reason) == ("agents.gpt.fallbacks[0]", "leads back to gpt: gpt")
