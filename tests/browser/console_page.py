"""The console as an operator meets it, before a stand-in or the real admin API."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.browser.chat_page import WATCH_POLICY, WITHIN_MS, Troubles, note_troubles


class ConsolePage:
    """One tab with the console of the Troupe at `url`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.troubles = Troubles()
        page.set_default_timeout(WITHIN_MS)
        note_troubles(page, self.troubles)

    async def open(self, query: str = "") -> None:
        await self.page.add_init_script(WATCH_POLICY)
        await self.page.clock.install()
        await self.page.goto(f"{self.url}console{query}")

    async def later(self) -> None:
        """Jump to where the page looks anew; otherwise time goes on as it does."""
        await self.page.clock.fast_forward(5_000)

    async def until_live(self) -> None:
        await expect(self.link).to_have_text("Live")

    @property
    def link(self) -> Locator:
        return self.page.locator("#link-words")

    def fact(self, name: str) -> Locator:
        """One of the facts on top of the page."""
        return self.page.locator("#glance > div").filter(has_text=name).get_by_role("link")

    def part(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=name)

    @property
    def rules(self) -> Locator:
        return self.page.locator("#rules-list > li")

    def rule(self, name: str) -> Locator:
        heading = self.page.get_by_role("heading", name=name, exact=True)
        return self.rules.filter(has=heading)

    @property
    def text(self) -> Locator:
        """Where a policy is written."""
        return self.page.get_by_role("textbox", name="Text", exact=True)

    @property
    def state(self) -> Locator:
        """What is said of the policy that is written."""
        return self.page.locator("#policy-state")

    @property
    def marked_lines(self) -> Locator:
        return self.page.locator("#editor-lines > .wrong")

    @property
    def versions(self) -> Locator:
        return self.page.locator("#versions > li")

    @property
    def question(self) -> Locator:
        """Whether a change is to be made."""
        return self.page.locator("#change-dialog")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def write(self, text: str) -> None:
        await self.text.fill(text)

    async def apply(self, text: str, note: str) -> None:
        await self.write(text)
        await self.button("Apply…").click()
        await self.question.get_by_label("Note").fill(note)
        await self.question.get_by_role("button", name="Apply").click()
        await expect(self.question).to_be_hidden()
