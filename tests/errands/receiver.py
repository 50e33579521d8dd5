"""Somebody else's server that takes webhooks, and does with them what a test says."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web

from contracts.errands import Hook
from contracts.messages import ENDED

HOOKS = (Hook("shop", frozenset(ENDED), True),)
SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcA=="


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers with the statuses in `answers`, then with 200. `gate` closed: it keeps silent."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: deque[int] = deque()
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?for=us"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path_qs, headers, await request.read()))
        status = self.answers.popleft() if self.answers else 200
        await self.gate.wait()
        return web.Response(status=status, headers=self.headers, text="x" * 1000)

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        await self.stop()
