"""The console in a real browser, before an admin API that a test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.console_page import ConsolePage
from tests.browser.contrast import CONTRAST, too_faint
from tests.browser.stand_in import CONSOLE_URL, FAULT, RULES, TEXTS, StandIn

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

OVERFLOW = """() => [document.documentElement, document.getElementById("board")]
  .map((node) => node.scrollWidth - node.clientWidth)"""


@dataclass
class Desk:
    """An operator's tab, and what answers it."""

    page: ConsolePage
    api: StandIn


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser) -> AsyncIterator[Desk]:
    """A fresh operator's tab; whatever the browser complains of fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    made = Desk(ConsolePage(await context.new_page(), CONSOLE_URL), StandIn())
    await made.page.page.route(f"{CONSOLE_URL}**", made.api.answer)
    yield made
    await context.close()
    assert made.page.troubles.unexpected == []


async def test_rules_stand_in_order_with_what_became_of_them(desk: Desk) -> None:
    page = desk.page
    await page.open("?org=org_acme")
    await page.until_live()
    await expect(page.rules.get_by_role("heading")).to_have_text([rule["name"] for rule in RULES])
    await expect(page.rule("by-price")).to_contain_text("double(message.metadata.price) > 100.0")
    await expect(page.rule("by-price")).to_contain_text("org_acme, version 2")
    await expect(page.rule("canary")).to_contain_text("split by user: gpt 95%, gpt-next 5%")
    await expect(page.rule("code")).to_contain_text("metadata: kind = dev, ops")
    await expect(page.rule("default")).to_contain_text("settings")
    await expect(page.rule("default")).to_contain_text("gemini · a conversation keeps its agent")

    # Two hosts report: what they counted is added up.
    await expect(page.rule("by-price")).to_contain_text("matched 42")
    fault = page.rule("by-price").get_by_role("listitem")
    await expect(fault).to_contain_text("Failed 10 times")
    await expect(fault).to_contain_text(FAULT)
    await expect(page.part("Rules in force").get_by_role("status")).to_contain_text("by-price")
    await expect(page.fact("Conditions failing")).to_have_text("1")
    await expect(page.rule("angry-gold").get_by_role("listitem")).to_have_count(0)

    desk.api.faults = 0
    await page.later()
    await expect(page.fact("Conditions failing")).to_have_text("0")
    await expect(fault).to_have_count(0)
    await expect(page.part("Rules in force").get_by_role("status")).to_be_hidden()


async def test_endpoints_hosts_and_spending_are_seen_and_kept_fresh(desk: Desk) -> None:
    page = desk.page
    desk.api.revisions = [12, 11]
    desk.api.policy_errors = ["revision 12: the agent gpt has no key here"]
    await page.open("?org=org_acme")
    part = page.part("Endpoints")
    endpoint = part.locator(".endpoint").filter(has_text="gpt-2")
    await expect(endpoint).to_contain_text("open")
    await expect(endpoint).to_contain_text("us-east")
    await expect(part.locator(".endpoint").filter(has_text="gemini-1")).to_contain_text(
        "Rate limited for"
    )
    await expect(page.fact("Circuits closed")).to_have_text("2 of 4")
    await expect(page.fact("Live, revision 12")).to_have_text("1 of 2 hosts")
    await expect(part.locator(".host.behind")).to_contain_text("revision 11")
    await expect(part.locator(".host.behind")).to_contain_text("the agent gpt has no key here")

    spending = page.part("Spending")
    await expect(spending.get_by_role("meter", name="Today")).to_have_attribute(
        "aria-valuetext", "$82.40 of $100.00"
    )
    await expect(spending).to_contain_text("Turns say so: soft limit $80.00, hard limit $100.00")
    await expect(spending.get_by_role("row")).to_have_text(
        ["UserTodayThis month", "grace$12.25$310.77", "ada$0.0042$40.50"]
    )

    desk.api.revisions = [12, 12]
    await page.later()
    await expect(page.fact("Live, revision 12")).to_have_text("2 of 2 hosts")
    await expect(part.locator(".host.behind")).to_have_count(0)


async def test_the_way_of_a_message_is_told(desk: Desk) -> None:
    page = desk.page
    await page.open()
    part = page.part("Explain a message")
    await page.until_live()
    await part.get_by_label("Message", exact=True).fill("Where is my invoice?")
    await part.get_by_label("User").fill("ada")
    await part.get_by_label("Metadata").fill("tier: gold\nnote: a: b")
    await part.get_by_text("The conversation until now").click()
    await part.get_by_label("Failures in a row").fill("2")
    await page.button("Explain").click()

    steps = part.locator(".step")
    await expect(steps).to_have_count(len(RULES))
    outcomes = ["No match", "Failed", "Matches", "Not asked", "Not asked", "Not asked"]
    await expect(steps.locator(".step-outcome")).to_have_text(outcomes)
    await expect(steps.nth(1)).to_contain_text(FAULT)
    await expect(part.locator(".answer-agent")).to_contain_text("gpt share 31 of 100, by user")
    await expect(part.get_by_role("listitem").filter(has_text="gpt-2")).to_contain_text("open")
    assert desk.api.asked == [
        {
            "org": "org_acme",
            "text": "Where is my invoice?",
            "user": "ada",
            "model": "auto",
            "metadata": {"tier": "gold", "note": "a: b"},
            "session": {"id": None, "agent": None, "turns": 0, "messages": 0, "failures": 2},
        }
    ]

    await part.get_by_label("Metadata").fill("tier gold")
    await page.button("Explain").click()
    await expect(part.get_by_role("status")).to_contain_text("“tier gold” is no “key: value”")
    assert len(desk.api.asked) == 1


async def test_a_bad_policy_is_refused_by_line_and_a_good_one_applied_and_taken_back(
    desk: Desk,
) -> None:
    page = desk.page
    desk.page.troubles.expect("400")
    await page.open("?org=org_acme")
    await expect(page.text).to_have_value(TEXTS[1])
    await expect(page.button("Apply…")).to_be_disabled()
    await expect(page.page.locator("#compared .removed").first).to_contain_text("tier: silver")

    await page.write(TEXTS[1].replace("agent: gpt\n", "agent: gtp\n"))
    await page.button("Apply…").click()
    await expect(page.state).to_contain_text("what is in force stays")
    await expect(page.marked_lines).to_have_text(["5"])
    problems = page.page.get_by_role("list", name="Problems")
    await expect(problems).to_contain_text("did you mean “gpt”?")
    await page.button("Line 5").click()
    await expect(page.text).to_be_focused()
    caret = "(node) => node.value.slice(node.selectionStart, node.selectionEnd)"
    assert await page.text.evaluate(caret) == "    agent: gtp"
    assert len(desk.api.versions["org_acme"]) == 2

    good = TEXTS[1].replace("failures > 1", "failures > 2")
    await page.write(good)
    await expect(page.marked_lines).to_have_count(0)
    await page.button("Apply…").click()
    await expect(page.question.locator(".removed")).to_contain_text("session.failures > 1")
    await expect(page.question.locator(".added")).to_contain_text("session.failures > 2")
    await page.question.get_by_role("button", name="Cancel").click()
    assert len(desk.api.versions["org_acme"]) == 2
    await page.apply(good, "twice is chance")
    await expect(page.state).to_have_text("Version 3 is in force.")
    await expect(page.versions.first).to_contain_text("twice is chance")
    assert desk.api.versions["org_acme"][-1]["text"] == good
    assert desk.api.followed == ['"2"']

    await page.button("Roll back to version 1").click()
    await expect(page.question).to_contain_text("Go back to version 1 of org_acme?")
    await page.question.get_by_role("button", name="Roll back").click()
    await expect(page.state).to_have_text("Version 4 is in force.")
    await expect(page.versions).to_have_count(4)
    await expect(page.versions.first).to_contain_text("Rolled back to version 1")
    await expect(page.text).to_have_value(TEXTS[0])

    await page.write("# a draft")
    await page.page.get_by_label("Base, for everybody").check()
    await expect(page.state).to_contain_text("There is no policy yet")
    await expect(page.text).to_have_value("")
    await page.page.get_by_role("radio", name="org_acme").check()
    await expect(page.text).to_have_value("# a draft")


async def test_another_organization_can_be_chosen_and_linked_to(desk: Desk) -> None:
    page = desk.page
    await page.open()
    await expect(page.text).to_have_value(TEXTS[1])
    box = page.page.get_by_role("combobox", name="Organization")
    await expect(box).to_have_attribute("placeholder", "org_acme")
    await box.focus()
    await expect(page.page.locator("#orgs > option")).to_have_count(1)
    await box.fill("org_other")
    await box.press("Enter")
    await expect(page.page).to_have_url(f"{CONSOLE_URL}console?org=org_other")
    await expect(page.state).to_contain_text("There is no policy yet")
    await expect(page.page.get_by_role("radio", name="org_other")).to_be_checked()
    await page.page.go_back()
    await expect(page.text).to_have_value(TEXTS[1])


async def test_what_a_person_writes_stays_when_somebody_else_puts_a_version(desk: Desk) -> None:
    page = desk.page
    await page.open("?org=org_acme")
    await expect(page.text).to_have_value(TEXTS[1])
    await page.write(TEXTS[1] + "# mine\n")
    desk.api.put("org_acme", TEXTS[1] + "# theirs\n")
    await page.later()
    await expect(page.state).to_contain_text("Version 3 was put meanwhile")
    await expect(page.text).to_have_value(TEXTS[1] + "# mine\n")
    await page.button("Apply…").click()
    await expect(page.question.locator(".removed")).to_contain_text("# theirs")
    await page.question.get_by_role("button", name="Cancel").click()
    await page.button("Discard edits").click()
    await expect(page.text).to_have_value(TEXTS[1] + "# theirs\n")


async def test_the_key_is_asked_for_once_and_a_silent_server_is_said_so(desk: Desk) -> None:
    page = desk.page
    page.troubles.expect("401|ERR_CONNECTION_REFUSED")
    desk.api.key = "adm-right"
    await page.open()
    dialog = page.page.get_by_role("dialog", name="The console asks for the admin key")
    for key in ("adm-wrong", "adm-right"):
        await dialog.get_by_label("Admin key").fill(key)
        await dialog.get_by_role("button", name="Continue").click()
    await expect(dialog).to_be_hidden()
    await page.until_live()
    await expect(page.rules).to_have_count(len(RULES))

    desk.api.down = True
    await page.later()
    await expect(page.link).to_have_text("Not up to date")
    await expect(page.page.get_by_role("alert")).to_contain_text("does not answer")
    await expect(page.rules).to_have_count(len(RULES))
    desk.api.down = False
    await page.later()
    await page.until_live()
    await expect(page.page.locator("#trouble")).to_be_hidden()

    await page.button("Forget key").click()
    await expect(dialog).to_be_visible()


async def test_everything_can_be_reached_by_keyboard(desk: Desk) -> None:
    page = desk.page
    await page.open("?org=org_acme")
    await page.until_live()
    await expect(page.versions).to_have_count(2)
    await page.write(TEXTS[1] + "# more\n")
    await page.page.evaluate("document.activeElement.blur()")
    wanted = await page.page.evaluate(
        """() => [...document.querySelectorAll(
             "a[href], button:enabled, input, textarea, select, summary")]
           .filter((node) => node.checkVisibility() && !node.matches(":not(:checked)[type=radio]"))
           .map((node) => (node.dataset.wanted = "yes")).length"""
    )
    assert wanted > 20
    for _ in range(wanted * 2):
        await page.page.keyboard.press("Tab")
        await page.page.evaluate("delete document.activeElement.dataset.wanted")
        left = await page.page.evaluate("document.querySelectorAll('[data-wanted]').length")
        if left == 0:
            break
    missed = await page.page.evaluate(
        "[...document.querySelectorAll('[data-wanted]')].map((node) => node.outerHTML)"
    )
    assert missed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_can_be_read_in_either_theme_and_fit_a_phone(
    browser: Browser, scheme: str
) -> None:
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    page, api = ConsolePage(await context.new_page(), CONSOLE_URL), StandIn(revisions=[12, 11])
    api.put("org_acme", TEXTS[1] + "# " + "x" * 300 + "\n", note="y" * 200, author="z" * 100)
    await page.page.route(f"{CONSOLE_URL}**", api.answer)
    page.troubles.expect("400")
    await page.open("?org=org_acme")
    await page.until_live()
    await page.page.get_by_label("Message", exact=True).fill("Where is my invoice?")
    await page.button("Explain").click()
    await page.write("agent: gtp # " + "x" * 300)
    await page.button("Check").click()
    await expect(page.marked_lines).to_have_text(["1"])
    await expect(page.page.locator(".step")).to_have_count(len(RULES))
    seen = await page.page.evaluate(CONTRAST)
    overflow = await page.page.evaluate(OVERFLOW)
    await context.close()

    assert overflow == [0, 0]
    assert len(seen) > 60
    assert too_faint(seen) == []
    assert all((found["page"] > 0.5) == (scheme == "light") for found in seen)
    assert page.troubles.unexpected == []
