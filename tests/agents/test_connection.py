"""HTTP as it comes: heads, framings, reuse, what is torn, too much, or not asked for; and TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
import uvloop
from multidict import CIMultiDict

from agents import answer as answers
from agents.answer import Answer, Broken, NoConnection, NotHttp, TransportError
from agents.pool import Ask, Client
from agents.rests import Rests
from agents.sdk import Template
from tests.agents.canned import LAST, CannedServer, Script, chunk, head
from tests.agents.conformance import until

PATIENCE_S = 30.0


def client_of(url: str, **changes: Any) -> Client:
    values: dict[str, Any] = {"connect_timeout_s": 10.0, **changes}
    return Client(Template(f"{url}/say?loud=1", CIMultiDict({"x-key": "k"})), **values)


@asynccontextmanager
async def talking_to(
    *scripts: Script, **changes: Any
) -> AsyncGenerator[tuple[Client, CannedServer], None]:
    async with CannedServer(*scripts) as server, asyncio.timeout(PATIENCE_S):
        client = client_of(server.url, **changes)
        try:
            yield client, server
        finally:
            await client.aclose()


@asynccontextmanager
async def served(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[int, list[Any]], None]:
    """A server's port, and a task for each of its connections."""
    tasks: list[Any] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], tasks
    finally:
        server.close()
        await asyncio.gather(*tasks)


async def asked(client: Client, body: bytes = b"{}") -> Answer:
    answer = await client.post(Ask(client.template.url, body))
    await answer.head()
    return answer


async def body_of(answer: Answer, rest_s: float = 0.0) -> bytes:
    body = b""
    while data := await answer.read(rest_s):
        body += data
    return body


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"


async def test_a_request_and_its_answer() -> None:
    async with talking_to([PLAIN]) as (client, server):
        answer = await asked(client, b"abc")
        assert (answer.status, answer.begun) == (200, True)
        assert answer.headers.getall("x-a") == ["1", "2"]
        assert (answer.header(b"x-a"), answer.header(b"x-b")) == ("1", "")
        assert await body_of(answer) == b"hello"
        assert await answer.read() == b"", "the end stays the end"
        line, headers, body = server.requests[0]
        assert (line, body) == ("POST /say?loud=1 HTTP/1.1", b"abc")
        assert headers == {"host": f"127.0.0.1:{server.port}", "x-key": "k", "content-length": "3"}


