"""Readers outlive the host of their session: they sleep, wake, move, and lose nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from contracts.commands import (
    Attach,
    Attached,
    AwaitWake,
    Detach,
    Moved,
    Reply,
    Slept,
    Submit,
    TurnRequest,
    Woke,
)
from contracts.errors import Busy, HostUnavailable, NotFound
from contracts.events import LEG_NUMBERS, Cursor, Event
from contracts.messages import Leg, Message
from contracts.tasks import spawn
from gateway.link import Link
from gateway.reader import Reader
from tests.gateway.stand_ins import (
    KEY,
    OTHER,
    Directory,
    StandIn,
    delta,
    link_over,
    settled,
    until,
)


@dataclass
class Stage:
    """Two hosts; sessions live on `a`."""

    a: StandIn
    b: StandIn
    directory: Directory
    link: Link


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    a, b = StandIn("a"), StandIn("b", epoch=2)
    directory = Directory(a, b)
    link = link_over(directory)
    yield Stage(a, b, directory, link)
    await link.close()


def ask(response_id: str = "resp_1", **fields: Any) -> TurnRequest:
    return TurnRequest(response_id, "echo", (), **fields)


async def read(reader: Reader) -> list[tuple[int, int]]:
    async with asyncio.timeout(30):
        return [(epoch, event.seq) for epoch, event in await reader.next()]


def states(link: Link) -> tuple[int, int, int]:
    """How many sessions have attached, dormant, seeking readers."""
    audience = link._audience
    return len(audience.attached), len(audience.dormant), len(audience.seeking)


async def asleep(stage: Stage, reader: Reader) -> None:
    stage.a.say(Slept(KEY))
    await until(lambda: states(stage.link) == (0, 1, 0))


# -- sleeping -----------------------------------------------------------------------------------


async def test_a_sleeping_reader_comes_back_with_its_cursor_where_the_session_wakes(
    stage: Stage,
) -> None:
    reader = await stage.link.attach(KEY)
    stage.a.tell(delta(1), delta(2))
    assert await read(reader) == [(1, 1), (1, 2)]
    await asleep(stage, reader)
    stage.directory.publish(stage.b)
    stage.link.open(lambda fleet: None)
    await until(lambda: stage.b.asked(AwaitWake))
    stage.b.say(Woke(KEY))
    await until(lambda: states(stage.link) == (1, 0, 0))
    assert [command.after for command in stage.b.asked(Attach)] == [Cursor(1, 2)]
    stage.b.tell(delta(3))
    assert await read(reader) == [(2, 3)]


async def test_readers_go_before_the_command_that_wakes_their_session(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    await asleep(stage, reader)
    stage.a.heard.clear()
    await stage.link.submit(KEY, ask())
    [batch] = stage.a.heard
    assert [type(command) for command in batch] == [Attach, Submit]
    assert batch[0].after == Cursor(1, 0)  # type: ignore[attr-defined]


async def test_a_woken_reader_is_not_attached_twice(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    await asleep(stage, reader)
    stage.a.heard.clear()
    stage.a.say(Woke(KEY), Woke(KEY))
    await until(lambda: states(stage.link) == (1, 0, 0))
    stage.a.say(Woke(KEY))
    await settled()
    assert len(stage.a.asked(Attach)) == 1
    stage.a.tell(delta(1))
    assert await read(reader) == [(1, 1)]


async def test_what_sleeps_elsewhere_or_is_nobodys_wakes_nobody(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    stage.a.say(Slept(OTHER), Moved(OTHER), Woke(OTHER))
    stage.a.tell(delta(1))
    assert await read(reader) == [(1, 1)]
    assert len(stage.a.asked(Attach)) == 1


async def test_a_sleeping_reader_that_leaves_costs_its_host_nothing(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    await asleep(stage, reader)
    reader.close()
    assert states(stage.link) == (0, 0, 0)
    stage.a.say(Woke(KEY))
    await settled()
    assert not stage.a.asked(Detach)
    assert len(stage.a.asked(Attach)) == 1


async def test_a_new_line_asks_after_all_that_sleep_or_listen_elsewhere(stage: Stage) -> None:
    sleeping = await stage.link.attach(KEY)
    await asleep(stage, sleeping)
    await stage.link.attach(OTHER)
    stage.directory.publish(stage.a, stage.b)
    stage.link.open(lambda fleet: None)
    await until(lambda: len(stage.b.asked(AwaitWake)) == 2)
    assert {command.key for command in stage.b.asked(AwaitWake)} == {KEY, OTHER}
    assert not stage.a.asked(AwaitWake), "its line was there when they fell asleep"


# -- moving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["moved", "lost"])
async def test_a_reader_follows_its_session_and_hears_the_old_host_no_more(
    stage: Stage, how: str
) -> None:
    reader = await stage.link.attach(KEY)
    stage.a.tell(delta(1))
    stage.directory.current = stage.b
    stage.b.seq = 1
    if how == "moved":
        stage.a.say(Moved(KEY))
    else:
        stage.a.die()
    await until(lambda: stage.b.asked(Attach))
    await until(lambda: states(stage.link) == (1, 0, 0))
    assert stage.b.asked(Attach)[0].after == Cursor(1, 1)
    stage.a.tell(delta(2, "wrong"))
    stage.b.tell(delta(2, "right"))
    seen = await read(reader)
    while len(seen) < 2:
        seen += await read(reader)
    assert seen == [(1, 1), (2, 2)]


async def test_a_reader_goes_where_its_session_woke_though_the_old_host_still_speaks(
    stage: Stage,
) -> None:
    reader = await stage.link.attach(KEY)
    stage.directory.publish(stage.a, stage.b)
    stage.link.open(lambda fleet: None)
    await until(lambda: stage.b.asked(AwaitWake))
    stage.b.say(Woke(KEY))
    await until(lambda: stage.b.asked(Attach))
    await until(lambda: states(stage.link) == (1, 0, 0))
    assert stage.a.asked(Detach)
    stage.a.tell(delta(1, "wrong"))
    stage.b.tell(delta(1, "right"))
    assert await read(reader) == [(2, 1)]


async def test_an_older_activation_is_not_listened_to(stage: Stage) -> None:
    stage.a.epoch, stage.b.epoch = 5, 4
    reader = await stage.link.attach(KEY)
    stage.directory.publish(stage.a, stage.b)
    stage.directory.current = stage.b
    stage.link.open(lambda fleet: None)
    await until(lambda: stage.b.asked(AwaitWake))
    stage.b.say(Woke(KEY))  # said long ago, and late to arrive
    await until(lambda: stage.b.asked(Detach))
    await until(lambda: states(stage.link) == (1, 0, 0))
    stage.b.tell(delta(1, "wrong"))
    stage.a.tell(delta(1, "right"))
    assert await read(reader) == [(5, 1)]


async def test_an_older_activation_that_knows_nothing_of_a_response_is_not_believed(
    stage: Stage,
) -> None:
    """A host that was frozen says that the session is there, and had never heard of this turn."""
    stage.a.epoch, stage.b.epoch = 5, 4
    _, reader = await stage.link.start(KEY, ask())
    stage.a.tell(delta(3, number=2))
    assert await read(reader) == [(5, 3)]
    stage.directory.publish(stage.a, stage.b)
    stage.directory.current = stage.b
    stage.b.answers[Attach] = NotFound("No response to read here.")
    stage.link.open(lambda fleet: None)
    await until(lambda: stage.b.asked(AwaitWake))
    stage.b.say(Woke(KEY))
    await until(lambda: len(stage.a.asked(Attach)) == 2)
    await until(lambda: states(stage.link) == (1, 0, 0))
    stage.a.tell(delta(4, number=5))
    assert await read(reader) == [(5, 4)]


async def test_a_session_that_moves_on_in_the_same_breath_is_followed(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    stage.b.mute = True
    stage.directory.current = stage.b
    stage.a.say(Moved(KEY))
    await until(lambda: stage.b.asked(Attach))
    stage.directory.current = stage.a
    stage.a.epoch = 3
    [attach] = stage.b.asked(Attach)
    stage.b.say(Reply(attach.call, Attached(2, 0, True, ())), Moved(KEY))
    await until(lambda: len(stage.a.asked(Attach)) == 2)
    await until(lambda: states(stage.link) == (1, 0, 0))
    stage.a.tell(delta(1))
    assert await read(reader) == [(3, 1)]


async def test_a_response_is_found_again_by_the_last_number_that_was_given(stage: Stage) -> None:
    await stage.link.start(KEY, ask())
    stage.a.tell(delta(3, number=2), delta(4, response_id="resp_2", number=7), delta(5, number=5))
    stage.directory.current = stage.b
    stage.a.die()
    await until(lambda: stage.b.asked(Attach))
    [attach] = stage.b.asked(Attach)
    assert (attach.response_id, attach.number, attach.after) == ("resp_1", 5, None)


async def test_the_first_number_is_as_wide_as_what_it_opens(stage: Stage) -> None:
    await stage.link.start(KEY, ask())
    stage.a.tell(
        Event(3, "resumed", "resp_1", LEG_NUMBERS, Leg(0, 0, "restart", "lost", 1, 1)),
        delta(4, number=LEG_NUMBERS + 2),
    )
    stage.directory.current = stage.b
    stage.a.die()
    await until(lambda: stage.b.asked(Attach))
    assert stage.b.asked(Attach)[0].number == LEG_NUMBERS + 4


async def test_a_place_that_is_lost_is_replaced_by_a_snapshot(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    assert reader.opening() is not None
    stage.a.tell(delta(1), delta(2))
    said = Message("msg_1", 1, "user", "hi", 1.0)
    stage.b.answers[Attach] = Attached(2, 7, False, (delta(7),), (said,))
    stage.directory.current = stage.b
    stage.a.say(Moved(KEY))
    await until(lambda: reader.attached is not None)
    opening = reader.opening()
    assert opening is not None
    assert (opening.recovered, opening.snapshot) == (False, (said,))
    assert await read(reader) == [(2, 7)], "what nobody had read yet is in the snapshot"


async def test_a_session_that_is_nowhere_ends_its_readers_in_time() -> None:
    directory = Directory(host := StandIn("a"))
    link = link_over(directory, reattach_s=0.1)
    reader = await link.attach(KEY)
    host.tell(delta(1))
    await until(lambda: reader.after == Cursor(1, 1))
    directory.current = None
    host.die()
    assert await read(reader) == [(1, 1)]
    with pytest.raises(HostUnavailable) as caught:
        await read(reader)
    assert caught.value.cause_code == "stream_interrupted"
    reader.close()
    assert states(link) == (0, 0, 0)
    await link.close()


async def test_a_session_that_was_deleted_meanwhile_ends_its_readers(stage: Stage) -> None:
    reader = await stage.link.attach(KEY)
    stage.a.answers[Attach] = NotFound("Gone.")
    stage.a.say(Moved(KEY))
    with pytest.raises(NotFound):
        await read(reader)


@pytest.mark.parametrize("end", [Moved(KEY), Slept(KEY), None])
async def test_what_is_not_kept_is_not_looked_for(stage: Stage, end: Any) -> None:
    _, reader = await stage.link.start(KEY, ask(), lasting=False)
    if end is None:
        stage.a.die()
    else:
        stage.a.say(end)
    with pytest.raises(HostUnavailable):
        await read(reader)
    assert len(stage.a.asked(Attach)) == 1


# -- bounds and leaving -------------------------------------------------------------------------


@pytest.mark.parametrize("events", [[delta(n) for n in range(1, 5)], [delta(1, "é" * 6)]])
async def test_a_reader_that_does_not_keep_up_is_cut(events: list[Event]) -> None:
    directory = Directory(host := StandIn("a"))
    link = link_over(directory, reader_events=3, reader_bytes=11)
    reader = await link.attach(KEY)
    host.tell(delta(1, "12345678901"))
    assert await read(reader) == [(1, 1)]
    host.tell(*events)
    with pytest.raises(Busy) as caught:
        await read(reader)
    assert caught.value.cause_code == "slow_reader"
    await link.close()


async def test_the_last_reader_to_leave_tells_the_host(stage: Stage) -> None:
    first, second = await stage.link.attach(KEY), await stage.link.attach(KEY)
    first.close()
    first.close()
    await settled()
    assert not stage.a.asked(Detach)
    second.close()
    await until(lambda: len(stage.a.asked(Detach)) == 1)


@pytest.mark.parametrize("when", ["asked", "answered", "answered too late"])
@pytest.mark.parametrize("what", ["attach", "start"])
async def test_whoever_is_interrupted_leaves_nothing_behind(
    stage: Stage, when: str, what: str
) -> None:
    stage.a.mute = True
    call = stage.link.attach(KEY) if what == "attach" else stage.link.start(KEY, ask())
    task = spawn(call, name="call")
    await until(lambda: stage.a.asked(Attach))
    if when == "answered":
        [attach] = stage.a.asked(Attach)
        stage.a.say(Reply(attach.call, Attached(1, 0, True, ())))
        await until(lambda: states(stage.link) == (1, 0, 0))
    task.cancel()
    if when == "answered too late":
        [attach], [line] = stage.a.asked(Attach), stage.link._lines.values()
        line._answer(Reply(attach.call, Attached(1, 0, True, ())))
    await asyncio.wait([task])
    assert task.cancelled()
    assert states(stage.link) == (0, 0, 0)
    await until(lambda: stage.a.asked(Detach))
    assert not [line for line in stage.link._lines.values() if line.waiting]


async def test_a_refused_turn_leaves_no_reader(stage: Stage) -> None:
    stage.a.answers[Submit] = Busy("Full.")
    with pytest.raises(Busy):
        await stage.link.start(KEY, ask())
    await until(lambda: stage.a.asked(Detach))
    assert states(stage.link) == (0, 0, 0)
