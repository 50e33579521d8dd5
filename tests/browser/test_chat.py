"""The chat page in a real browser, against a running Troupe."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from playwright.async_api import Browser, Locator, Route, WebSocketRoute, expect

from tests.browser.chat_page import ChatPage
from tests.browser.contrast import CONTRAST, too_faint
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HOSTILE = """<img src=x onerror="document.title='taken'"> <script>document.title='taken'</script>

[click](javascript:document.title='taken') [data](data:text/html,<script>1</script>)
![picture](https://elsewhere.test/seen.png) <javascript:alert(1)> **bold<svg onload=alert(1)>**

```html"><script>document.title='taken'</script>
<iframe srcdoc="<script>alert(1)</script>"></iframe>
```

| <b>a</b> | `</code><script>alert(1)</script>` |
| --- | --- |
| [x](vbscript:alert(1)) | [y](//elsewhere.test) |
"""


async def test_an_answer_arrives_token_by_token_and_is_what_is_stored(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Count, please.", "slow")
    await expect(chat.questions).to_have_text(["Count, please."])
    early = await chat.until_words(3)
    later = await chat.until_words(len(early.split()) + 10)
    await expect(chat.answer).to_have_attribute("aria-busy", "true")
    shown = await chat.until_answered()

    assert later.startswith(early) and len(later) > len(early)
    assert shown.startswith(later) and len(shown) > len(later)
    stored = await chat.stored()
    assert [role for role, _ in stored] == ["user", "assistant"]
    assert stored[0][1] == "Count, please."
    assert shown.split() == stored[1][1].split() == [f"t{n}" for n in range(len(shown.split()))]
    chat.assert_no_gaps()


async def test_a_reload_in_mid_answer_shows_the_rest_without_gap_or_double(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Count, please.", "long")
    before = await chat.until_words(15)
    await chat.page.reload()
    after = await chat.until_words(16)
    await expect(chat.answer).to_have_attribute("aria-busy", "true")
    shown = await chat.until_answered()

    assert after.startswith(before[: len(after)])
    assert shown.startswith(before)
    await expect(chat.questions).to_have_text(["Count, please."])
    await expect(chat.messages).to_have_count(2)
    assert shown.split() == (await chat.stored())[1][1].split()
    chat.assert_no_gaps()

    await chat.page.reload()
    await expect(chat.words).to_have_text(shown)
    await expect(chat.messages).to_have_count(2)


async def hold_the_second_socket(chat: ChatPage) -> tuple[list[WebSocketRoute], asyncio.Event]:
    """The page's sockets from now on, of which the second gets through once the event is set."""
    sockets: list[WebSocketRoute] = []
    back = asyncio.Event()

    async def keep(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) > 1:
            await back.wait()
        socket.connect_to_server()

    await chat.page.route_web_socket(re.compile("/ws"), keep)
    return sockets, back


async def test_a_socket_cut_in_mid_answer_comes_back_and_goes_on(chat: ChatPage) -> None:
    sockets, back = await hold_the_second_socket(chat)
    await chat.open()
    await chat.send("Count, please.", "slow")
    before = await chat.until_words(10)
    await sockets[-1].close(code=1011)
    await expect(chat.link).to_have_text("Reconnecting")
    back.set()
    shown = await chat.until_answered()

    assert len(sockets) == 2
    assert shown.startswith(before)
    assert shown.split() == (await chat.stored())[1][1].split()
    await expect(chat.messages).to_have_count(2)
    await expect(chat.link).to_have_text("Connected")


async def test_an_answer_that_died_with_its_host_is_said_to_have_failed(chat: ChatPage) -> None:
    """The server's side is the test's own from the cut on: it lost the turn and says so."""
    sockets: list[WebSocketRoute] = []
    frames: list[str | bytes] = []

    def first_real_then_ours(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) == 1:
            server = socket.connect_to_server()
            server.on_message(lambda frame: (frames.append(frame), socket.send(frame)))
        else:
            asked = json.loads(next(frame for frame in frames if b"accepted" in _bytes(frame)))
            opened = {"type": "session.opened", "epoch": 9, "seq": 99, "recovered": False}
            body = json.dumps({**opened, "snapshot": asked["input"]})
            socket.on_message(lambda _: socket.send(body))

    async def lost(route: Route) -> None:
        error = {"code": "session_moved", "message": "Its host died."}
        response_id = route.request.url.rpartition("/")[2]
        failed = {"id": response_id, "status": "failed", "output": [], "error": error}
        await route.fulfill(json={**failed, "conversation": {"id": chat.chat_id}})

    await chat.page.route_web_socket(re.compile("/ws"), first_real_then_ours)
    await chat.page.route("**/v1/responses/*", lost)
    await chat.open()
    await chat.send("Count, please.", "slow")
    await chat.until_words(5)
    await sockets[0].close(code=1012)
    await expect(chat.answer.get_by_role("alert")).to_contain_text("Its host died.")
    await expect(chat.answer.get_by_role("button", name="Try again")).to_be_visible()
    await expect(chat.messages).to_have_count(2)


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


async def test_a_message_written_while_the_socket_is_away_is_sent_once(chat: ChatPage) -> None:
    sockets, back = await hold_the_second_socket(chat)
    await chat.open()
    await chat.send("First.", "gpt")
    await chat.until_answered()
    await sockets[-1].close(code=1011)
    await expect(chat.link).to_have_text("Reconnecting")
    await chat.send("Second.")
    await expect(chat.questions).to_have_text(["First.", "Second."])
    back.set()
    await expect(chat.messages).to_have_count(4)
    await chat.until_answered()

    await expect(chat.questions).to_have_text(["First.", "Second."])
    assert [text for role, text in await chat.stored() if role == "user"] == ["First.", "Second."]


async def test_stop_ends_the_answer_and_keeps_what_there_was(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Count, please.", "long")
    await chat.until_words(8)
    await chat.stop.click()
    shown = await chat.until_answered("cancelled")

    await expect(chat.stop).to_be_hidden()
    await expect(chat.answer.get_by_text("This answer was stopped.")).to_be_visible()
    stored = await chat.stored()
    assert shown.split() == stored[1][1].split()
    assert len(shown.split()) < 150


async def test_a_second_message_waits_its_turn(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Count, please.", "long")
    await chat.until_words(5)
    await chat.send("And then?", "gpt")
    await expect(chat.messages).to_have_count(4)
    await expect(chat.answer).to_have_attribute("data-status", "waiting")
    await chat.stop.click()
    await chat.until_answered()

    statuses = await chat.page.locator(".answer").evaluate_all(
        "(nodes) => nodes.map((node) => node.dataset.status)"
    )
    assert statuses == ["cancelled", "completed"]
    await expect(chat.questions).to_have_text(["Count, please.", "And then?"])


async def test_new_chat_and_past_chats(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("About the sea", "gpt")
    sea = await chat.until_answered()
    first = chat.chat_id
    await chat.new_chat.click()
    await expect(chat.messages).to_have_count(0)
    await expect(chat.page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
    await chat.send("About the hills", "gpt")
    await chat.until_answered()
    assert chat.chat_id != first

    await expect(chat.past_chats.nth(0)).to_have_text("About the hills")
    await expect(chat.past_chats.nth(1)).to_have_text("About the sea")
    await chat.past_chats.nth(1).click()
    assert chat.chat_id == first
    await expect(chat.words).to_have_text(sea, use_inner_text=True)
    await expect(chat.title).to_have_text("About the sea")
    await expect(chat.page).to_have_title("About the sea · Troupe")
    await chat.page.go_back()
    await expect(chat.questions).to_have_text(["About the hills"])


async def test_the_past_comes_in_pages_and_what_is_read_stays_in_place(chat: ChatPage) -> None:
    await chat.open()
    made = await chat.api("POST", "conversations", {"metadata": {"title": "Long"}})
    for start in range(0, 300, 20):
        items = [
            {"type": "message", "role": "user", "content": f"message {n}"}
            for n in range(start, start + 20)
        ]
        await chat.api("POST", f"conversations/{made['id']}/items", {"items": items})
    await chat.page.goto(f"{chat.url.rstrip('/')}/?c={made['id']}")
    await expect(chat.questions.last).to_have_text("message 299")
    await expect(chat.questions.last).to_be_in_viewport()

    talk = chat.page.get_by_role("main", name="Messages")
    jumps: list[float] = []
    while await chat.questions.first.inner_text() != "message 0":
        first = chat.questions.first
        text = await first.inner_text()
        await talk.evaluate("(talk) => { talk.scrollTop = 0 }")
        await expect(chat.questions.first).not_to_have_text(text)
        place = await chat.page.get_by_text(text, exact=True).bounding_box()
        jumps.append(place["y"] if place else -1)
    assert jumps and all(0 <= y < 800 for y in jumps)
    shown = await chat.questions.all_inner_texts()
    assert shown == [f"message {n}" for n in range(300)]
    await expect(chat.page.get_by_role("button", name="Show earlier messages")).to_be_hidden()

    await chat.page.get_by_role("button", name="Latest").click()
    await expect(chat.questions.last).to_be_in_viewport()


async def click_to_hear(button: Locator, words: str) -> None:
    """Click a button and wait until it has said so, which it does for a moment only."""
    one = await button.element_handle()
    assert one is not None
    await one.evaluate(
        """(button) => {
          button.said = "";
          const note = () => { button.said += button.textContent; };
          new MutationObserver(note).observe(button, { subtree: true, childList: true });
        }"""
    )
    await one.click()
    await until(
        lambda: one.evaluate("(button, words) => button.said.includes(words)", words),
        f"it has said {words}",
    )


async def test_an_answer_and_its_code_can_be_copied(chat: ChatPage) -> None:
    await chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.open()
    await chat.send("Write a Python function that greets a person by name.", "gpt")
    await chat.until_answered()
    code = chat.answer.locator(".code")
    await click_to_hear(code.get_by_role("button", name="Copy"), "Copied")
    copied = await chat.page.evaluate("navigator.clipboard.readText()")
    assert copied == await code.locator("code").text_content()

    regenerate = chat.answer.get_by_role("button", name="Regenerate")
    place = await regenerate.bounding_box()
    await click_to_hear(chat.answer.locator(".after").get_by_role("button", name="Copy"), "Copied")
    assert place and await regenerate.bounding_box() == place
    whole = await chat.page.evaluate("navigator.clipboard.readText()")
    assert whole == (await chat.stored())[1][1]
    assert "```" in whole and copied in whole


async def test_an_empty_chat_offers_beginnings_and_introduces_the_agents(chat: ChatPage) -> None:
    await chat.open()
    await chat.page.get_by_role("button", name="Talk to gemini").click()
    assert await chat.agents.input_value() == "gemini"
    await expect(chat.box).to_be_focused()
    await chat.page.get_by_role("button", name="Tell a story").click()
    await expect(chat.questions).to_have_text([re.compile("lighthouse")])
    await chat.until_answered()
    await expect(chat.answer.locator(".who")).to_have_text("gemini")


async def test_rename_and_delete_a_chat(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Working title", "gpt")
    await chat.until_answered()
    chat_id = chat.chat_id
    dialog = chat.page.get_by_role("dialog", name="This chat")

    await chat.page.get_by_role("button", name="Rename or delete “Working title”").click()
    await dialog.get_by_label("Title").fill("Better title")
    await dialog.get_by_role("button", name="Save").click()
    await expect(chat.title).to_have_text("Better title")
    stored = await chat.api("GET", f"conversations/{chat_id}")
    assert stored["metadata"]["title"] == "Better title"

    await chat.page.get_by_role("button", name="Rename or delete “Better title”").click()
    await dialog.get_by_role("button", name="Delete chat").click()
    await dialog.get_by_role("button", name="Delete for good?").click()
    await expect(chat.title).to_have_text("New chat")
    gone = await chat.page.request.get(f"{chat.url.rstrip('/')}/v1/conversations/{chat_id}")
    assert gone.status == 404


async def test_the_decision_is_shown_and_survives_a_reload(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Hello there.", "auto")
    await chat.until_answered()
    decision = chat.answer.locator(".decision")
    await expect(decision).to_have_text(re.compile(r"Answered by \w+\. Rule \S+: \S+"))
    words = await decision.inner_text()
    await chat.send("Hello again.", "gemini")
    await chat.until_answered()
    await expect(decision).to_have_text("Answered by gemini, as you chose")
    costs = chat.page.locator(".cost")
    await expect(costs).to_have_text([re.compile(r"^(< )?\$0\.\d{4}$")] * 2)
    known = await costs.all_inner_texts()

    await chat.page.reload()
    await expect(chat.page.locator(".decision")).to_have_text(
        [words, "Answered by gemini, as you chose"]
    )
    await expect(costs).to_have_text(known)


async def test_a_broken_answer_is_explained_and_can_be_asked_again(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Tell me.", "broken")
    await chat.until_answered("failed")
    alert = chat.answer.get_by_role("alert")
    await expect(alert).to_contain_text("The answer broke off")

    key = await chat.answer.get_attribute("data-key")
    await alert.get_by_role("button", name="Try again").click()
    await expect(chat.answer).not_to_have_attribute("data-key", key or "")
    await expect(chat.messages).to_have_count(2)
    await expect(chat.questions).to_have_text(["Tell me."])
    await chat.until_answered("failed")
    assert [role for role, _ in await chat.stored()].count("user") == 1


async def test_a_refused_message_can_be_edited(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Hello.", "gpt")
    await chat.until_answered()
    await chat.send("far too long " * 10_000)
    await expect(chat.page.get_by_role("alert")).to_contain_text("That message is too long")
    await chat.page.get_by_role("button", name="Edit").click()
    assert (await chat.box.input_value()).startswith("far too long")
    await expect(chat.questions).to_have_text(["Hello."])
    assert len(await chat.stored()) == 2


async def test_another_device_sees_the_question_and_the_answer_live(
    chat: ChatPage, browser: Browser
) -> None:
    await chat.open()
    await chat.send("Hello.", "gpt")
    await chat.until_answered()
    context = await browser.new_context()
    other = ChatPage(await context.new_page(), chat.url)
    await other.open(f"?c={chat.chat_id}")
    await expect(other.questions).to_have_text(["Hello."])

    await chat.send("Count, please.", "long")
    await expect(other.questions).to_have_text(["Hello.", "Count, please."])
    seen = await other.until_words(5)
    await other.stop.click()
    shown = await chat.until_answered("cancelled")
    assert shown.startswith(seen)
    await expect(other.words).to_have_text(shown, use_inner_text=True)
    await context.close()
    assert other.troubles.unexpected == []


async def test_an_answer_given_anew_replaces_the_old_one_on_every_device(
    chat: ChatPage, browser: Browser
) -> None:
    await chat.open()
    await chat.send("Hello.", "gpt")
    old = await chat.until_answered()
    context = await browser.new_context()
    other = ChatPage(await context.new_page(), chat.url)
    await other.open(f"?c={chat.chat_id}")
    await expect(other.words).to_have_text(old, use_inner_text=True)
    await expect(other.answer.get_by_role("button", name="Regenerate")).to_be_visible()

    await chat.agents.select_option("long")
    await chat.answer.get_by_role("button", name="Regenerate").click()
    await expect(other.words).to_have_text(re.compile(r"^t0 t1 t2"))
    for page in (chat, other):
        await expect(page.page.get_by_role("button", name="Regenerate")).to_have_count(0)
        await expect(page.messages).to_have_count(2)
    await other.stop.click()
    cut = await chat.until_answered("cancelled")
    await other.agents.select_option("gpt")
    await other.answer.get_by_role("button", name="Ask again").click()
    await expect(chat.answer.locator(".who")).to_have_text("gpt")
    new = await chat.until_answered()

    assert new and cut not in new
    await expect(other.words).to_have_text(new, use_inner_text=True)
    await chat.page.reload()
    await expect(chat.answer.locator(".decision")).to_have_text("Answered by gpt, as you chose")
    for page in (chat, other):
        await expect(page.messages).to_have_count(2)
        await expect(page.questions).to_have_text(["Hello."])
        page.assert_no_gaps()
    stored = await chat.stored()
    assert [role for role, _ in stored] == ["user", "assistant"]
    await context.close()
    assert other.troubles.unexpected == []


async def test_a_chat_is_forked_at_any_message_and_goes_on_for_itself(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("About the sea", "gpt")
    await chat.until_answered()
    original, said = chat.chat_id, await chat.stored()
    question = chat.messages.first
    await question.hover()
    await question.get_by_role("button", name="Fork from here").click()

    offer = chat.page.get_by_role("button", name="Get an answer")
    await expect(offer).to_be_visible()
    assert chat.chat_id != original
    await expect(chat.title).to_have_text("Fork of About the sea")
    await expect(chat.past_chats.nth(0)).to_have_text("Fork of About the sea")
    await expect(chat.past_chats.nth(1)).to_have_text("About the sea")
    await expect(chat.messages).to_have_count(1)
    await expect(chat.questions).to_have_text(["About the sea"])
    await chat.agents.select_option("gemini")
    await offer.press("Enter")
    await expect(chat.page.get_by_role("main")).to_be_focused()
    await expect(chat.messages).to_have_count(2)
    answer = await chat.until_answered()
    await expect(chat.answer.locator(".who")).to_have_text("gemini")
    await expect(offer).to_be_hidden()

    fork = chat.chat_id
    await chat.answer.get_by_role("button", name="Fork from here").click()
    await expect(chat.page).not_to_have_url(re.compile(f"{original}|{fork}"))
    await expect(chat.words).to_have_text(answer, use_inner_text=True)
    await expect(chat.title).to_have_text("Fork of About the sea")
    await expect(chat.answer.get_by_role("button", name="Regenerate")).to_be_visible()
    await expect(offer).to_be_hidden()
    assert await chat.stored(original) == said
    assert await chat.stored() == await chat.stored(fork)


async def test_hostile_text_is_text(chat: ChatPage) -> None:
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    await chat.open()
    made = await chat.api("POST", "conversations", {"metadata": {"title": HOSTILE[:80]}})
    item = {"type": "message", "role": "assistant", "content": HOSTILE}
    await chat.api("POST", f"conversations/{made['id']}/items", {"items": [item]})
    await chat.page.goto(f"{chat.url.rstrip('/')}/?c={made['id']}")
    await expect(chat.words).to_contain_text("<script>document.title='taken'</script>")
    await chat.send(HOSTILE, "gpt")
    await chat.until_answered()
    await expect(chat.questions).to_have_text([HOSTILE.strip()])

    talk = chat.page.locator("#transcript")
    for tag in ("img", "script", "iframe", "svg:not(.icon)", "b:not(.decision b)"):
        await expect(talk.locator(tag)).to_have_count(0)
    for address in await talk.locator("a").evaluate_all("(all) => all.map((a) => a.href)"):
        assert address.startswith("https://elsewhere.test/seen.png")
    assert await chat.page.evaluate("document.title") != "taken"
    assert all(url.startswith(chat.url.rstrip("/")) for url in asked)


async def test_the_policy_refuses_markup_from_text(chat: ChatPage) -> None:
    """The second wall: were there ever an innerHTML, the browser would refuse it."""
    chat.troubles.expect("TrustedHTML|trusted-types|require-trusted-types-for")
    await chat.open()
    refused = await chat.page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>' } catch (e) { return e.name } }"
    )
    assert refused == "TypeError"


async def test_everything_works_by_keyboard_alone(chat: ChatPage) -> None:
    await chat.open()
    keyboard = chat.page.keyboard
    skip = chat.page.get_by_role("link", name="Skip to the message box")
    for _ in range(200):
        if await skip.evaluate("(link) => link === document.activeElement"):
            break
        await keyboard.press("Shift+Tab")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await keyboard.press("Enter")
    await expect(chat.box).to_be_focused()

    await keyboard.type("One")
    await keyboard.press("Shift+Enter")
    await keyboard.type("two")
    await keyboard.press("Tab")
    await expect(chat.agents).to_be_focused()
    await chat.agents.press("s")  # a select jumps to the option that begins so: slow
    await keyboard.press("Shift+Tab")
    await keyboard.press("Enter")
    await expect(chat.questions).to_have_text(["One\ntwo"])
    await chat.until_words(3)
    await keyboard.press("Tab")
    await keyboard.press("Tab")
    await expect(chat.stop).to_be_focused()
    await keyboard.press("Enter")
    await chat.until_answered("cancelled")
    await expect(chat.box).to_be_focused()

    await chat.new_chat.focus()
    await keyboard.press("Enter")
    await expect(chat.messages).to_have_count(0)
    await chat.new_chat.focus()
    await keyboard.press("Tab")
    await expect(chat.past_chats.first).to_be_focused()
    outline = await chat.past_chats.first.evaluate("(link) => getComputedStyle(link).outlineStyle")
    assert outline == "solid"
    await keyboard.press("Enter")
    await expect(chat.questions).to_have_text(["One\ntwo"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_word_can_be_read(browser: Browser, troupe_url: str, scheme: str) -> None:
    """WCAG AA in both themes: 4.5 to 1, or 3 to 1 where the type is large."""
    context = await browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    chat = ChatPage(await context.new_page(), troupe_url)
    await chat.open()
    seen = await chat.page.evaluate(CONTRAST)
    await chat.send("Tell me.", "broken")
    await chat.until_answered("failed")
    await chat.send("Hello.", "gpt")
    await chat.until_answered()
    seen += await chat.page.evaluate(CONTRAST)
    await context.close()

    assert len(seen) > 20
    assert too_faint(seen) == []
    grounds = {found["page"] for found in seen}
    assert all((light > 0.5) == (scheme == "light") for light in grounds)


async def test_the_theme_can_be_chosen_and_is_kept(chat: ChatPage) -> None:
    await chat.open()
    theme = chat.page.get_by_role("button", name="Theme: system")
    await theme.click()
    await chat.page.get_by_role("button", name="Theme: light").click()
    await chat.page.reload()
    await expect(chat.page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert await chat.page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


async def test_on_a_phone_the_chats_are_a_drawer(browser: Browser, troupe_url: str) -> None:
    context = await browser.new_context(
        viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )
    chat = ChatPage(await context.new_page(), troupe_url)
    await chat.open()
    await expect(chat.new_chat).to_be_hidden()
    await chat.send("A message with `code` and a-very-long-word-" + "x" * 200, "gpt")
    await chat.until_answered()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await chat.page.evaluate(overflow) == 0
    await expect(chat.box).to_be_in_viewport()

    opener = chat.page.get_by_role("button", name="Open the list of chats")
    await opener.tap()
    await expect(chat.new_chat).to_be_in_viewport()
    await chat.page.keyboard.press("Escape")
    await expect(chat.new_chat).to_be_hidden()
    await expect(opener).to_be_focused()
    await opener.tap()
    await chat.past_chats.first.tap()
    await expect(chat.new_chat).to_be_hidden()
    await context.close()
    assert chat.troubles.unexpected == []


async def test_who_wants_less_motion_gets_it(browser: Browser, troupe_url: str) -> None:
    context = await browser.new_context(reduced_motion="reduce")
    chat = ChatPage(await context.new_page(), troupe_url)
    await chat.open()
    await chat.send("Count, please.", "long")
    await chat.until_words(3)
    moving = await chat.page.evaluate(
        "document.getAnimations().filter((a) => a.playState === 'running'"
        " && a.effect.getComputedTiming().duration > 1).length"
    )
    await context.close()
    assert moving == 0


async def test_a_screen_reader_hears_whole_blocks(chat: ChatPage) -> None:
    await chat.open()
    await chat.send("Count, please.", "slow")
    await chat.until_words(10)
    spoken = chat.page.locator("#announcer")
    await expect(spoken).to_have_text("")
    shown = await chat.until_answered()
    await expect(spoken).to_have_text(shown)
    await chat.page.reload()
    await expect(chat.words).to_have_text(shown)
    await expect(spoken).to_have_text("")


async def test_a_chat_that_does_not_exist_is_said_so(chat: ChatPage) -> None:
    chat.troubles.expect("404")
    await chat.open("?c=conv_" + "0" * 32)
    await expect(chat.page.get_by_text("This chat does not exist")).to_be_visible()
    await expect(chat.title).to_have_text("New chat")
    await chat.send("Hello.", "gpt")
    await chat.until_answered()


async def test_where_a_key_is_asked_for_it_opens_every_door(chat: ChatPage) -> None:
    """The doors are the test's own, so that the one Troupe serves all tests."""
    key = "sk-right"
    tickets: list[str] = []

    async def door(route: Route) -> None:
        given = await route.request.header_value("authorization")
        if given == f"Bearer {key}":
            await route.continue_()
            return
        error = {"message": "No.", "type": "authentication_error", "code": "invalid_api_key"}
        await route.fulfill(status=401, json={"error": error})

    def note(socket: WebSocketRoute) -> None:
        tickets.append(socket.url.partition("ticket=")[2])
        socket.connect_to_server()

    await chat.page.route("**/v1/**", door)
    await chat.page.route_web_socket(re.compile("/ws"), note)
    chat.troubles.expect("401")
    await chat.page.goto(chat.url)
    dialog = chat.page.get_by_role("dialog", name="This Troupe asks for a key")
    for attempt in ("sk-wrong", key):
        await dialog.get_by_label("API key").fill(attempt)
        await dialog.get_by_role("button", name="Continue").click()
        if attempt != key:
            await expect(dialog.get_by_role("alert")).to_contain_text("not accepted")
    await expect(dialog).to_be_hidden()
    await chat.send("Hello.", "gpt")
    await chat.until_answered()
    assert tickets and all(tickets)

    await chat.page.get_by_role("button", name="Forget key").click()
    await expect(dialog).to_be_visible()
