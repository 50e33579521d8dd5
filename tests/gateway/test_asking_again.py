"""Commands whose host is lost are asked of another, where that can do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.commands import (
    AddItems,
    Attach,
    Cancel,
    Command,
    DeleteItem,
    DropSession,
    Submit,
    TurnRequest,
)
from contracts.errors import Conflict, Deposed, HostUnavailable, NotFound, StoreUnavailable
from contracts.tasks import spawn
from gateway.link import Link
from tests.gateway.stand_ins import KEY, Directory, StandIn, delta, link_over, until

TAKEN = Conflict("Taken.", code="duplicate_id", details={"response_id": "resp_1"})


class Stage:
    """Two hosts; sessions live on `a`, until it is lost."""

    def __init__(self) -> None:
        self.a, self.b = StandIn("a"), StandIn("b", epoch=2)
        self.directory = Directory(self.a, self.b)
        self.link: Link = link_over(self.directory)

    async def lose(self, kind: type[Command]) -> None:
        """Let `a` die with a command of this kind unanswered; `b` takes over."""
        await until(lambda: self.a.asked(kind))
        self.directory.current = self.b
        self.a.die()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.link.close()


def ask(response_id: str = "resp_1") -> TurnRequest:
    return TurnRequest(response_id, "echo", ())


async def test_a_turn_is_asked_for_again_elsewhere_under_the_same_id(stage: Stage) -> None:
    stage.a.mute = True
    task = spawn(stage.link.start(KEY, ask()), name="start")
    await stage.lose(Submit)
    accepted, reader = await task
    assert accepted is not None
    assert accepted.response_id == "resp_1"
    assert [type(command) for command in stage.b.commands] == [Attach, Submit]
    stage.b.tell(delta(1))
    assert [event.seq for _, event in await reader.next()] == [1]


async def test_a_turn_that_was_taken_after_all_is_found_and_read_from_its_start(
    stage: Stage,
) -> None:
    stage.a.mute = True
    stage.b.answers[Submit] = TAKEN
    task = spawn(stage.link.start(KEY, ask()), name="start")
    await stage.lose(Submit)
    accepted, _ = await task
    assert accepted is None
    last = stage.b.asked(Attach)[-1]
    assert (last.response_id, last.number) == ("resp_1", -1)
    assert await stage.link.submit(KEY, ask()) is None
    with pytest.raises(Conflict):
        await stage.link.submit(KEY, ask("resp_of_somebody_else"))


@pytest.mark.parametrize("error", [Deposed("Moved."), HostUnavailable("Full.", code="host_full")])
@pytest.mark.parametrize("kind", [Submit, AddItems])
async def test_a_host_that_holds_the_session_no_longer_is_asked_no_longer(
    stage: Stage, kind: type[Command], error: HostUnavailable
) -> None:
    def refuse(command: Command) -> Any:
        stage.directory.current = stage.b
        return error

    stage.a.answers[kind] = refuse
    await (stage.link.submit(KEY, ask()) if kind is Submit else stage.link.add_items(KEY, ()))
    assert len(stage.a.asked(kind)) == len(stage.b.asked(kind)) == 1


@pytest.mark.parametrize(
    ("kind", "call"),
    [(AddItems, lambda link: link.add_items(KEY, ())), (Cancel, lambda link: link.cancel(KEY))],
)
async def test_what_would_count_twice_is_not_asked_twice(
    stage: Stage, kind: type[Command], call: Any
) -> None:
    stage.a.mute = True
    task = spawn(call(stage.link), name="call", on_error=lambda error: None)
    await stage.lose(kind)
    with pytest.raises(HostUnavailable):
        await task
    assert stage.b.commands == []


async def test_what_was_never_sent_is_asked_elsewhere_whatever_it_is(stage: Stage) -> None:
    stage.a.up = False

    async def suspect(host_id: str) -> None:
        stage.directory.current = stage.b

    stage.directory.suspect = suspect  # type: ignore[method-assign]
    await stage.link.add_items(KEY, ())
    assert len(stage.b.asked(AddItems)) == 1


async def test_a_turn_that_is_named_may_be_cancelled_twice(stage: Stage) -> None:
    stage.a.mute = True
    task = spawn(stage.link.cancel(KEY, "resp_1"), name="cancel")
    await stage.lose(Cancel)
    await task
    assert len(stage.b.asked(Cancel)) == 1


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (DeleteItem, lambda link: link.delete_item(KEY, "msg_1")),
        (DropSession, lambda link: link.drop(KEY)),
    ],
)
async def test_what_is_gone_at_the_second_try_was_deleted_by_the_first(
    stage: Stage, kind: type[Command], call: Any
) -> None:
    stage.a.mute = True
    stage.b.answers[kind] = NotFound("Gone.")
    task = spawn(call(stage.link), name="call")
    await stage.lose(kind)
    await task
    assert len(stage.b.asked(kind)) == 1
    with pytest.raises(NotFound):
        await call(stage.link)


async def test_a_command_is_asked_for_so_long_and_no_longer() -> None:
    directory = Directory(host := StandIn("a"))
    link = link_over(directory, call_timeout_s=0.5)
    directory.current = None
    with pytest.raises(HostUnavailable, match="No session host is up"):
        await link.submit(KEY, ask())
    directory.current = host
    host.mute = True
    with pytest.raises(HostUnavailable) as late:
        await link.submit(KEY, ask())
    assert late.value.cause_code == "host_timeout"
    assert not [line for line in link._lines.values() if line.waiting]
    await link.close()


async def test_other_faults_are_the_callers_at_once(stage: Stage) -> None:
    stage.a.answers[Submit] = StoreUnavailable("Postgres is away.")
    with pytest.raises(StoreUnavailable):
        await stage.link.submit(KEY, ask())
    assert len(stage.a.asked(Submit)) == 1


async def test_a_host_that_is_asked_after_gets_no_sessions_meanwhile(stage: Stage) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def suspect(host_id: str) -> None:
        asked.set()
        await answered.wait()

    stage.directory.suspect = suspect  # type: ignore[method-assign]
    await stage.link.submit(KEY, ask())
    stage.a.cut()
    await asked.wait()
    with pytest.raises(HostUnavailable):
        await stage.link.attach(KEY, within_s=0.01)
    assert not stage.a.asked(Attach)
    answered.set()
    await stage.link.attach(KEY)
    assert len(stage.a.asked(Attach)) == 1
