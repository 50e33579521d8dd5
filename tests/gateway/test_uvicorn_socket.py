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
from websockets.exceptions import ConnectionClosed

from contracts.tasks import spawn
from gateway.sink import SINK, take_sink
from gateway.uvicorn_socket import LeanSocket, install
from tests.gateway.house import eventually
from tests.gateway.stand_ins import settled

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
async def running(
    application: Application | Speaker, **settings: Any
) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    listener = sockets.create_server(("127.0.0.1", 0))
    # Serve's own words: it says nothing of WebSockets.
    config = uvicorn.Config(
        lambda: application,
        factory=True,
        lifespan="off",
        access_log=False,
        log_config=None,
        **settings,
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


# -- the sink -----------------------------------------------------------------------------------


class Speaker:
    """Accepts one socket and leaves what is said on it to the test."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.send: Any = None
        self.sink: Any = None
        self.heard: list[str] = []
        self.open = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope, self.send, self.sink = scope, send, take_sink(scope)
        await receive()
        await send({"type": "websocket.accept"})
        self.open.set()
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heard.append(message["text"])
        await self.over.wait()

    async def say(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})


class Leaver(Speaker):
    """Does not listen, and leaves when it is told."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.sink = take_sink(scope)
        await receive()
        await send({"type": "websocket.accept"})
        self.open.set()
        await self.over.wait()


@asynccontextmanager
async def speaking(**settings: Any) -> AsyncIterator[tuple[Speaker, ClientConnection]]:
    """A socket and its client."""
    speaker = Speaker()
    async with running(speaker, **settings) as (_, url):
        try:
            async with connect(url, max_size=None, ping_interval=None) as connection:
                await speaker.open.wait()
                yield speaker, connection
        finally:
            speaker.over.set()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
async def test_messages_of_any_size_arrive_whole(size: int) -> None:
    text = "ab" * (size // 2) + "c" * (size % 2)
    async with speaking() as (speaker, connection):
        await speaker.say(text)
        assert await connection.recv() == text
        assert speaker.sink.put([text.encode(), "ü".encode(), text.encode()])
        assert [await connection.recv() for _ in range(3)] == [text, "ü", text]


class Counting:
    """A transport that counts what is written."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.usefixtures("installed")
async def test_messages_that_are_put_together_are_one_write() -> None:
    async with speaking() as (speaker, connection):
        counting = speaker.sink.transport = Counting(speaker.sink.transport)
        assert speaker.sink.put([b"%d" % number for number in range(50)])
        assert [await connection.recv() for _ in range(50)] == [str(at) for at in range(50)]
        assert counting.writes == 1


@pytest.mark.usefixtures("installed")
async def test_a_client_that_takes_nothing_gets_nothing_put_and_misses_nothing() -> None:
    async with speaking() as (speaker, connection):
        connection.transport.pause_reading()
        put = 0
        while speaker.sink.put([f"{put} {LONG}".encode()]):
            put += 1
        assert put
        counting = speaker.sink.transport = Counting(speaker.sink.transport)
        waiting = spawn(speaker.say("slowly"), name="waiting")
        await settled()
        assert not waiting.done()
        assert counting.writes == 0
        connection.transport.resume_reading()
        heard = [str(await connection.recv()).split()[0] for _ in range(put + 1)]
        assert heard == [*map(str, range(put)), "slowly"]
        await waiting
        assert speaker.sink.put([b"again"])
        assert await connection.recv() == "again"


@pytest.mark.usefixtures("installed")
async def test_a_client_that_takes_nothing_does_not_outlast_its_application() -> None:
    speaker = Leaver()
    async with running(speaker) as (server, url), connect(url, ping_interval=None) as connection:
        await speaker.open.wait()
        connection.transport.pause_reading()
        while speaker.sink.put([LONG.encode()]):
            pass
        assert len(protocols(server)) == 1
        speaker.over.set()
        await eventually(lambda: len(protocols(server)), 0)
        connection.transport.resume_reading()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("how", ["the client closes", "the client is gone", "we close"])
async def test_nothing_is_put_after_the_end(how: str) -> None:
    async with speaking() as (speaker, connection):
        if how == "we close":
            await speaker.send({"type": "websocket.close", "code": 1012})
            assert not speaker.sink.put([b"late"])
            with pytest.raises(RuntimeError, match="after sending"):
                await speaker.say("late")
        else:
            if how == "the client closes":
                await connection.close()
            else:
                connection.transport.abort()
            await eventually(lambda: not speaker.sink.put([b"late"]))
            with pytest.raises(OSError):
                await speaker.say("late")
        speaker.over.set()
        with pytest.raises(ConnectionClosed):
            await connection.recv()


@pytest.mark.usefixtures("installed")
async def test_pings_go_between_messages() -> None:
    async with speaking(ws_ping_interval=0.01, ws_ping_timeout=5) as (speaker, connection):
        sent = 0
        pings: set[bytes | None] = {None}
        while len(pings) < 5:  # each goes out when the one before it has been answered
            assert speaker.sink.put([b"%d" % sent, b"%d" % (sent + 1)])
            assert await connection.recv() == str(sent)
            assert await connection.recv() == str(sent + 1)
            sent += 2
            pings.add(speaker.sink.pending_ping_payload)
        # And those of the client are answered.
        await (await connection.ping())


@pytest.mark.usefixtures("installed")
async def test_a_sink_is_taken_once_and_only_where_it_runs() -> None:
    async with speaking() as (speaker, connection):
        sink = speaker.sink
        assert isinstance(sink, LeanSocket)
        assert take_sink(speaker.scope) is None
        assert take_sink({"extensions": {SINK: sink}}) is sink
        elsewhere = await asyncio.to_thread(asyncio.run, _take({"extensions": {SINK: sink}}))
        assert elsewhere is None
        assert take_sink({}) is None
        await connection.close()


async def _take(scope: dict[str, Any]) -> Any:
    return take_sink(scope)


# -- reading ------------------------------------------------------------------------------------


def frame(opening: int, data: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client's frame."""
    size = len(data)
    if size < 126:
        head = bytes((opening, 0x80 | size))
    elif size < 65_536:
        head = bytes((opening, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((opening, 0xFF)) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


TEXT, BEGIN, MORE, LAST, PING = 0x81, 0x01, 0x00, 0x80, 0x89


INNER = frame(TEXT, b"inner", b"\x01\x02\x83\x84")
INSIDE = bytes(byte & 0x7F for byte in INNER).decode()
OUTER = frame(TEXT, INSIDE.encode(), b"\x80\x80\0\0")
assert OUTER[6:] == INNER


class Parsing:
    """Counts what goes to the library's parser."""

    def __init__(self, conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chunks: list[bytes] = []
        self._receive = conn.receive_data
        monkeypatch.setattr(conn, "receive_data", self._take)

    def _take(self, data: bytes) -> None:
        self.chunks.append(data)
        self._receive(data)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("chunks", "heard", "parsed"),
    [
        ([frame(TEXT, b"")], [""], 0),
        ([frame(TEXT, b"a" * 125)], ["a" * 125], 0),
        ([frame(TEXT, b"b" * 126)], ["b" * 126], 0),
        ([frame(TEXT, "ü".encode() * 500)], ["ü" * 500], 0),
        ([frame(TEXT, b"c" * 70_000)], ["c" * 70_000], None),
        ([frame(TEXT, b"one") + frame(TEXT, b"two"), frame(TEXT, b"three")],
            ["one", "two", "three"], 1),
        ([frame(TEXT, b"split")[:1], frame(TEXT, b"split")[1:], frame(TEXT, b"whole")],
            ["split", "whole"], 2),
        ([frame(TEXT, b"split")[:4], frame(TEXT, b"split")[4:], frame(TEXT, b"whole")],
            ["split", "whole"], 2),
        # A frame that looks like one, inside of another.
        ([OUTER[:6], OUTER[6:]], [INSIDE], 2),
        ([frame(BEGIN, b"a"), frame(MORE, b"b"), frame(PING, b"!"), frame(LAST, b"c"),
            frame(TEXT, b"d")], ["abc", "d"], 4),
    ],
)  # fmt: skip
async def test_messages_are_heard_however_they_come(
    chunks: list[bytes], heard: list[str], parsed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking() as (speaker, connection):
        parsing = Parsing(speaker.sink.conn, monkeypatch)
        for chunk in chunks:
            speaker.sink.data_received(chunk)
        await eventually(lambda: len(speaker.heard) == len(heard))
        assert speaker.heard == heard
        if parsed is not None:
            assert len(parsing.chunks) == parsed
        await speaker.say("and back")
        assert await connection.recv() == "and back"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([frame(TEXT, b"\xff")], 1007),
        ([frame(TEXT, b"x" * 2000)], 1009),
        ([bytes((TEXT, 2)) + b"unmasked"], 1002),
        ([frame(TEXT | 0x40, b"reserved bit")], 1002),
        ([frame(BEGIN, b"a"), frame(TEXT, b"not its end")], 1002),
    ],
)
async def test_what_is_against_the_rules_ends_the_socket(chunks: list[bytes], code: int) -> None:
    async with speaking(ws_max_size=1000) as (speaker, connection):
        for chunk in chunks:
            speaker.sink.data_received(chunk)
        with pytest.raises(ConnectionClosed) as ended:
            await connection.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == code
        assert speaker.heard == []
