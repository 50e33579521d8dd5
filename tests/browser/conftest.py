"""A browser for the page's tests, and the Troupe they open.

The tests in `test_chat.py` need a running Troupe whose agents include, beside the default ones:

- `slow`: the simulator's model `scripted.ttft_ms-200.gap_ms-40.tokens-150`, an answer long enough
  to be cut in the middle of it;
- `long`: `scripted.ttft_ms-200.gap_ms-80.tokens-150`, for what takes its time meanwhile;
- `broken`: `scripted.ttft_ms-100.gap_ms-20.tokens-40.fault-abort.at-8`, whose stream breaks.

They take it from the fixture `troupe` (`.url`), or from `TROUPE_URL` where one is running already.
The other tests need no server: the page's own files are answered from the folder.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright

from console import static_directory
from tests.browser.chat_page import ChatPage
from tests.browser.chromium import ARGUMENTS, NoBrowser, chromium

FILES_URL = "http://page.test/"


@pytest.fixture(scope="session")
def chromium_path() -> str:
    try:
        return chromium()
    except NoBrowser as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a browser: {error}")
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=chromium_path, args=list(ARGUMENTS)
        )
        yield running
        await running.close()


@pytest.fixture(scope="session")
def troupe_url(request: pytest.FixtureRequest) -> str:
    """Where the running Troupe answers."""
    url = os.environ.get("TROUPE_URL")
    return url if url else request.getfixturevalue("troupe").url


@pytest_asyncio.fixture(loop_scope="module")
async def chat(browser: Browser, troupe_url: str) -> AsyncIterator[ChatPage]:
    """A fresh visitor's tab; whatever the browser complains of fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = ChatPage(await context.new_page(), troupe_url)
    yield page
    await context.close()
    assert page.troubles.unexpected == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def files(browser: Browser) -> AsyncIterator[Page]:
    """A bare page from which the page's modules can be imported, without any server."""
    page = await browser.new_page()
    await page.route(f"{FILES_URL}**", _from_folder)
    await page.goto(f"{FILES_URL}bare")
    yield page
    await page.close()


async def _from_folder(route: Route) -> None:
    path = urlsplit(route.request.url).path
    policy = "script-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
    if path == "/bare":
        await route.fulfill(
            body="<!doctype html><title>bare</title><main></main>",
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )
        return
    file = static_directory() / Path(path).name
    await route.fulfill(body=file.read_bytes(), content_type="text/javascript")
