"""Policies laid over the settings: what holds then, and everything that is wrong with them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from config.load import load
from config.policies import Effective, effective
from config.settings import Settings
from contracts.errors import InvalidRequest
from contracts.money import NANO, Budgets, Limit
from contracts.policies import BASE, Policy

SIMULATOR = {"TROUPE_SIMULATOR__URL": "http://127.0.0.1:9"}
POET = "agents:\n  poet: {provider: openai, model: verse}\n"
TO_POET = "rules:\n  - {name: verse, when: {keywords: rhyme}, agent: poet}\n"
OTHER_KEY = (
    "agents:\n  poet:\n    provider: openai\n    model: verse\n    endpoints:\n      - {%s}\n"
)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(SIMULATOR)


def policy(scope: str, text: str, version: int = 1, revision: int = 1) -> Policy:
    return Policy(scope, version, revision, text, 0.0)


def problems(settings: Settings, *policies: Policy, **environ: str) -> list[tuple[Any, ...]]:
    """Scope, line, where and reason of all that is wrong; something must be."""
    with pytest.raises(InvalidRequest) as caught:
        effective(settings, policies, environ)
    assert caught.value.cause_code == "invalid_policy"
    found = caught.value.details["problems"]
    assert found
    return [(one["scope"], one["line"], one["where"], one["reason"]) for one in found]


def order(found: Effective, org_id: str = "") -> list[tuple[str, str]]:
    """The rules in force and where they come from."""
    rules = found.rules_of.get(org_id, found.rules)
    return [
        (rule.name, origin.scope) for rule, origin in zip(rules.rules, rules.origins, strict=True)
    ]


# -- what holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "# nothing\n", "agents:\nrules:\n", "agents: {}\nrules: []"])
def test_what_is_empty_changes_nothing(settings: Settings, text: str) -> None:
    found = effective(settings, [policy(BASE, text)], {})
    assert found.settings == settings
    assert found.rules.rules == settings.rules
    assert effective(settings, []).rules.version == "0"


def test_agents_are_added_replaced_and_taken_away(settings: Settings) -> None:
    text = (
        "agents:\n  poet: {provider: openai, model: verse}\n  gpt: {provider: openai, model: new}\n"
        "  gemini: null\nrules:\n  - {name: rest, when: else, agent: poet}\n"
    )
    found = effective(settings, [policy(BASE, text, 4, 9)], {})
    assert list(found.settings.agents) == ["gpt", "poet"]
    assert found.settings.agents["gpt"].model == "new"
    assert found.settings.agents["gpt"].prompt is None, "an agent is replaced as a whole"
    assert (found.revision, found.versions) == (9, {"base": 4})
    assert list(settings.agents) == ["gpt", "gemini"], "the settings themselves stay"
    assert pickle.loads(pickle.dumps(found.settings)) == found.settings


def test_an_organization_s_rules_come_first_and_an_else_takes_the_rest(settings: Settings) -> None:
    documents = [
        policy(BASE, POET + TO_POET, 3),
        policy("org_a", "rules: [{name: mine, when: {user: 'b*'}, agent: gpt}]", 7),
        policy("org_b", "rules: [{name: all, when: else, agent: gemini}]", 2),
        policy("org_c", "tier: gold"),
    ]
    found = effective(settings, documents, {})
    theirs = [(rule.name, "settings") for rule in settings.rules]
    assert order(found) == [("verse", "base"), *theirs]
    assert order(found, "org_a") == [("mine", "org_a"), ("verse", "base"), *theirs]
    assert order(found, "org_b") == [("all", "org_b")]
    assert order(found, "org_c") == order(found)
    assert found.tiers == {"org_c": "gold"}
    versions = [found.rules.version, *(rules.version for rules in found.rules_of.values())]
    assert versions == ["base.3", "base.3+org_a.7", "base.3+org_b.2"]


def test_a_rule_takes_the_place_of_a_later_set_s_of_the_same_name(settings: Settings) -> None:
    text = "rules: [{name: premium, when: {user: 'p*'}, agent: gemini}]"
    found = effective(settings, [policy(BASE, text)], {})
    assert order(found)[0] == ("premium", "base")
    assert [scope for name, scope in order(found) if name == "premium"] == ["base"]


def test_keys_come_from_the_environment_of_whoever_reads(settings: Settings) -> None:
    found = effective(settings, [policy(BASE, POET)], {"OPENAI_API_KEY": "sk-here"})
    (endpoint,) = found.settings.agents["poet"].endpoints
    assert endpoint.api_key is not None
    assert endpoint.api_key.get_secret_value() == "sk-here"
    assert "sk-here" not in repr(found)
    assert effective(settings, [policy(BASE, POET)], {}).settings.agents["poet"].simulated


# -- what is wrong -------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once_with_its_line(settings: Settings) -> None:
    text = (
        "agents:\n"
        "  poet: {provider: opnai, model: verse}\n"
        "  Zoe: {provider: openai, model: x}\n"
        "  nobody: null\n"
        "  dull: {model: x}\n"
        "rulez: []\n"
        "rules:\n"
        "  - {name: a, when: {regex: '('}, agent: pet}\n"
        "  - {name: b, agent: dull}\n"
    )
    found = problems(settings, policy(BASE, text))
    assert [(line, where) for _, line, where, _ in found] == [
        (2, "agents.poet.provider"),
        (3, "agents.Zoe"),
        (4, "agents.nobody"),
        (5, "agents.dull.provider"),
        (6, "rulez"),
        (8, "rules[0].agent"),
        (8, "rules[0].when.regex"),
        (9, "rules[1].when"),
    ]
    assert "did you mean `openai`" in found[0][3]
    assert "did you mean `rules`" in found[4][3]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("agents: [", 1, "is not valid YAML"),
        ("agents: {}\nagents: {}\n", 2, "stands twice"),
        ("- rules", None, "must be a mapping"),
        ("rules:\n  a: b\n", 1, "must be a list of rules"),
        ("agents: 5", 1, "must be a mapping"),
        ("rules: *a\n", 1, "aliases are not supported"),
        ("x: " + "[" * 2000, None, "is not valid YAML"),
    ],
)
def test_what_is_no_document(settings: Settings, text: str, line: int | None, reason: str) -> None:
    found = problems(settings, policy(BASE, text))
    assert any(reason in one[3] for one in found)
    if line is not None:
        assert found[0][1] == line


def test_an_organization_has_no_agents_and_the_base_no_tier(settings: Settings) -> None:
    assert problems(settings, policy("org_a", POET))[0][:3] == ("org_a", 1, "agents")
    assert problems(settings, policy(BASE, "tier: gold"))[0][:3] == ("base", 1, "tier")
    assert problems(settings, policy("org_a", "tier: Gold!"))[0][:3] == ("org_a", 1, "tier")


def test_an_agent_that_rules_name_is_not_taken_away(settings: Settings) -> None:
    found = problems(settings, policy(BASE, "agents:\n  gpt: null\n"))
    assert {one[:3] for one in found} == {("base", 2, "agents.gpt")}
    assert "cannot be removed: rule `premium` of the settings names it" in found[0][3]
    theirs = policy("org_a", "\n" + TO_POET)
    assert problems(settings, policy(BASE, ""), theirs)[0][:3] == ("org_a", 3, "rules[0].agent")


def test_a_rule_that_can_never_match_is_refused(settings: Settings) -> None:
    text = (
        "rules:\n  - {name: a, when: else, agent: gpt}\n  - {name: b, when: {user: x}, agent: gpt}"
    )
    assert problems(settings, policy("org_a", text))[0][:3] == ("org_a", 3, "rules[1].when")


def test_a_document_reads_no_secret_and_sends_none_elsewhere(settings: Settings) -> None:
    for entry, where in (
        ("api_key: sk-1", "api_key"),
        ("api_key_env: HOME", "api_key_env"),
        ("api_key_env: TROUPE_ADMIN_KEY", "api_key_env"),
        ("api_key_env: GEMINI_API_KEY", "api_key_env"),
        ("api_key_env: OPENAI_API_KEY, base_url: 'http://mine.example'", "api_key_env"),
    ):
        found = problems(
            settings, policy(BASE, OTHER_KEY % entry), OPENAI_API_KEY="sk-2", HOME="here"
        )
        assert found[0][:3] == ("base", 6, f"agents.poet.endpoints[0].{where}"), entry
        assert "sk-" not in str(found)
    for entry in ("api_key_env: OPENAI_API_KEY", "base_url: 'http://ollama:11434/v1'"):
        assert effective(settings, [policy(BASE, OTHER_KEY % entry)], {})


def test_a_key_may_go_where_the_settings_send_it() -> None:
    proxy = '[{"base_url": "https://eu.proxy/v1", "api_key_env": "EU_KEY"}]'
    settings = load({**SIMULATOR, "TROUPE_AGENTS__GPT__ENDPOINTS": proxy, "EU_KEY": "k"})
    text = OTHER_KEY % "api_key_env: EU_KEY, base_url: 'https://eu.proxy/v1'"
    (endpoint,) = (
        effective(settings, [policy(BASE, text)], {"EU_KEY": "k"}).settings.agents["poet"].endpoints
    )
    assert endpoint.api_key is not None
    elsewhere = text.replace("eu.proxy", "us.proxy")
    assert "is not for this address" in problems(settings, policy(BASE, elsewhere))[0][3]


def test_where_nothing_is_simulated_a_key_must_be_there() -> None:
    keys = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}
    settings = load({"TROUPE_SIMULATOR__MODE": "never", **keys})
    assert effective(settings, [policy(BASE, POET)], keys)
    found = problems(settings, policy(BASE, POET), GEMINI_API_KEY="k")
    assert found[0][:3] == ("base", 2, "agents.poet.endpoints[0].api_key")
    assert "OPENAI_API_KEY: must be set" in found[0][3]


def test_without_a_simulator_nothing_new_is_simulated() -> None:
    settings = load({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"})
    found = problems(settings, policy(BASE, POET))
    assert found == [
        ("base", 2, "agents.poet", "has no key here, and no simulator stands in for it")
    ]


def test_agents_have_an_end(settings: Settings) -> None:
    lines = [f"  a{n}: {{provider: openai, model: x}}\n" for n in range(501)]
    (found,) = problems(settings, policy(BASE, "agents:\n" + "".join(lines)))
    assert found[2:] == ("agents", "has more than 500 agents")


def test_a_rule_asks_only_embedders_that_there_are(settings: Settings) -> None:
    text = (
        "rules:\n  - name: topics\n    when: message.length > 3\n    semantic:\n"
        "      embedder: %s\n      examples: {gpt: [code], gemini: [text]}\n      else: gpt\n"
    )
    known = next(iter(settings.embedders))
    assert effective(settings, [policy(BASE, text % known)], {})
    assert problems(settings, policy(BASE, text % "nobody"))[0][:3] == (
        "base",
        5,
        "rules[0].semantic.embedder",
    )


# -- money ---------------------------------------------------------------------------------------

CHEAP = (
    "prices:\n  gpt-5.4-mini: {input_usd: 9, output_usd: 9}\n"
    "  verse: {input_usd: 1, output_usd: 1}\n"
)


def test_prices_and_budgets_take_the_place_of_the_settings(settings: Settings) -> None:
    base = policy(
        BASE, f"{POET}{CHEAP}budgets:\n  org_day: {{hard_usd: 5}}\n  turn: {{soft_usd: 1}}"
    )
    acme = policy("org_acme", "budgets:\n  org_day: {soft_usd: 2}\n")
    found = effective(settings, [base, acme], {})
    prices = {name: price.input_usd for name, price in found.settings.prices.items()}
    assert prices == {"gpt-5.4-mini": 9, "gemini-3.8-flash": 0.5, "verse": 1}
    everybody = found.settings.budgets.plain()
    assert everybody == Budgets(turn=Limit(soft=NANO), org_day=Limit(hard=5 * NANO))
    assert found.budgets_of == {"org_acme": everybody._replace(org_day=Limit(soft=2 * NANO))}
    assert effective(settings, [base], {}).budgets_of == {}


@pytest.mark.parametrize(
    ("scope", "text", "line", "where"),
    [
        (BASE, "budgets:\n  org_day: {soft_usd: 2, hard_usd: 1}\n", 2, "budgets.org_day.hard_usd"),
        ("org_acme", "budgets:\n  org_week: {hard_usd: 1}\n", 2, "budgets.org_week"),
        (BASE, "budgets:\n  refresh_s: 1\n", 2, "budgets.refresh_s"),
        (BASE, "prices:\n  verse: {input_usd: 1}\n", 2, "prices.verse.output_usd"),
        ("org_acme", "prices:\n  verse: {input_usd: 1, output_usd: 1}\n", 1, "prices"),
    ],
)
def test_money_that_makes_no_sense_is_refused_with_its_line(
    settings: Settings, scope: str, text: str, line: int, where: str
) -> None:
    [problem] = problems(settings, policy(scope, text))
    assert problem[:3] == (scope, line, where)


def test_a_limit_asks_that_every_model_has_a_price(settings: Settings) -> None:
    reason = "must say what verse of agent poet costs, since budgets has limits"
    limit = "budgets:\n  org_day: {soft_usd: 1}\n"
    [problem] = problems(settings, policy(BASE, POET + limit))
    assert problem[3].startswith(reason)
    [problem] = problems(settings, policy(BASE, POET), policy("org_acme", limit))
    assert problem == ("org_acme", 1, "budgets", reason)
    priced = POET.replace("verse}", "verse, endpoints: [{price: {input_usd: 1, output_usd: 1}}]}")
    assert effective(settings, [policy(BASE, priced), policy("org_acme", limit)], {}).budgets_of
    assert effective(settings, [policy(BASE, POET + CHEAP + limit)], {})
