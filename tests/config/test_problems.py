"""Wrong, unknown and missing settings: every one at once, each with its place, key and reason."""

from __future__ import annotations

import pickle

import pytest

from config.errors import Problem, SettingsError
from config.load import load


def test_everything_that_is_wrong_is_told_at_once(overlay, problems):
    directory = overlay(
        """\
gatway: {port: 1}
gateway:
  port: "8000"
  replicas: 0
  hosst: x
hosts:
  count: 1.5
  pace: {bulk_ms: fast}
context: 7
limits:
  page_items: null
agents:
  gpt: {modle: x, timeout_s: -1}
  other: {provider: opnai, model: m}
  third: {model: m}
  Bad Name: {provider: openai, model: m}
rules:
- {name: a, when: {regex: "(x"}, agent: gtp}
- {name: b, when: {keyword: x}, agent: gpt}
"""
    )
    found = problems({"TROUPE_LOG__LEVEL": "loud", "TROUPE_NOPE": "1"}, directory)
    here = "config/development.yaml"
    expected = {
        (f"{here}:1", "gatway", "is no setting; did you mean `gateway`?"),
        (f"{here}:3", "gateway.port", "must be a whole number, is '8000'"),
        (f"{here}:4", "gateway.replicas", "must be at least 1, is 0"),
        (f"{here}:5", "gateway.hosst", "is no setting; did you mean `host`?"),
        (f"{here}:7", "hosts.count", "must be a whole number, is 1.5"),
        (f"{here}:8", "hosts.pace.bulk_ms", "must be a number, is 'fast'"),
        (f"{here}:9", "context", "must be a mapping, is 7"),
        (f"{here}:11", "limits.page_items", "must be a whole number"),
        (f"{here}:13", "agents.gpt.modle", "is no setting; did you mean `model`?"),
        (f"{here}:13", "agents.gpt.timeout_s", "must be more than 0.0, is -1"),
        (
            f"{here}:14",
            "agents.other.provider",
            "must be one of openai, gemini; did you mean `openai`?",
        ),
        (f"{here}:15", "agents.third.provider", "is missing; it must be set"),
        (
            f"{here}:16",
            "agents.Bad Name",
            "must be named in up to 64 of a-z, 0-9, `.`, `_` and `-`",
        ),
        (f"{here}:18", "rules[0].when.regex", '"(x": missing ): (x (rule `a`)'),
        (f"{here}:19", "rules[1].when.keyword", "is no setting; did you mean `keywords`?"),
        (
            "TROUPE_LOG__LEVEL",
            "log.level",
            "must be one of 'debug', 'info', 'warning' or 'error', is 'loud'",
        ),
        ("TROUPE_NOPE", "nope", "names no setting"),
    }
    assert expected <= set(found)
    (rest,) = set(found) - expected
    assert rest[:2] == (f"{here}:18", "rules[0].agent")
    assert rest[2].startswith("names no agent: gtp; there is ")


@pytest.mark.parametrize(
    ("when", "key", "reason"),
    [
        (
            "elze",
            "rules[0].when",
            "names `elze`, which is no variable; did you mean `else`? (rule `a`)",
        ),
        ("7", "rules[0].when", "must be a mapping or text; put it in quotes, is 7"),
        ("{regex: 7}", "rules[0].when.regex", "must be text; put it in quotes or a list, is 7"),
        ("{regex: []}", "rules[0].when.regex", "must have at least 1 entry"),
        ("{regex: [7]}", "rules[0].when.regex[0]", "must be text; put it in quotes, is 7"),
        ("{user: ''}", "rules[0].when.user", "must not be empty, is ''"),
        (
            "{metadata: {tier: 1}}",
            "rules[0].when.metadata.tier",
            "must be text; put it in quotes or a list, is 1",
        ),
        ("{}", "rules[0].when", "has no condition; write `else` to take the rest (rule `a`)"),
    ],
)
def test_a_wrong_condition_is_told_as_what_was_meant(when, key, reason, overlay, problems):
    text = f"rules:\n- {{name: a, when: {when}, agent: gpt}}\n- {{name: b, when: else, agent: gpt}}"
    assert problems({}, overlay(text)) == [("config/development.yaml:2", key, reason)]


@pytest.mark.parametrize(
    ("rules", "key", "reason"),
    [
        ("[]", "rules", "must have at least one rule, whose `when` is `else`"),
        ("null", "rules", "must be a list of rules"),
        ("{a: 1}", "rules", "must be a list of rules"),
        (
            "[{name: a, when: {user: x}, agent: gpt}]",
            "rules",
            "must end with a rule whose `when` is `else`, so that every message has an agent",
        ),
        (
            "[{name: a, when: else, agent: gpt}, {name: b, when: else, agent: gpt}]",
            "rules[1].when",
            "can never match: rule `a` before it takes everything (rule `b`)",
        ),
    ],
)
def test_a_list_of_rules_that_cannot_be(rules, key, reason, overlay, problems):
    assert problems({}, overlay(f"rules: {rules}")) == [("config/development.yaml:1", key, reason)]


def test_a_key_that_base_lacks_is_missing(base, problems):
    directory = base(lambda values: (values["hosts"].pop("count"), values.pop("log")))
    (directory / "development.yaml").write_text("")
    first, second = problems({}, directory)
    assert first == ("config/base.yaml", "log", "is missing; it must be set")
    assert second[0].startswith("config/base.yaml:")
    assert second[1:] == ("hosts.count", "is missing; it must be set")


