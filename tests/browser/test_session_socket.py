"""How long the page waits before it opens its socket again, without a server or a clock."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

WAITS = """async ({ codes, random }) => {
  const { SessionSocket } = await import("/socket.js");
  const waits = [];
  const { setTimeout, clearTimeout } = window;
  const { random: chance } = Math;
  let again = null;
  let socket = null;
  window.setTimeout = (call, ms) => {
    waits.push(ms);
    again = call;
    return 1;
  };
  window.clearTimeout = () => {};
  Math.random = () => random;
  const settled = () => new Promise((done) => setTimeout(done, 0));
  try {
    const chat = new SessionSocket({
      connect: async () => {
        socket = Object.assign(new EventTarget(), { send() {}, close() {} });
        return socket;
      },
      cursor: () => ({ epoch: 0, seq: 0 }),
      onFrame() {},
      onLink() {},
      onFailure: async () => true,
    });
    chat.start();
    const found = [];
    for (const code of codes) {
      await settled();
      const data = JSON.stringify({ type: "session.opened" });
      socket.dispatchEvent(new MessageEvent("message", { data }));
      waits.length = 0;
      socket.dispatchEvent(new CloseEvent("close", { code }));
      await settled();
      found.push(...waits);
      again();
    }
    return found;
  } finally {
    Object.assign(window, { setTimeout, clearTimeout });
    Math.random = chance;
  }
}"""


async def waits(page: Page, *codes: int, random: float) -> Any:
    return await page.evaluate(WAITS, {"codes": codes, "random": random})


async def test_who_is_told_to_come_back_comes_at_once_but_not_all_together(files: Page) -> None:
    assert await waits(files, 1012, random=0) == [100]
    assert await waits(files, 1012, random=1) == [200]
    assert await waits(files, 1011, random=0) == [200]
    assert await waits(files, 1011, random=1) == [400]


async def test_who_is_told_so_again_and_again_waits_ever_longer(files: Page) -> None:
    assert await waits(files, 1012, 1012, 1012, random=1) == [200, 800, 1600]
