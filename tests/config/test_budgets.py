"""Prices and budgets: what may stand there, and what hosts make of it."""

from __future__ import annotations

import pytest

from config.budgets import Budgets, Limit, prices_of
from config.load import load
from config.resolve import resolve
from contracts import money


def test_the_shipped_settings_limit_nothing_and_price_every_model(directory):
    settings = load({}, directory)
    assert settings.budgets.plain() == money.NO_BUDGETS
    models = {agent.model for agent in settings.agents.values()}
    assert models
    assert models <= prices_of(settings.prices).keys()


def test_limits_are_nano_dollars_to_hosts(overlay):
    settings = load(
        {"TROUPE_BUDGETS__ORG_DAY__HARD_USD": "12.5"},
        overlay("budgets:\n  user_day: { soft_usd: 0.5, hard_usd: 1 }\n"),
    )
    assert settings.budgets.plain() == money.Budgets(
        user_day=money.Limit(500_000_000, 1_000_000_000), org_day=money.Limit(None, 12_500_000_000)
    )


def test_a_soft_limit_may_not_be_above_the_hard_one(overlay, problems):
    directory = overlay("budgets:\n  session:\n    soft_usd: 2\n    hard_usd: 1.5\n")
    (problem,) = problems({}, directory)
    assert problem == (
        "config/development.yaml:4",
        "budgets.session.hard_usd",
        "must be at least soft_usd, which is 2, is 1.5",
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("budgets: { user_day: { hard_usd: -1 } }", "budgets.user_day.hard_usd"),
        ("budgets: { user_week: { hard_usd: 1 } }", "budgets.user_week"),
        ("budgets: { user_day: { hard_eur: 1 } }", "budgets.user_day.hard_eur"),
        ("budgets: { refresh_s: 0 }", "budgets.refresh_s"),
        ("prices: { gpt-x: { input_usd: 1 } }", "prices.gpt-x.output_usd"),
        ("prices: { gpt-x: { input_usd: free, output_usd: 1 } }", "prices.gpt-x.input_usd"),
    ],
)
def test_what_cannot_be_is_named(text, key, overlay, problems):
    assert [problem[1] for problem in problems({}, overlay(f"{text}\n"))] == [key]


def test_a_price_may_be_taken_away(overlay):
    settings = load({}, overlay("prices:\n  gpt-5.4-mini: null\n"))
    assert list(settings.prices) == ["gemini-3.8-flash", "text-embedding-3-small"]


def test_what_an_organization_does_not_say_is_as_it_is_for_everybody():
    everybody = Budgets(turn=Limit(hard_usd=2), org_day=Limit(soft_usd=3, hard_usd=4))
    own = Budgets(org_day=Limit(hard_usd=1), user_day=Limit())
    assert own.over(everybody).plain() == money.Budgets(
        turn=money.Limit(None, 2 * money.NANO), org_day=money.Limit(None, money.NANO)
    )


def test_where_spending_is_limited_every_model_has_a_price(overlay, problems):
    limit = "budgets: { org_day: { soft_usd: 1 } }\n"
    directory = overlay(limit + "agents: { gpt: { model: gpt-x } }\n")
    (problem,) = problems({}, directory)
    assert problem[1:] == (
        "prices",
        "must say what gpt-x of agent gpt costs, since budgets has limits",
    )
    price = "prices: { openai/*: { input_usd: 1, output_usd: 1 } }\n"
    overlay(limit + price + "agents: { gpt: { model: gpt-x } }\n")
    load({}, directory)
    overlay("agents: { gpt: { model: gpt-x } }\n")
    load({}, directory)


def test_an_endpoint_may_have_a_price_of_its_own(overlay):
    endpoints = "{price: {input_usd: 9, output_usd: 8}}, {}, {model: other}"
    directory = overlay(f"agents: {{ gpt: {{ endpoints: [{endpoints}] }} }}\n")
    specs = resolve(load({}, directory), "http://127.0.0.1:9")["gpt"]
    listed = money.Price(0.75, 4.5, 0.075)
    assert [spec.price for spec in specs] == [money.Price(9, 8), listed, None]
