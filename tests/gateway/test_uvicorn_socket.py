"""The replica's WebSocket protocol, in a server started as Ray Serve starts it."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.config import WS_PROTOCOLS
from websockets.asyncio.client import ClientConnection, connect

from contracts.tasks import spawn
from gateway.uvicorn_socket import LeanSocket, install
from tests.gateway.house import eventually

MANY = 200
LONG = "x" * 20_000
"""Longer than what one read of the server can bring many of."""


class Application:
    """Accepts every socket, says what it hears; takes a frame only while `open` is set."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await self.open.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended.append(message["type"])
                return
            await send({"type": "websocket.send", "text": message["text"]})


@asynccontextmanager
async def running(application: Application) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    listener = sockets.create_server(("127.0.0.1", 0))
    # Serve's own words: it says nothing of WebSockets.
    config = uvicorn.Config(
        lambda: application, factory=True, lifespan="off", access_log=False, log_config=None
    )
    server = uvicorn.Server(config)
    task = spawn(server.serve([listener]), name="uvicorn")
    try:
        yield server, f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        application.open.set()
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WS_PROTOCOLS, "auto", WS_PROTOCOLS["auto"])
    install()


def protocols(server: uvicorn.Server) -> list[Any]:
    return list(server.server_state.connections)


async def echoed(connection: ClientConnection, text: str) -> str:
    await connection.send(text)
    return str(await connection.recv())


async def test_the_server_would_agree_to_compression_by_itself() -> None:
    async with running(Application()) as (_, url), connect(url) as connection:
        assert connection.response is not None
        assert "permessage-deflate" in connection.response.headers["sec-websocket-extensions"]


@pytest.mark.usefixtures("installed")
async def test_what_browsers_offer_is_declined_and_frames_go_both_ways() -> None:
    async with running(Application()) as (server, url), connect(url) as connection:
        assert connection.request is not None and connection.response is not None
        assert "permessage-deflate" in connection.request.headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in connection.response.headers
        assert await echoed(connection, "ü" * 70_000) == "ü" * 70_000
        [protocol] = protocols(server)
        assert isinstance(protocol, LeanSocket)
        assert protocol.conn.extensions == []
        assert not hasattr(protocol, "request") and not hasattr(protocol, "response")


@pytest.mark.usefixtures("installed")
async def test_serve_is_told_not_to_watch_whatever_the_client_says() -> None:
    application = Application()
    said = {"x-request-disconnect-disabled": "?0", "x-else": "kept"}
    async with running(application) as (_, url), connect(url, additional_headers=said) as socket:
        await echoed(socket, "x")
    # Serve makes a dict of the headers, in which the last of a name stays.
    headers = dict(application.scopes[0]["headers"])
    assert headers[b"x-request-disconnect-disabled"] == b"?1"
    assert headers[b"x-else"] == b"kept"


@pytest.mark.usefixtures("installed")
async def test_frames_that_are_not_taken_stay_with_the_client() -> None:
    application = Application()
    async with running(application) as (server, url), connect(url) as connection:
        await echoed(connection, "first")
        application.open.clear()
        await connection.send("taken before the gate was seen")
        await connection.recv()

        async def flood() -> None:
            for number in range(MANY):
                await connection.send(f"{number} {LONG}")

        flooding = spawn(flood(), name="flood")
        [protocol] = protocols(server)
        await eventually(lambda: protocol.read_paused)
        assert protocol.queue.qsize() < MANY // 2
        application.open.set()
        heard = [str(await connection.recv()).split()[0] for _ in range(MANY)]
        assert heard == [str(number) for number in range(MANY)]
        await flooding


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_application_hears_that_the_client_left(how: str) -> None:
    application = Application()
    async with running(application) as (server, url):
        async with connect(url) as connection:
            await echoed(connection, "x")
            if how == "abort":
                connection.transport.abort()
            else:
                await connection.close()
        await eventually(lambda: application.ended == ["websocket.disconnect"])
        await eventually(lambda: not protocols(server))
