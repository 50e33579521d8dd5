"""The native client against a server that drops it at the worst moments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from chaos.native import NativeClient
from chaos.record import SessionRecord
from chaos.talk import Manner, Talk
from tests.chaos.one_message import OneMessage

Act = Callable[[ServerConnection], Awaitable[None]]


class Stage:
    """A server whose nth connection follows the nth act. What it heard is kept."""

    def __init__(self, *acts: Act) -> None:
        self.heard: list[dict[str, Any]] = []
        self._acts = iter(acts)

    async def connection(self, socket: ServerConnection) -> None:
        await next(self._acts)(socket)

    async def hear(self, socket: ServerConnection) -> dict[str, Any]:
        frame = json.loads(await socket.recv())
        self.heard.append(frame)
        return frame


async def say(socket: ServerConnection, kind: str, **body: Any) -> None:
    await socket.send(json.dumps({"type": kind, **body}))


async def opened(socket: ServerConnection, epoch: int, seq: int) -> None:
    await say(socket, "session.opened", epoch=epoch, seq=seq, recovered=True)


def at(epoch: int, seq: int, **body: Any) -> dict[str, Any]:
    return {"epoch": epoch, "seq": seq, "response_id": "resp_1", **body}


CREATED = {"response": {"id": "resp_1"}}


def whole(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text}
    item = {"type": "message", "role": "assistant", "content": [part]}
    return {"response": {"id": "resp_1", "status": "completed", "output": [item]}}


def a_talk(port: int, stall_s: float = 30.0) -> Talk:
    manner = Manner(f"http://127.0.0.1:{port}", "gpt", think_s=0.001, stall_s=stall_s)
    return OneMessage(SessionRecord("conv_1", "native"), manner, Random(1))


async def run(stage: Stage, stall_s: float = 30.0) -> Talk:
    """Let the client say one message and hear its answer."""
    server: Server = await serve(stage.connection, "127.0.0.1", 0)
    async with server:
        talk = a_talk(next(iter(server.sockets)).getsockname()[1], stall_s)
        async with asyncio.timeout(60):
            await NativeClient(talk).run()
    return talk


async def test_a_message_that_may_be_lost_is_said_again_with_its_key_and_the_cursor() -> None:
    stage = Stage()

    async def drops_before_it_accepts(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 3, 7)
        await stage.hear(socket)
        socket.transport.abort()

    async def had_it_already(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 3, 9)
        again = await stage.hear(socket)
        error = {"code": "duplicate_id", "type": "invalid_request_error", "response_id": "resp_1"}
        await say(socket, "error", id=again["id"], error=error)
        await say(socket, "response.accepted", **at(3, 8, id=again["id"]))
        await say(socket, "response.created", **at(3, 9, **CREATED))
        await say(socket, "response.output_text.delta", **at(3, 10, delta="t0 "))
        socket.transport.abort()

    async def another_host_goes_on(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 4, 11)
        await say(
            socket, "response.resumed", **at(4, 10, position=0, policy="restart", reason="lost")
        )
        await say(socket, "response.output_text.delta", **at(4, 11, delta="t0 t1 "))
        await say(socket, "response.completed", **at(4, 12, **whole("t0 t1 ")))
        await socket.wait_closed()

    stage._acts = iter((drops_before_it_accepts, had_it_already, another_host_goes_on))
    record = (await run(stage)).record
    opens = [frame for frame in stage.heard if frame["type"] == "session.open"]
    assert [frame.get("cursor") for frame in opens] == [
        None,
        {"epoch": 3, "seq": 7},
        {"epoch": 3, "seq": 10},
    ]
    creates = [frame for frame in stage.heard if frame["type"] == "response.create"]
    assert len(creates) == 2
    assert creates[0]["id"] == creates[1]["id"] == "conv_1-1"
    message = record.messages[0]
    assert (message.acknowledged, message.response_id, message.sent) == (True, "resp_1", 2)
    answer = record.answers["resp_1"]
    assert (answer.text, answer.status, answer.differed) == ("t0 t1 ", "completed", False)
    assert record.gaps == []
    assert record.troubles == {"closed: no close frame": 2}


async def test_a_refusal_for_now_is_tried_again_on_the_same_socket() -> None:
    stage = Stage()

    async def busy_once(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 1, 0)
        first = await stage.hear(socket)
        error = {"code": "store_unavailable", "type": "server_error"}
        await say(socket, "error", id=first["id"], error=error)
        again = await stage.hear(socket)
        await say(socket, "response.accepted", **at(1, 1, id=again["id"]))
        await say(socket, "response.created", **at(1, 2, **CREATED))
        await say(socket, "response.completed", **at(1, 3, **whole("")))
        await socket.wait_closed()

    stage._acts = iter((busy_once,))
    record = (await run(stage)).record
    assert record.troubles == {"refused: store_unavailable": 1}
    assert record.messages[0].sent == 2
    assert record.answers["resp_1"].status == "completed"


async def test_a_refusal_for_good_is_not_tried_again() -> None:
    stage = Stage()

    async def refuses(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 1, 0)
        first = await stage.hear(socket)
        error = {"code": "model_not_found", "type": "invalid_request_error"}
        await say(socket, "error", id=first["id"], error=error)
        await socket.wait_closed()

    stage._acts = iter((refuses,))
    record = (await run(stage)).record
    assert record.messages[0].refused == "model_not_found"
    assert len(stage.heard) == 2


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_dead_connection_is_given_up(acknowledged: bool) -> None:
    stage = Stage()

    async def says_nothing_more(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 1, 0)
        first = await stage.hear(socket)
        if acknowledged:
            await say(socket, "response.accepted", **at(1, 1, id=first["id"]))
        await socket.wait_closed()

    async def answers(socket: ServerConnection) -> None:
        await stage.hear(socket)
        await opened(socket, 1, 1)
        if not acknowledged:
            again = await stage.hear(socket)
            await say(socket, "response.accepted", **at(1, 1, id=again["id"]))
        await say(socket, "response.created", **at(1, 2, **CREATED))
        await say(socket, "response.completed", **at(1, 3, **whole("")))
        await socket.wait_closed()

    stage._acts = iter((says_nothing_more, answers))
    record = (await run(stage, stall_s=1.0)).record
    assert record.troubles == {"stalled": 1}
    assert record.messages[0].sent == (1 if acknowledged else 2)
    assert record.answers["resp_1"].status == "completed"
