"""A socket whose session sleeps, moves and is lost: what the client sees of it, which is little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts.commands import Attach, Attached, EventBatch, Moved, Slept
from contracts.errors import TroupeError
from contracts.events import Cursor, Event
from contracts.hosts import Fleet
from contracts.messages import Leg, Message
from contracts.tasks import spawn, stop
from gateway.auth import Principal
from gateway.drain import Drain, Generation
from gateway.link import Link
from gateway.options import GatewayOptions, Services
from gateway.socket import websocket_endpoint
from tests.gateway.stand_ins import (
    KEY,
    Directory,
    StandIn,
    delta,
    link_over,
    settled,
    until,
)

OPEN = {"type": "session.open"}


class Client:
    """The other end of an ASGI socket, and its `Sink`. `stuck`: it takes nothing for now."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.code: int | None = None
        self.puts = 0
        self.stuck = asyncio.Event()
        self.stuck.set()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = False

    async def receive(self) -> dict[str, Any]:
        return await self._out.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self.stuck.wait()
        if self._gone:
            raise OSError
        if message["type"] == "websocket.send":
            self.frames.append(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self.code = message["code"]

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def put(self, texts: Sequence[bytes]) -> bool:
        if self._gone or not self.stuck.is_set():
            return False
        self.puts += 1
        self.frames += [json.loads(text) for text in texts]
        return True

    def say(self, frame: dict[str, Any]) -> None:
        self._out.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def leave(self) -> None:
        self._gone = True
        self._out.put_nowait({"type": "websocket.disconnect", "code": 1001})

    @property
    def types(self) -> list[str]:
        return [frame["type"].removeprefix("response.") for frame in self.frames]


class Stage:
    short = False
    """Whether the server has a short way to its clients."""

    def __init__(self, **settings: Any) -> None:
        self.options = GatewayOptions(send_timeout_s=settings.pop("send_timeout_s", 20))
        self.a, self.b = StandIn("a"), StandIn("b", epoch=2)
        self.directory = Directory(self.a, self.b)
        self.link: Link = link_over(self.directory, **settings)
        self.drain = Drain(0)
        self.sockets: list[asyncio.Task[None]] = []

    def connect(self) -> Client:
        client = Client()
        client._out.put_nowait({"type": "websocket.connect"})
        services = Services(
            self.link,
            None,
            (),
            None,
            self.options,
            None,
            self.drain,
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
        )
        endpoint = websocket_endpoint(
            services,
            Principal(KEY.org_id, None),
            KEY.session_id,
            "req_1",
            client.receive,
            client.send,
            client if self.short else None,
        )
        self.sockets.append(spawn(endpoint, name="socket"))
        return client

    async def open(self) -> Client:
        client = self.connect()
        client.say(OPEN)
        await until(lambda: client.types == ["session.opened"])
        return client

    def tasks(self) -> int:
        """Tasks that serve sockets by now."""
        return sum(task.get_name().startswith("socket") for task in asyncio.all_tasks())


@pytest.fixture(params=["send", "sink"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Stage, "short", request.param == "sink")
    return str(request.param)


@asynccontextmanager
async def staged(**settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(**settings)
    yield stage
    await stop(*stage.sockets)
    await stage.link.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


async def closed(stage: Stage, client: Client) -> tuple[str, int | None]:
    """What the client was told last, once its socket is over."""
    await until(lambda: all(task.done() for task in stage.sockets))
    assert client.types[-1] == "error"
    return client.frames[-1]["error"]["code"], client.code


def started(seq: int) -> Event:
    return Event(seq, "accepted", "resp_1", -1, {"client_id": None, "input": []})


def item(seq: int) -> Event:
    return Event(seq, "item", None, -1, {"items": []})


async def test_a_socket_hears_a_turn_and_costs_one_task_when_it_is_over(stage: Stage) -> None:
    client = await stage.open()
    await until(lambda: stage.tasks() == 1)
    stage.a.tell(started(1), delta(2))
    await until(lambda: len(client.frames) == 3)
    stage.a.tell(delta(3), item(4))
    await until(lambda: len(client.frames) == 5)
    await until(lambda: stage.tasks() == 1)
    stage.a.tell(item(5))
    await until(lambda: len(client.frames) == 6)
    assert [frame["seq"] for frame in client.frames] == [0, 1, 2, 3, 4, 5]


async def test_what_comes_at_once_goes_out_at_once(stage: Stage, way: str) -> None:
    client = await stage.open()
    batches = [EventBatch(KEY, 1, (started(1), delta(2))), EventBatch(KEY, 1, (delta(3), item(4)))]
    stage.a.say(*batches)
    await until(lambda: len(client.frames) == 5)
    assert [frame["seq"] for frame in client.frames] == [0, 1, 2, 3, 4]
    assert client.puts == (2 if way == "sink" else 0), "the opening, and all the rest"


async def test_what_a_client_does_not_take_at_once_keeps_its_order(stage: Stage, way: str) -> None:
    client = await stage.open()
    client.stuck.clear()
    stage.a.tell(started(1), delta(2))
    await until(lambda: stage.tasks() == 2)
    stage.a.tell(delta(3))
    reader = stage.link._audience.attached[KEY][0]
    await until(lambda: reader.after == Cursor(1, 3))
    assert len(client.frames) == 1
    client.stuck.set()
    await until(lambda: len(client.frames) == 4)
    await until(lambda: stage.tasks() == 1)
    stage.a.tell(delta(4))
    await until(lambda: len(client.frames) == 5)
    assert [frame["seq"] for frame in client.frames] == [0, 1, 2, 3, 4]
    assert client.puts == (2 if way == "sink" else 0), "the opening, and what came once it took all"


async def test_a_client_that_is_far_behind_is_sent_it_at_its_own_pace(
    stage: Stage, way: str
) -> None:
    client = await stage.open()
    stage.a.tell(*(delta(seq, "x" * 1000) for seq in range(1, 101)))
    await until(lambda: len(client.frames) == 101)
    assert [frame["seq"] for frame in client.frames] == list(range(101))
    assert client.puts == (1 if way == "sink" else 0)


async def test_a_socket_does_not_notice_that_its_session_slept(stage: Stage) -> None:
    client = await stage.open()
    stage.a.say(Slept(KEY))
    await until(lambda: stage.link._audience.dormant)
    client.say({"type": "response.cancel", "response_id": "resp_1"})
    await until(lambda: len(stage.a.asked(Attach)) == 2)
    stage.a.tell(item(1))
    await until(lambda: len(client.frames) == 2)
    assert client.types == ["session.opened", "conversation.item.created"]


@pytest.mark.parametrize("how", ["moved", "lost"])
async def test_a_socket_follows_its_session_and_is_told_where_to_cut(
    stage: Stage, how: str
) -> None:
    client = await stage.open()
    stage.a.tell(started(1), delta(2), delta(3))
    await until(lambda: len(client.frames) == 4)
    resumed = Event(3, "resumed", "resp_1", 1_000_000, Leg(1, 1, "continue", "host_lost", 2, 1))
    stage.b.answers[Attach] = Attached(2, 3, True, (resumed,))
    stage.directory.current = stage.b
    if how == "moved":
        stage.a.say(Moved(KEY))
    else:
        stage.a.die()
    await until(lambda: len(client.frames) == 5)
    assert stage.b.asked(Attach)[0].after == Cursor(1, 3)
    assert client.frames[-1] == {
        "type": "response.resumed",
        "epoch": 2,
        "seq": 3,
        "response_id": "resp_1",
        "policy": "continue",
        "position": 1,
        "reason": "host_lost",
        "from": None,
        "to": None,
    }
    assert client.code is None


async def test_a_client_whose_place_is_lost_is_opened_to_anew(stage: Stage) -> None:
    client = await stage.open()
    said = Message("msg_1", 1, "user", "hi", 1.0)
    stage.b.answers[Attach] = Attached(2, 7, False, (delta(7),), (said,))
    stage.directory.current = stage.b
    stage.a.say(Moved(KEY))
    await until(lambda: len(client.frames) == 3)
    again = client.frames[1]
    assert (again["type"], again["epoch"], again["seq"]) == ("session.opened", 2, 7)
    assert again["recovered"] is False
    assert [shown["id"] for shown in again["snapshot"]] == ["msg_1"]
    assert client.frames[2]["seq"] == 7


async def test_a_session_that_is_nowhere_closes_the_socket_with_1012() -> None:
    async with staged(reattach_s=0.1) as stage:
        client = await stage.open()
        stage.directory.current = None
        stage.a.die()
        assert await closed(stage, client) == ("stream_interrupted", 1012)


async def test_a_client_that_does_not_keep_up_is_closed_with_1013() -> None:
    async with staged(reader_events=3) as stage:
        client = await stage.open()
        client.stuck.clear()
        stage.a.tell(started(1))
        await until(lambda: stage.tasks() == 2)
        for seq in range(2, 12):
            stage.a.tell(delta(seq))
        reader = stage.link._audience.attached[KEY][0]
        await until(lambda: reader._error is not None)
        client.stuck.set()
        assert await closed(stage, client) == ("slow_reader", 1013)
        shown = [frame["seq"] for frame in client.frames[1:-1]]
        assert shown == list(range(1, len(shown) + 1)), "what it was shown has no gap"


async def test_a_client_that_takes_nothing_is_cut_in_time() -> None:
    async with staged(send_timeout_s=0.05) as stage:
        client = await stage.open()
        client.stuck.clear()
        stage.a.tell(delta(1))
        await until(lambda: all(task.done() for task in stage.sockets))
        assert not stage.link._audience.attached


@pytest.mark.parametrize("busy", [False, True])
async def test_a_client_that_leaves_takes_everything_along(stage: Stage, busy: bool) -> None:
    client = await stage.open()
    if busy:
        client.stuck.clear()
        stage.a.tell(delta(1))
        await until(lambda: stage.tasks() == 2)
    client.leave()
    await until(lambda: stage.tasks() == 0)
    assert not stage.link._audience.attached
    assert not stage.drain._open
    assert client.code is None


async def test_an_idle_client_that_is_gone_is_noticed_by_the_next_word(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    client = await stage.open()
    client._gone = True
    stage.a.tell(delta(1))
    await until(lambda: stage.tasks() == 0)
    assert not [record for record in caplog.records if record.exc_info]


# -- draining -----------------------------------------------------------------------------------


async def test_a_draining_gateway_sends_its_sockets_away_and_lets_none_in(stage: Stage) -> None:
    clients = [await stage.open() for _ in range(3)]
    await stage.drain.run()
    for client in clients:
        assert await closed(stage, client) == ("gateway_draining", 1012)
    late = stage.connect()
    assert await closed(stage, late) == ("gateway_draining", 1012)
    await stage.drain.run()


async def test_whoever_comes_in_while_the_door_shuts_is_sent_away_as_well(stage: Stage) -> None:
    client = stage.connect()
    await settled()
    await stage.drain.run()
    client.say(OPEN)
    assert await closed(stage, client) == ("gateway_draining", 1012)


class Leaver:
    def __init__(self, gone: Callable[[Leaver], None]) -> None:
        self._gone = gone
        self.error: TroupeError | None = None

    def leave(self, error: TroupeError) -> None:
        self.error = error
        self._gone(self)


async def test_clients_are_sent_away_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    drain = Drain(8)

    async def sleep(pause_s: float) -> None:
        told.append(f"wait {pause_s}")

    monkeypatch.setattr("gateway.drain.asyncio.sleep", sleep)
    leavers = [Leaver(lambda leaver: told.append("leave")) for _ in range(4)]
    for leaver in leavers:
        drain.enter(leaver)
    drain.exit(leavers[0])
    drain.enter(leavers[0])
    await drain.run()
    assert told == ["wait 2.0", "leave"] * 4
    assert all(leaver.error and leaver.error.retry_after == 1 for leaver in leavers)


@pytest.mark.parametrize(("own", "seen", "drains"), [(2, 3, True), (2, 2, False), (None, 7, False)])
async def test_a_newer_generation_drains_the_older(
    stage: Stage, own: int | None, seen: int, drains: bool
) -> None:
    stage.directory.fleet = Fleet(1, (), own or seen)
    generation = Generation(own, stage.drain)
    stage.link.open(generation.on_fleet)
    client = await stage.open()
    stage.directory.publish(stage.a, generation=seen)
    await until(lambda: stage.link._fleet and stage.link._fleet._hosts)
    await settled()
    assert stage.drain.begun is drains
    assert (client.code is not None) is drains