def test_missing_files_and_yaml_mistakes_do_not_hide_the_rest(directory, problems):
    (directory / "development.yaml").unlink()
    found = problems({"PORT": "x"}, directory)
    assert found == [
        ("PORT", "gateway.port", "must be a whole number, is 'x'"),
        ("config/development.yaml", "", "the file is missing"),
    ]


@pytest.mark.parametrize("text", ["agents: {}", "agents: 3", "providers: []"])
def test_a_table_must_be_a_table_with_something_in_it(text, overlay, directory, problems):
    if text == "agents: {}":
        text = "agents: {gpt: null, gemini: null}"
    name = text.split(":")[0]
    found = problems({}, overlay(text))
    reason = "must be a mapping with at least one entry"
    assert [reason for _, key, reason in found if key == name] == [reason]


def test_the_environment_comes_from_its_variable_alone(overlay, problems):
    directory = overlay("environment: production")
    reason = "comes from TROUPE_ENV alone"
    expected = [("config/development.yaml:1", "environment", reason)]
    assert problems({}, directory) == expected


def test_an_unknown_environment_is_told_with_what_else_is_wrong(directory, problems):
    found = problems({"TROUPE_ENV": "Prodution", "PORT": "0"}, directory)
    assert ("PORT", "gateway.port", "must be at least 1, is 0") in found
    (said,) = [reason for source, _, reason in found if source == "TROUPE_ENV"]
    choices = "development, staging, production"
    assert said == f"must be one of {choices}; did you mean `production`?"


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("auth: {api_key: hush-hush}", "auth.api_key", "TROUPE_API_KEY"),
        (
            "context: {database_url: 'postgresql://u:hush-hush@h/d'}",
            "context.database_url",
            "DATABASE_URL",
        ),
        ("context: {redis_url: 'redis://:hush-hush@h'}", "context.redis_url", "REDIS_URL"),
        (
            "context: {database_url: 'postgresql://h/d?password=hush-hush'}",
            "context.database_url",
            "DATABASE_URL",
        ),
        (
            "agents: {gpt: {endpoints: [{api_key: hush-hush}]}}",
            "agents.gpt.endpoints[0].api_key",
            "api_key_env",
        ),
        ("auth: {api_key: [hush-hush]}", "auth.api_key", "TROUPE_API_KEY"),
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(text, key, remedy, overlay, problems):
    ((source, told, reason),) = problems({}, overlay(text))
    assert (source, told) == ("config/development.yaml:1", key)
    assert "holds a secret" in reason
    assert remedy in reason
    assert "hush" not in reason


def test_a_servers_address_without_a_password_may_stand_in_a_file(overlay):
    directory = overlay("context: {database_url: 'postgresql:///troupe?host=/run/pg'}")
    assert load({}, directory).context.database_url is not None


@pytest.mark.parametrize("value", ["hush hush", "hush\nhush", "hüsh-hüsh"])
def test_no_problem_repeats_a_secret_from_the_environment(value, directory, problems):
    found = problems({"TROUPE_API_KEY": value, "DATABASE_URL": f"mysql://u:{value}@h"}, directory)
    assert {key for _, key, _ in found} == {"auth.api_key", "context.database_url"}
    assert not any("hush" in reason or "hüsh" in reason for _, _, reason in found)


def test_the_error_reads_as_a_list_by_place():
    error = SettingsError(
        [
            Problem("config/base.yaml:12", "gateway.port", "must be a whole number"),
            Problem("PORT", "gateway.port", "must be at least 1"),
            Problem("config/base.yaml:2", "log", "is missing"),
            Problem("config/x.yaml", "", "the file is missing"),
            Problem("config/base.yaml:2", "log", "is missing"),
            Problem("config/base.yaml:2", "hosts", "is missing"),
        ]
    )
    assert str(error) == (
        "Troupe cannot start: 5 settings are wrong.\n\n"
        "  PORT\n    gateway.port: must be at least 1\n\n"
        "  config/base.yaml:2\n    log: is missing\n    hosts: is missing\n\n"
        "  config/base.yaml:12\n    gateway.port: must be a whole number\n\n"
        "  config/x.yaml\n    the file is missing"
    )
    assert str(SettingsError([Problem("PORT", "a", "b")])).startswith(
        "Troupe cannot start: 1 setting is wrong."
    )
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_what_becomes_of_a_turn_is_one_of_a_few_words(overlay, problems):
    directory = overlay(
        "agents: {gpt: {on_host_loss: retry, on_busy: wait}}\nhosts: {turn_attempts: 0}"
    )
    here = "config/development.yaml"
    assert set(problems({}, directory)) == {
        (
            f"{here}:1",
            "agents.gpt.on_host_loss",
            "must be one of 'continue', 'restart' or 'stop', is 'retry'; did you mean `restart`?",
        ),
        (
            f"{here}:1",
            "agents.gpt.on_busy",
            "must be one of 'queue', 'interrupt' or 'reject', is 'wait'",
        ),
        (f"{here}:2", "hosts.turn_attempts", "must be at least 1, is 0"),
    }
