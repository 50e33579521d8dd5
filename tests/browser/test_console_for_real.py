"""The console before a real gateway with real stores: both speak of the same things."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, expect

from context.migrate import migrate
from tests.browser.console_page import ConsolePage
from tests.gateway.house import Stores, open_house
from tests.support.stores import PostgresServer, ValkeyServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

RULES = """\
tier: gold
rules:
  - name: rhymes
    when: {keywords: rhyme}
    agent: other
budgets:
  org_day: {soft_usd: 1, hard_usd: 2.5}
"""


@pytest.fixture(scope="module")
def stores(postgres: PostgresServer, valkey: ValkeyServer) -> Stores:
    url = postgres.url(asyncio.run(postgres.create_database()))
    asyncio.run(migrate(url, timeout_s=30))
    return Stores(url, valkey.url)


async def test_a_rule_is_put_explained_and_taken_back(browser: Browser, stores: Stores) -> None:
    async with open_house(stores) as house:
        context = await browser.new_context()
        page = ConsolePage(await context.new_page(), f"{house.url}/")
        page.troubles.expect("400")
        await page.open(f"?org={house.org}")
        await expect(page.rules).to_have_count(1)
        await expect(page.state).to_contain_text("There is no policy yet")
        await expect(page.part("Spending")).to_contain_text("no limit")

        await page.write(RULES.replace("other", "otter"))
        await page.button("Check").click()
        await expect(page.marked_lines).to_have_text(["5"])
        await expect(page.page.get_by_role("list", name="Problems")).to_contain_text("otter")

        await page.apply(RULES, "for poets")
        await expect(page.state).to_have_text("Version 1 is in force.")
        await expect(page.rules).to_have_count(2)
        await expect(page.rule("rhymes")).to_contain_text(f"{house.org}, version 1")
        await expect(page.versions.first).to_contain_text("for poets")
        await expect(page.part("Spending")).to_contain_text("soft limit $1.00, hard limit $2.50")

        explain = page.part("Explain a message")
        await explain.get_by_label("Message", exact=True).fill("Give me a rhyme.")
        await page.button("Explain").click()
        outcomes = explain.locator(".step-outcome")
        await expect(outcomes).to_have_text(["Matches", "Not asked"])
        await expect(explain.locator(".answer-agent")).to_contain_text("other")

        await page.apply(RULES.replace("rhyme}", "verse}"), "")
        await page.button("Roll back to version 1").click()
        await page.question.get_by_role("button", name="Roll back").click()
        await expect(page.state).to_have_text("Version 3 is in force.")
        await expect(page.rule("rhymes")).to_contain_text("keywords: rhyme")
        kept = await house.rulebook.store.versions(house.org, 10)
        await context.close()

    assert [(one.version, one.note, one.rolled_back_to) for one in kept] == [
        (3, None, 1),
        (2, None, None),
        (1, "for poets", None),
    ]
    assert kept[0].text == kept[2].text == RULES
    assert page.troubles.unexpected == []
