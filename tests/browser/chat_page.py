"""The chat page as a person meets it: what a test does and sees, by the words and roles on it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import ConsoleMessage, Locator, Page, WebSocket, expect

WITHIN_MS = 30_000
"""How long anything may take on a busy machine; nothing is timed by it."""

expect.set_options(timeout=WITHIN_MS)

WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Troubles:
    """What the browser complained of. A test may expect some of it, by a regular expression."""

    seen: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        self.expected.append(pattern)

    @property
    def unexpected(self) -> list[str]:
        return [
            words
            for words in self.seen
            if not any(re.search(pattern, words) for pattern in self.expected)
        ]


def note_troubles(page: Page, troubles: Troubles) -> None:
    """Keep whatever the browser complains of from now on."""

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            troubles.seen.append(f"{message.type}: {message.text} ({where})")

    page.on("console", said)
    page.on("pageerror", lambda error: troubles.seen.append(f"page error: {error}"))
    page.on("dialog", lambda dialog: troubles.seen.append(f"dialog: {dialog.message}"))


class ChatPage:
    """One tab with the page of the Troupe at `url`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.troubles = Troubles()
        self.frames: list[list[dict[str, Any]]] = []
        """What each socket received, oldest socket first."""
        page.set_default_timeout(WITHIN_MS)
        note_troubles(page, self.troubles)
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        frames: list[dict[str, Any]] = []
        self.frames.append(frames)
        socket.on("framereceived", lambda data: frames.append(json.loads(data)))

    async def open(self, query: str = "") -> None:
        await self.page.add_init_script(WATCH_POLICY)
        await self.page.goto(f"{self.url.rstrip('/')}/{query}")
        await expect(self.agents.locator("option").nth(1)).to_be_attached()

    # -- what is there --------------------------------------------------------------------------

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Your message")

    @property
    def agents(self) -> Locator:
        return self.page.get_by_role("combobox", name="Agent")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop the answer")

    @property
    def new_chat(self) -> Locator:
        return self.page.get_by_role("button", name="New chat")

    @property
    def past_chats(self) -> Locator:
        return self.page.get_by_role("navigation", name="Past chats").get_by_role("link")

    @property
    def title(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    @property
    def link(self) -> Locator:
        return self.page.locator("#link-words")

    @property
    def messages(self) -> Locator:
        return self.page.locator(".message")

    @property
    def questions(self) -> Locator:
        return self.page.locator(".message.user .words")

    @property
    def answer(self) -> Locator:
        """The newest answer."""
        return self.page.locator(".message.answer").last

    @property
    def words(self) -> Locator:
        """What the newest answer says."""
        return self.answer.locator(".markdown")

    @property
    def chat_id(self) -> str:
        return parse_qs(urlsplit(self.page.url).query)["c"][0]

    # -- what a person does ---------------------------------------------------------------------

    async def send(self, text: str, agent: str | None = None) -> None:
        if agent is not None:
            await self.agents.select_option(agent)
        await self.box.fill(text)
        await self.box.press("Enter")

    async def until_words(self, count: int) -> str:
        """Wait until the newest answer has at least so many words; gives them back."""
        await expect(self.words).to_have_text(re.compile(rf"(\S+\s+){{{count - 1}}}\S+"))
        return await self.words.inner_text()

    async def until_answered(self, status: str = "completed") -> str:
        """Wait until the newest answer has ended so; gives back its text as it is shown."""
        await expect(self.answer).to_have_attribute("data-status", status)
        return await self.words.inner_text()

    # -- what the server holds ------------------------------------------------------------------

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.page.request.fetch(
            f"{self.url.rstrip('/')}/v1/{path}", method=method, data=body
        )
        assert answer.ok, f"{method} {path}: {answer.status} {await answer.text()}"
        return await answer.json()

    async def stored(self, chat_id: str | None = None) -> list[tuple[str, str]]:
        """Role and text of the chat's items, oldest first."""
        path = f"conversations/{chat_id or self.chat_id}/items?order=asc&limit=100"
        return [
            (item["role"], "".join(part["text"] for part in item["content"]))
            for item in (await self.api("GET", path))["data"]
        ]

    def assert_no_gaps(self) -> None:
        """Every socket received its events in order, each once, none left out."""
        for frames in self.frames:
            seqs = [frame["seq"] for frame in frames if frame["type"] != "session.opened"]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
