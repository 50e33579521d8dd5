"""The native WebSocket: its frames, its cursor, its errors."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.troupe import RunningTroupe

NUMBERED = "".join(f"t{n} " for n in range(60))


def address(troupe: RunningTroupe, session_id: str) -> str:
    return f"ws://127.0.0.1:{troupe.port}/v1/conversations/{session_id}/ws"


@pytest.fixture
async def session_id(client: openai.AsyncOpenAI) -> str:
    return (await client.conversations.create()).id


async def say(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(await socket.recv())


async def opened(socket: ClientConnection, **cursor: int) -> dict[str, Any]:
    await say(socket, type="session.open", **({"cursor": cursor} if cursor else {}))
    frame = await hear(socket)
    assert frame["type"] == "session.opened"
    return frame


async def until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    frames = [await hear(socket)]
    while frames[-1]["type"] != kind:
        frames.append(await hear(socket))
    return frames


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(f["delta"] for f in frames if f["type"] == "response.output_text.delta")


async def test_a_turn(troupe: RunningTroupe, session_id: str) -> None:
    async with connect(address(troupe, session_id)) as socket:
        start = await opened(socket)
        await say(socket, type="response.create", id="k1", input="count", model="numbered")
        frames = await until(socket, "response.completed")
    assert [f["type"] for f in frames[:2]] == ["response.accepted", "response.created"]
    assert frames[0]["id"] == "k1"
    assert frames[0]["input"][0]["content"][0]["text"] == "count"
    assert [f["seq"] for f in frames] == list(
        range(start["seq"] + 1, start["seq"] + 1 + len(frames))
    )
    assert text(frames) == NUMBERED
    assert frames[-1]["response"]["output"][0]["content"][0]["text"] == NUMBERED


async def test_compression_that_a_browser_offers_is_declined(
    troupe: RunningTroupe, session_id: str
) -> None:
    async with connect(address(troupe, session_id), compression="deflate") as socket:
        await opened(socket)
        assert socket.request is not None and socket.response is not None
        assert "permessage-deflate" in socket.request.headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in socket.response.headers


async def test_a_cursor_gives_exactly_what_was_missed(
    troupe: RunningTroupe, session_id: str
) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await opened(socket)
        await say(socket, type="response.create", id="k1", input="count", model="numbered")
        seen = [await hear(socket) for _ in range(6)]
    cursor = {"epoch": seen[-1]["epoch"], "seq": seen[-1]["seq"]}
    async with connect(address(troupe, session_id)) as socket:
        again = await opened(socket, **cursor)
        assert again["recovered"] is True
        rest = await until(socket, "response.completed")
    assert text([*seen, *rest]) == NUMBERED
    seqs = [f["seq"] for f in (*seen, *rest)]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_a_cursor_from_nowhere_gets_a_snapshot(
    troupe: RunningTroupe, session_id: str
) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await opened(socket)
        await say(socket, type="response.create", id="k1", input="count", model="numbered")
        await until(socket, "response.completed")
    async with connect(address(troupe, session_id)) as socket:
        frame = await opened(socket, epoch=0, seq=0)
    assert frame["recovered"] is False
    said = [item["content"][0]["text"] for item in frame["snapshot"]]
    assert said == ["count", NUMBERED]


async def test_two_devices_hear_the_same(troupe: RunningTroupe, session_id: str) -> None:
    async with (
        connect(address(troupe, session_id)) as one,
        connect(address(troupe, session_id)) as two,
    ):
        await opened(one)
        await opened(two)
        await say(one, type="response.create", input="count", model="numbered")
        assert await until(one, "response.completed") == await until(two, "response.completed")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("nonsense", "invalid_json"),
        ("[1]", "invalid_frame"),
        ('{"type": 1}', "invalid_frame"),
        ('{"type": "no.such.frame"}', "unknown_frame"),
        ('{"type": "session.open"}', "session_already_open"),
        (b"audio", "binary_unsupported"),
        (
            '{"type": "response.create", "id": "e1", "model": "nobody", "input": "x"}',
            "model_not_found",
        ),
        ('{"type": "response.create", "id": "e2", "model": "gpt"}', None),
        (
            '{"type": "response.create", "id": "e3", "model": "gpt", "input": "a\\u0000b"}',
            "invalid_characters",
        ),
        (
            '{"type": "response.create", "id": "e4", "model": "gpt", "input": "x", "tools": [1]}',
            None,
        ),
        ('{"type": "response.cancel"}', "not_found"),
    ],
)
async def test_nonsense_is_answered_and_the_socket_lives(
    troupe: RunningTroupe, client: openai.AsyncOpenAI, session_id: str, sent: str | bytes, code: str
) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await opened(socket)
        await socket.send(sent)
        frame = await hear(socket)
        assert frame["type"] == "error"
        assert frame["error"]["code"]
        assert code is None or frame["error"]["code"] == code
        assert frame["error"]["request_id"]
        await say(socket, type="response.create", id="ok", input="hello", model="gpt")
        assert (await until(socket, "response.completed"))[0]["type"] == "response.accepted"
    items = [i async for i in await client.conversations.items.list(session_id)]
    assert len(items) == 2, "the nonsense left no trace"


async def test_the_first_frame_must_open(troupe: RunningTroupe, session_id: str) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await say(socket, type="response.create", input="x", model="gpt")
        assert (await hear(socket))["error"]["code"] == "session_not_open"
        await opened(socket)


async def test_one_id_is_taken_once(troupe: RunningTroupe, session_id: str) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await opened(socket)
        await say(socket, type="response.create", id="same", input="x", model="gpt")
        done = await until(socket, "response.completed")
        await say(socket, type="response.create", id="same", input="y", model="gpt")
        error = await hear(socket)
    assert error["error"]["code"] == "duplicate_id"
    assert error["error"]["response_id"] == done[0]["response_id"]
    assert error["id"] == "same"


async def test_an_unknown_conversation_is_closed_with_a_word(troupe: RunningTroupe) -> None:
    async with connect(address(troupe, "conv_" + "0" * 32)) as socket:
        await say(socket, type="session.open")
        assert (await hear(socket))["error"]["code"] == "not_found"
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4404


async def test_a_full_mailbox(troupe: RunningTroupe, session_id: str) -> None:
    async with connect(address(troupe, session_id)) as socket:
        await opened(socket)
        for n in range(12):
            await say(socket, type="response.create", id=f"m{n}", input=str(n), model="slow")
        errors = []
        while not errors:
            frame = await hear(socket)
            if frame["type"] == "error":
                errors.append(frame["error"]["code"])
        assert errors == ["mailbox_full"]
