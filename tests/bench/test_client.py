"""One session of the generator against a server that says what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve

from bench.client import Session, Turn

Script = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


class Owner:
    """Notes what the session tells."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self.reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gaps = 0

    def opened(self, session: Session) -> None:
        self.is_open.set()

    def ended(self, session: Session, turn: Turn) -> None:
        self.turn.set_result(turn)

    def lost(self, session: Session, reason: str) -> None:
        self.reason.set_result(reason)

    def gap(self, session: Session) -> None:
        self.gaps += 1


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Callable[[Script], Awaitable[Owner]]]:
    """Start a server that opens the session and then follows the script; send it one turn."""
    servers: list[Any] = []
    sessions: list[Session] = []

    async def start(script: Script) -> Owner:
        async def handler(socket: ServerConnection) -> None:
            assert orjson.loads(await socket.recv()) == {"type": "session.open"}
            await say(socket, "session.opened", epoch=3, seq=4)
            await script(socket, orjson.loads(await socket.recv()))
            await socket.wait_closed()

        server = await serve(handler, "127.0.0.1", 0)
        servers.append(server)
        port = next(iter(server.sockets)).getsockname()[1]
        owner = Owner()
        session = Session(owner, 7, f"127.0.0.1:{port}", "/ws", {}, "gpt")
        sessions.append(session)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: session, "127.0.0.1", port)
        async with asyncio.timeout(10):
            await owner.is_open.wait()
        session.start("hello")
        return owner

    yield start
    for session in sessions:
        session.close()
    for server in servers:
        server.close()
        await server.wait_closed()


async def say(socket: ServerConnection, kind: str, **fields: Any) -> None:
    await socket.send(orjson.dumps({"type": kind, **fields}).decode())


async def answer(socket: ServerConnection, *, seqs: tuple[int, int, int]) -> None:
    """A turn of one token."""
    first, second, third = seqs
    text = {"type": "message", "content": [{"type": "output_text", "text": "t0 "}]}
    await say(socket, "response.accepted", seq=first, response_id="r")
    await say(socket, "response.output_text.delta", seq=second, response_id="r", delta="t0 ")
    await say(socket, "response.completed", seq=third, response_id="r", response={"output": [text]})


async def ended(owner: Owner) -> Turn:
    async with asyncio.timeout(10):
        return await owner.turn


async def test_a_turn_is_asked_and_timed(ask: Any) -> None:
    asked: list[dict[str, Any]] = []

    async def script(socket: ServerConnection, request: dict[str, Any]) -> None:
        asked.append(request)
        pong = await socket.ping(b"are you there")
        async with asyncio.timeout(10):
            await pong
        await answer(socket, seqs=(5, 6, 7))

    turn = await ended(owner := await ask(script))
    [request] = asked
    assert request.pop("id").startswith("bench-")
    assert request == {"type": "response.create", "model": "gpt", "input": "hello"}
    assert (turn.outcome, turn.deltas, turn.final) == ("ok", ["t0 "], "t0 ")
    assert 0 < turn.sent <= turn.accepted <= turn.first <= turn.done
    assert owner.gaps == 0


@pytest.mark.parametrize(("seqs", "gaps"), [((6, 7, 8), 1), ((5, 5, 6), 1), ((5, 7, 9), 2)])
async def test_events_that_do_not_follow_are_seen(
    ask: Any, seqs: tuple[int, int, int], gaps: int
) -> None:
    owner = await ask(lambda socket, _: answer(socket, seqs=seqs))
    assert (await ended(owner)).outcome == "ok"
    assert owner.gaps == gaps


@pytest.mark.parametrize(("epoch", "woke"), [(3, False), (4, True)])
async def test_a_session_woke_whose_epoch_moved_on(ask: Any, epoch: int, woke: bool) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, "response.accepted", epoch=epoch, seq=5, response_id="r")
        await say(socket, "response.completed", epoch=epoch, seq=6, response_id="r")

    turn = await ended(owner := await ask(script))
    assert (turn.outcome, turn.woke, owner.gaps) == ("ok", woke, 0)


async def test_a_session_that_is_opened_anew_in_mid_socket_is_a_gap(ask: Any) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, "session.opened", epoch=4, seq=4, recovered=False)
        await answer(socket, seqs=(5, 6, 7))

    assert (await ended(owner := await ask(script))).outcome == "ok"
    assert owner.gaps > 0


@pytest.mark.parametrize("kind", ["failed", "incomplete", "cancelled"])
async def test_ends_that_are_no_success(ask: Any, kind: str) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, f"response.{kind}", response_id="r", response={"output": []})

    turn = await ended(await ask(script))
    assert (turn.outcome, turn.final) == (kind, None)


async def test_an_error_frame_ends_the_turn_with_its_code(ask: Any) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, "error", error={"code": "busy"})

    assert (await ended(await ask(script))).outcome == "error: busy"


async def test_a_delta_of_another_response_is_no_part_of_the_answer(ask: Any) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, "response.accepted", response_id="r")
        await say(socket, "response.output_text.delta", response_id="s", delta="t0 ")

    assert (await ended(await ask(script))).outcome == "foreign event"


@pytest.mark.parametrize(
    ("policy", "position", "rest", "text"),
    [("continue", 4, "2 ", "t0 t2 "), ("restart", 0, "t0 ", "t0 "), ("stop", 3, "", "t0 ")],
)
async def test_an_answer_that_goes_on_elsewhere_is_cut_where_it_is_told(
    ask: Any, policy: str, position: int, rest: str, text: str
) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await say(socket, "response.accepted", response_id="r")
        for delta in ("t0 t", "1 "):
            await say(socket, "response.output_text.delta", response_id="r", delta=delta)
        leg = {"response_id": "r", "policy": policy, "position": position}
        await say(socket, "response.resumed", **leg)
        if rest:
            await say(socket, "response.output_text.delta", response_id="r", delta=rest)
        await say(socket, "response.completed", response_id="r", response={"output": []})

    turn = await ended(await ask(script))
    assert ("".join(turn.deltas), turn.legs, turn.outcome) == (text, [policy], "ok")
    assert turn.accepted <= turn.first < turn.done


async def test_a_server_that_closes_ends_turn_and_session(ask: Any) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await socket.close(1013)

    owner = await ask(script)
    assert (await ended(owner)).outcome == "disconnected"
    assert await owner.reason == "closed by the server with 1013"


@pytest.mark.parametrize("message", ["no json", b"binary", '{"seq":1}', "[]"])
async def test_what_is_not_the_protocol_ends_the_session(ask: Any, message: Any) -> None:
    async def script(socket: ServerConnection, _: Any) -> None:
        await socket.send(message)

    owner = await ask(script)
    assert (await ended(owner)).outcome == "disconnected"
    assert (await owner.reason).startswith("protocol: ")
