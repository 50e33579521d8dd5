"""What the generator does on command, against a server that answers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.client import now
from bench.load import Load


@dataclass
class Server:
    """`turns` by path; `running`: turns under way; `most`: the most that ever were."""

    port: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    running: int = 0
    most: int = 0
    epoch: int = 1

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        await socket.recv()
        seq = 0
        await self.say(socket, "session.opened", seq)
        async for request in socket:
            self.ids.add(orjson.loads(request)["id"])
            self.turns[socket.request.path] += 1
            self.running += 1
            self.most = max(self.most, self.running)
            await self.say(socket, "response.accepted", seq := seq + 1, response_id="r")
            await asyncio.sleep(0.005)
            self.running -= 1
            await self.say(socket, "response.completed", seq := seq + 1, response_id="r")

    async def say(self, socket: ServerConnection, kind: str, seq: int, **rest: Any) -> None:
        await socket.send(
            orjson.dumps({"type": kind, "epoch": self.epoch, "seq": seq, **rest}).decode()
        )


@pytest.fixture(params=["deflate", None])
def compression(request: Any) -> Any:
    return request.param


@pytest.fixture
async def server(compression: Any) -> AsyncIterator[Server]:
    found = Server()
    async with serve(found.handle, "127.0.0.1", 0, compression=compression) as listening:
        found.port = next(iter(listening.sockets)).getsockname()[1]
        yield found


async def opened(server: Server, count: int, *, offer: bool = False) -> tuple[Load, dict[str, Any]]:
    load = Load(f"http://127.0.0.1:{server.port}", {}, "gpt", 1)
    answer = await load.open([f"/{n}" for n in range(count)], 8, 10.0, offer)
    return load, answer


@pytest.mark.parametrize("offer", [True, False])
async def test_compression_is_agreed_on_if_offered_and_taken(
    server: Server, compression: Any, offer: bool
) -> None:
    load, answer = await opened(server, 3, offer=offer)
    agreed = 3 if offer and compression else 0
    assert answer == {"opened": 3, "failed": {}, "compressed": agreed}
    once = await load.once(0.0, 10.0, 0, None)
    assert once["outcomes"] == {"ok": 3}
    load.close()


@pytest.mark.parametrize("compression", [None], indirect=True)
async def test_some_sessions_have_a_turn_each_one_after_the_other(server: Server) -> None:
    load, _ = await opened(server, 6)
    once = await load.once(None, 10.0, 2, 3)
    assert server.turns == {"/2": 1, "/3": 1, "/4": 1}
    assert (once["outcomes"], once["woke"], server.most) == ({"ok": 3}, 0, 1)
    assert len(once["accepted_ms"]) == len(once["turn_ms"]) == 3
    server.epoch = 2
    once = await load.once(0.0, 10.0, 0, None)
    assert (once["outcomes"], once["woke"]) == ({"ok": 6}, 6)
    assert server.most > 1
    load.close()


@pytest.mark.parametrize("compression", [None], indirect=True)
async def test_who_comes_back_to_a_conversation_says_nothing_under_an_id_of_before(
    server: Server,
) -> None:
    load, _ = await opened(server, 2)
    for _ in range(2):
        await load.once(0.0, 10.0, 0, None)
        load.close()
        await load.open(["/0", "/1"], 8, 10.0, False)
    await load.once(0.0, 10.0, 0, None)
    assert server.turns == {"/0": 3, "/1": 3} and len(server.ids) == 6
    load.close()


@pytest.mark.parametrize("compression", [None], indirect=True)
async def test_some_talk_and_the_others_listen(server: Server) -> None:
    load, _ = await opened(server, 6)
    figures = await load.run(now(), 0.05, 1.0, 5.0, think_s=0.02, seed=1, talking=2)
    assert set(server.turns) == {"/0", "/1"}
    assert figures["outcomes"].keys() == {"ok"} and figures["outcomes"]["ok"] > 2
    load.close()
