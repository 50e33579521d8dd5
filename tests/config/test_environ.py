"""Settings from environment variables: any key, well-known names, secrets from files."""

from __future__ import annotations

import pytest

from config.load import load, load_with_sources


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("PORT", "8123", lambda s: s.gateway.port == 8123),
        ("TROUPE_GATEWAY__HOST", "::1", lambda s: s.gateway.host == "::1"),
        ("TROUPE_HOSTS__CPUS", "2", lambda s: s.hosts.cpus == 2.0),
        ("TROUPE_HOSTS__PACE__BULK_MS", "62.5", lambda s: s.hosts.pace.bulk_ms == 62.5),
        ("TROUPE_LOG__LEVEL", "debug", lambda s: s.log.level == "debug"),
        ("TROUPE_AGENTS__GPT__MODEL", "5", lambda s: s.agents["gpt"].model == "5"),
        (
            "TROUPE_AGENTS__GPT__MAX_OUTPUT_TOKENS",
            "null",
            lambda s: not s.agents["gpt"].max_output_tokens,
        ),
        (
            "TROUPE_GATEWAY__CORS_ORIGINS",
            '["https://a.example"]',
            lambda s: s.gateway.cors_origins == ("https://a.example",),
        ),
        (
            "TROUPE_GATEWAY",
            '{"port": 9000}',
            lambda s: (s.gateway.port, s.gateway.replicas) == (9000, 1),
        ),
        (
            "DATABASE_URL",
            "postgres://h/d",
            lambda s: s.context.database_url.get_secret_value() == "postgres://h/d",
        ),
        (
            "REDIS_URL",
            "rediss://h",
            lambda s: s.context.redis_url.get_secret_value() == "rediss://h",
        ),
        ("TROUPE_AUTH__API_KEY", "k", lambda s: s.auth.api_key.get_secret_value() == "k"),
    ],
)
def test_a_variable_sets_its_key(name, text, read, directory):
    loaded = load_with_sources({name: text}, directory)
    assert read(loaded.settings)
    assert name in loaded.sources.values()


def test_an_agents_name_is_found_in_capitals(overlay):
    directory = overlay("agents: {my-agent.v2: {provider: openai, model: m}}")
    settings = load({"TROUPE_AGENTS__MY_AGENT_V2__MODEL": "n"}, directory)
    assert settings.agents["my-agent.v2"].model == "n"
    assert "my_agent_v2" not in settings.agents


def test_a_whole_agent_and_one_of_its_keys_go_together(directory):
    environ = {
        "TROUPE_AGENTS__LOCAL__MODEL": "b",
        "TROUPE_AGENTS__LOCAL": '{"provider": "openai", "model": "a"}',
    }
    assert load(environ, directory).agents["local"].model == "b"


@pytest.mark.parametrize(
    ("variable", "agent"),
    [("OPENAI_API_KEY", "gpt"), ("GEMINI_API_KEY", "gemini"), ("GOOGLE_API_KEY", "gemini")],
)
def test_a_providers_key_makes_its_agents_real(variable, agent, directory, tmp_path):
    file = tmp_path / "key"
    file.write_text("from-file\n")
    for environ, value in (({variable: "k"}, "k"), ({f"{variable}_FILE": str(file)}, "from-file")):
        settings, sources = load_with_sources(environ, directory)
        assert settings.agents[agent].endpoints[0].api_key.get_secret_value() == value
        assert [name for name, one in settings.agents.items() if not one.simulated] == [agent]
        assert sources["agents", agent, "endpoints", 0, "api_key"] in environ


def test_the_first_of_a_providers_variables_wins(directory):
    settings = load({"GOOGLE_API_KEY": "second", "GEMINI_API_KEY": "first"}, directory)
    assert settings.agents["gemini"].endpoints[0].api_key.get_secret_value() == "first"


@pytest.mark.parametrize(
    ("variable", "agent"), [("OPENAI_BASE_URL", "gpt"), ("GOOGLE_GEMINI_BASE_URL", "gemini")]
)
def test_the_sdks_own_address_is_honoured(variable, agent, directory, problems):
    settings = load({variable: "http://127.0.0.1:11434/v1"}, directory)
    assert settings.agents[agent].endpoints[0].base_url == "http://127.0.0.1:11434/v1"
    assert not settings.agents[agent].simulated
    (problem,) = problems({variable: "localhost:11434"}, directory)
    assert problem[:2] == (variable, f"agents.{agent}.endpoints[0].base_url")


def test_an_address_in_the_settings_beats_the_variable(overlay):
    directory = overlay("agents: {gpt: {endpoints: [{base_url: 'http://own', api_key_env: MINE}]}}")
    settings = load({"OPENAI_BASE_URL": "http://other", "MINE": "k"}, directory)
    endpoint = settings.agents["gpt"].endpoints[0]
    assert endpoint.base_url == "http://own"
    assert endpoint.api_key.get_secret_value() == "k"