BODIES: dict[str, Script] = {
    "length": [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"],
    "chunked": [head(), chunk("ab"), chunk("cd"), LAST],
    "trailers": [head(), chunk("abcd"), b"0\r\nX-Late: yes\r\n\r\n"],
    "until the connection ends": [head(chunked=False), b"abcd", "close"],
    "http/1.0": [b"HTTP/1.0 200 OK\r\n\r\nabcd", "close"],
    "after interim answers": [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        *[head(), chunk("abcd"), LAST],
    ],
    "in single bytes": [bytes([byte]) for byte in head() + chunk("ab") + chunk("cd") + LAST],
    "in one piece": [head() + chunk("ab") + chunk("cd") + LAST],
}


@pytest.mark.parametrize("rest_s", [0.0, 0.01])
@pytest.mark.parametrize("framing", BODIES)
async def test_a_body(framing: str, rest_s: float) -> None:
    async with talking_to(BODIES[framing]) as (client, _):
        answer = await asked(client)
        assert answer.status == 200
        assert answer.header(b"link") == ""
        assert await body_of(answer, rest_s) == b"abcd"
        assert answer.complete


@pytest.mark.parametrize(
    "status", ["204 No Content", "304 Not Modified"], ids=lambda status: status[:3]
)
async def test_an_answer_without_a_body(status: str) -> None:
    async with talking_to([f"HTTP/1.1 {status}\r\n\r\n".encode()], [PLAIN]) as (client, server):
        assert await body_of(await asked(client)) == b""
        assert await body_of(await asked(client)) == b"hello"
        assert server.connections == 1


TORN: dict[str, tuple[Script, type[TransportError]]] = {
    "before a word": (["close"], Broken),
    "within the head": ([b"HTTP/1.1 200 OK\r\nContent-", "close"], Broken),
    "before the length": ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "close"], Broken),
    "before the last chunk": ([head(), chunk("ab"), "close"], Broken),
    "by force": ([head(), chunk("ab"), "reset"], Broken),
    "by force, until then": ([head(chunked=False), b"ab", "reset"], Broken),
    "in its framing": ([head(), chunk("ab"), b"nonsense\r\n", "hang"], NotHttp),
    "into another protocol": ([b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", "hang"], NotHttp),
    "no http": ([b"SSH-2.0-OpenSSH_9.9\r\n", "hang"], NotHttp),
}


@pytest.mark.parametrize("how", TORN)
async def test_an_answer_that_breaks(how: str) -> None:
    script, kind = TORN[how]
    async with talking_to(script, [PLAIN]) as (client, server):
        said = b""
        with pytest.raises(TransportError) as caught:
            answer = await asked(client)
            while data := await answer.read():
                said += data
        assert type(caught.value) is kind
        assert b"ab".startswith(said)
        assert await body_of(await asked(client)) == b"hello", "the next one has its own"
        assert server.connections == 2


async def test_connections_are_used_again_until_they_have_waited_too_long() -> None:
    async with talking_to([PLAIN], keepalive_s=0.05) as (client, server):
        for _ in range(3):
            await body_of(await asked(client))
        assert server.connections == 1

        async def gone() -> bool:
            return not client._all and not client._idle

        await until(gone)
        await body_of(await asked(client))
        assert server.connections == 2


async def test_the_warmest_connection_is_used() -> None:
    """So that those a burst left behind have their time run out."""
    async with talking_to([PLAIN]) as (client, server):
        for answer in await asyncio.gather(asked(client), asked(client)):
            await body_of(answer)
        cold, warm = (connection for connection, _ in client._idle)
        await client.post(Ask(client.template.url, b""))
        assert [connection for connection, _ in client._idle] == [cold]
        assert client._all == {cold, warm}
        assert server.connections == 2


@pytest.mark.parametrize(
    "script",
    [
        [head("Connection: close"), chunk("ab"), LAST, "hang"],
        [head(), chunk("ab"), LAST + b"HTTP/1.1 200 OK\r\n"],
        [head(), chunk("ab"), LAST, b"more", "hang"],
        [head(), chunk("ab"), LAST, "close"],
    ],
    ids=["it said so", "it said more at once", "it said more later", "it left"],
)
async def test_a_connection_that_is_not_used_again(script: Script) -> None:
    async with talking_to(script, [PLAIN]) as (client, server):
        assert await body_of(await asked(client)) == b"ab"

        async def gone() -> bool:
            return not client._all

        await until(gone)
        assert await body_of(await asked(client)) == b"hello"
        assert server.connections == 2


async def test_an_answer_before_the_request_is_through() -> None:
    """Its connection still has the rest of that to send: another would be spliced into it."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
        await left.wait()

    left = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), served(refuse) as (port, _):
        client = client_of(f"http://127.0.0.1:{port}")
        answer = await asked(client, b"x" * (64 << 20))
        assert (answer.status, await answer.read()) == (413, b"")
        assert not client._idle
        left.set()
        await client.aclose()


async def test_a_head_without_end() -> None:
    lines = [b"HTTP/1.1 200 OK\r\n", *[b"X-A: %b\r\n" % (b"a" * 10_000)] * 20, "hang"]
    async with talking_to(lines) as (client, _):
        with pytest.raises(NotHttp, match="65536 bytes"):
            await asked(client)


async def test_a_reader_that_does_not_come_holds_the_server_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "HELD_BYTES", 100_000)
    piece = b"x" * 50_000
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head())
        for _ in range(1000):
            writer.write(chunk(piece))
            await writer.drain()
            sent += 1
        writer.write(LAST)

    async with asyncio.timeout(PATIENCE_S), served(pour) as (port, _):
        client = client_of(f"http://127.0.0.1:{port}")
        answer = await asked(client)

        async def full() -> bool:
            return answer._held > 100_000

        await until(full)
        before = -1
        while before != sent:  # the kernel's buffers fill up as well
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 1000
        assert answer._held < 1_000_000
        assert len(await body_of(answer)) == 1000 * len(piece)
        await client.aclose()


async def test_rest_leaves_the_bytes_to_the_kernel() -> None:
    pieces = [chunk(b"%d," % number) for number in range(100)]
    async with talking_to([head(), *pieces, LAST]) as (client, _):
        answer = await asked(client)
        reads = [await answer.read()]
        while data := await answer.read(0.05):
            reads.append(data)
        assert b"".join(reads) == b"".join(b"%d," % number for number in range(100))
        assert 1 < len(reads) < 50


async def test_rest_where_the_kernel_cannot_be_asked() -> None:
    pieces = [chunk(b"%d," % number) for number in range(50)]
    async with talking_to([head(), *pieces, LAST]) as (client, _):
        answer = await asked(client)
        assert answer._connection is not None
        answer._connection._socket = None
        assert await body_of(answer, 0.05) == b"".join(b"%d," % number for number in range(50))


async def test_no_rest_outlasts_the_connection() -> None:
    async with talking_to([head(), chunk("ab"), "close"]) as (client, _):
        answer = await asked(client)
        assert await answer.read() == b"ab"
        with pytest.raises(Broken):
            await answer.read(10 * PATIENCE_S)


async def test_what_ends_within_a_rest_leaves_a_connection_that_wakes_by_a_byte() -> None:
    much = b"x" * 200_000
    async with talking_to([head(), chunk("ab"), chunk(much), LAST], [PLAIN]) as (client, server):
        answer = await asked(client)
        said = await answer.read()
        said += await body_of(answer, 0.1)
        assert said == b"ab" + much
        assert await body_of(await asked(client)) == b"hello"
        assert server.connections == 1


def test_rests_of_one_step_end_at_once() -> None:
    loop = HandTurned()
    rests, over = Rests(cast(Any, loop)), []
    for number, rest_s in enumerate((0.095, 0.1, 0.105, 0.125)):
        rests.begin(rest_s, lambda number=number: over.append(number))
    assert [due for due, _, _ in loop.timers] == pytest.approx([0.1, 0.12])
    loop.ring()
    assert over == [0, 1, 2]
    loop.ring()
    assert (over, rests._over) == ([0, 1, 2, 3], {})


class HandTurned:
    """As much of a loop as a rest asks for."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[int], None], int]] = []

    def time(self) -> float:
        return 0.0

    def call_at(self, when: float, call: Callable[[int], None], step: int) -> None:
        self.timers.append((when, call, step))

    def ring(self) -> None:
        _, call, step = self.timers.pop(0)
        call(step)


@pytest.mark.parametrize("rest_s", [0.0, 60.0])
@pytest.mark.parametrize("who", ["answer", "client"])
async def test_closing_wakes_the_reader(who: str, rest_s: float) -> None:
    async with talking_to([head(), chunk("ab"), "hang"]) as (client, server):
        answer = await asked(client)
        assert await answer.read() == b"ab"
        reading = asyncio.ensure_future(answer.read(rest_s))
        await asyncio.sleep(0)
        if who == "answer":
            answer.close()
            answer.close()
        else:
            await client.aclose()
            await client.aclose()
        with pytest.raises(Broken):
            await reading
        await server.left.wait()


async def test_a_reader_that_gives_up_leaves_the_answer_readable() -> None:
    async with talking_to([head(), chunk("ab"), chunk("cd"), LAST]) as (client, _):
        answer = await asked(client)
        reading = asyncio.ensure_future(answer.read(0.05))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert await body_of(answer) == b"abcd"


async def test_nothing_is_opened_by_a_client_that_is_closed() -> None:
    async with talking_to([PLAIN]) as (client, server):
        await body_of(await asked(client))
        await client.aclose()
        with pytest.raises(NoConnection):
            await asked(client)
        assert server.connections == 1


async def test_a_client_closed_while_it_connects() -> None:
    async with talking_to([PLAIN]) as (client, _):
        asking = asyncio.ensure_future(client.post(Ask(client.template.url, b"")))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(NoConnection):
            await asking
        assert not client._all


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://127.0.0.1:1", "ConnectionRefusedError"), ("http://no.such.name.invalid", "gaierror")],
)
async def test_no_connection(url: str, why: str) -> None:
    client = client_of(url)
    with pytest.raises(NoConnection) as caught:
        await asked(client)
    assert str(caught.value) == why
    await client.aclose()