def test_an_empty_variable_counts_as_not_set(directory):
    names = ("PORT", "OPENAI_API_KEY", "TROUPE_API_KEY", "TROUPE_API_KEY_FILE", "TROUPE_ENV")
    environ = dict.fromkeys((*names, "TROUPE_HOSTS__COUNT", "DATABASE_URL"), "")
    assert load(environ, directory) == load({}, directory)


def test_a_secret_comes_from_a_file_without_its_line_end(directory, tmp_path):
    file = tmp_path / "key"
    file.write_text("secret-key\n")
    settings, sources = load_with_sources({"TROUPE_API_KEY_FILE": str(file)}, directory)
    assert settings.auth.api_key.get_secret_value() == "secret-key"
    assert sources["auth", "api_key"] == "TROUPE_API_KEY_FILE"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "names a file that cannot be read: No such file or directory"),
        (b"", "names an empty file"),
        (b" \n", "names an empty file"),
        (b"\xff\xfe", "names a file that cannot be read: it is not text"),
        (b"x" * 70_000, "names a file too long to hold a secret"),
    ],
)
def test_a_secrets_file_that_gives_none(content, reason, directory, tmp_path, problems):
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    for name, key in (
        ("TROUPE_API_KEY_FILE", "auth.api_key"),
        ("OPENAI_API_KEY_FILE", "agents.gpt.endpoints[0].api_key"),
    ):
        assert problems({name: str(file)}, directory) == [(name, key, reason)]


@pytest.mark.parametrize(
    ("environ", "name", "key"),
    [
        (
            {"TROUPE_API_KEY": "a", "TROUPE_API_KEY_FILE": "b"},
            "TROUPE_API_KEY_FILE",
            "auth.api_key",
        ),
        (
            {"TROUPE_API_KEY": "a", "TROUPE_AUTH__API_KEY": "b"},
            "TROUPE_AUTH__API_KEY",
            "auth.api_key",
        ),
        ({"PORT": "1", "TROUPE_GATEWAY__PORT": "2"}, "TROUPE_GATEWAY__PORT", "gateway.port"),
    ],
)
def test_what_is_said_twice_is_refused(environ, name, key, directory, problems):
    (problem,) = problems(environ, directory)
    assert problem[:2] == (name, key)
    assert "already set" in problem[2] or "so is" in problem[2]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TROUPE_GATEWAY_PORT", "TROUPE_GATEWAY__PORT"),
        ("TROUPE_HOSTS__COUNTS", "TROUPE_HOSTS__COUNT"),
        ("TROUPE_AGENTS__GPT__MODLE", "TROUPE_AGENTS__GPT__MODEL"),
        ("TROUPE_API_KEYS", "TROUPE_API_KEY"),
        ("TROUPE_ENVIRONMENT", None),
        ("TROUPE_RULES__0__NAME", None),
        ("TROUPE_XYZ", None),
        ("TROUPE_GATEWAY__PORT__MORE", None),
    ],
)
def test_a_variable_that_names_no_key_is_a_problem(name, hint, directory, problems):
    (problem,) = problems({name: "x"}, directory)
    assert problem[0] == name
    assert problem[2].startswith("names no setting")
    if hint:
        assert problem[2].endswith(f"; did you mean `{hint}`?")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("TROUPE_HOSTS__COUNT", "two", "must be a whole number, is 'two'"),
        ("TROUPE_HOSTS__COUNT", "1.5", "must be a whole number, is 1.5"),
        ("TROUPE_HOSTS__COUNT", "true", "must be a whole number, is true"),
        ("TROUPE_HOSTS__COUNT", "0", "must be at least 1, is 0"),
        ("TROUPE_HOSTS__IDLE_S", "NaN", "must be a finite number, is nan"),
        ("TROUPE_GATEWAY__CORS_ORIGINS", "a,b", "must be a list, is 'a,b'; write it as JSON"),
        (
            "TROUPE_LOG__LEVEL",
            "warn",
            "must be one of 'debug', 'info', 'warning' or 'error', is 'warn'; "
            "did you mean `warning`?",
        ),
        ("PORT", "70000", "must be at most 65535, is 70000"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name, text, reason, directory, problems):
    ((source, _, said),) = problems({name: text}, directory)
    assert (source, said) == (name, reason)


def test_a_missing_key_of_an_agent_from_variables_names_the_variable(directory, problems):
    (problem,) = problems({"TROUPE_AGENTS__NEW__MODEL": "m"}, directory)
    reason = "is missing; it must be set"
    assert problem == ("TROUPE_AGENTS__NEW__MODEL", "agents.new.provider", reason)