async def test_no_connection_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[Any] = []

    async def never(addresses: Any, **_: Any) -> None:
        asked_for.append(addresses)
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohappyeyeballs.start_connection", never)
    async with talking_to([PLAIN], connect_timeout_s=0.2) as (client, server):
        with pytest.raises(NoConnection, match="TimeoutError"):
            await asked(client)
        [[address]] = asked_for
        assert address[4] == ("127.0.0.1", server.port)


async def test_trailers_are_nobodys_headers() -> None:
    late = b"0\r\nX-Late: yes\r\nContent-Type: application/json\r\n\r\n"
    async with talking_to([head(), chunk("ab"), late], [PLAIN]) as (client, server):
        assert await body_of(await asked(client)) == b"ab"
        answer = await asked(client)
        assert set(answer.headers) == {"Content-Length", "X-A"}
        assert await body_of(answer) == b"hello"
        assert server.connections == 1


async def test_one_lookup_serves_all_who_wait_and_is_renewed_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    real, lookups = loop.getaddrinfo, 0

    async def getaddrinfo(host: str, port: int, **more: Any) -> Any:
        nonlocal lookups
        lookups += 1
        await asyncio.sleep(0.01)
        return await real("127.0.0.1", port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    async with CannedServer([PLAIN]) as server:
        client = client_of(f"http://localhost:{server.port}")
        asking = [asyncio.ensure_future(asked(client)) for _ in range(5)]
        await asyncio.sleep(0)
        asking[0].cancel()
        for answer in await asyncio.gather(*asking[1:]):
            assert await body_of(answer) == b"hello"
        assert lookups == 1
        await client.aclose()
        refused = client_of("http://localhost:1")
        for _ in range(2):
            with pytest.raises(NoConnection):
                await asked(refused)
        assert lookups == 3
        await refused.aclose()


# -- TLS -----------------------------------------------------------------------------------------


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(head())
        for number in range(30):
            writer.write(chunk(b"%d," % number))
            await asyncio.sleep(0.002)
        writer.write(LAST)


async def over_tls(folder: Path, name: str, trust: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    trusted = authority if trust else trustme.CA()
    trusted.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    async with asyncio.timeout(PATIENCE_S), served(speak, context) as (port, tasks):
        client = client_of(f"https://localhost:{port}")
        try:
            for _ in range(2):
                answer = await asked(client)
                said = await answer.read()
                said += await body_of(answer, 0.01)
                assert said == b"".join(b"%d," % number for number in range(30))
            assert len(tasks) == 1
        finally:
            await client.aclose()


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on(loop: str, coro: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(coro)


@pytest.mark.parametrize("loop", LOOPS)
def test_tls(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(loop, over_tls(tmp_path, "localhost", True, monkeypatch))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("name", "trust"), [("elsewhere", True), ("localhost", False)])
def test_a_certificate_that_does_not_hold(
    loop: str, name: str, trust: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoConnection, match="SSLCertVerificationError"):
        on(loop, over_tls(tmp_path, name, trust, monkeypatch))
