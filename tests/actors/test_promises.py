"""One session against a model of the promises, with a crash between any two steps.

The machine submits, talks, cancels, lets providers fail, kills the host, lets the killed one live
on as a ghost, wipes the journal, lets the store refuse, sends the session to sleep, and has devices
leave and return.
Whatever it did: nothing acknowledged is lost or answered twice, the order stands, and what every
device shows is what the store holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actors.runtime import HostRuntime
from contracts.commands import Cancel, InputItem, Submit, TurnRequest
from contracts.errors import (
    ProviderError,
    ProviderInterrupted,
    ProviderRejected,
    ProviderUnavailable,
    StoreUnavailable,
)
from contracts.ids import RESPONSE, new_id
from contracts.messages import ENDED
from contracts.pace import Pace
from tests.actors.device import Device
from tests.support.runtime import LIMITS, ScriptedAgent, UnitMemory, make_runtime

_QUICK = type(LIMITS)(
    **{
        **{name: getattr(LIMITS, name) for name in LIMITS.__dataclass_fields__},
        "urgent_s": 0,
        "pace": Pace(0.0005, 0.0005, 1e6),
        "phases": 1,
    }
)
PATIENCE_S = 10.0
_FAILURES = [
    ProviderUnavailable("away", retry_after=0),
    ProviderInterrupted("broke", retry_after=0),
    ProviderRejected("no"),
]


class Promises(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.memory = UnitMemory()
        self.key = self.memory.create()
        self.policy: Any = "continue"
        self.on_failure: Any = "continue"
        self.words = 0
        self.hosts: list[tuple[HostRuntime, ScriptedAgent]] = []
        self.devices: list[Device] = []
        self.asked: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self.pending: list[tuple[Device, int, str]] = []

    # -- the world ------------------------------------------------------------------------------

    @property
    def agent(self) -> ScriptedAgent:
        return self.hosts[-1][1]

    @property
    def runtime(self) -> HostRuntime:
        return self.hosts[-1][0]

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    async def settle(self) -> None:
        """Let everything run that can."""
        for _ in range(3):
            await asyncio.sleep(0.0012)
        self.note_answers()

    def note_answers(self) -> None:
        still: list[tuple[Device, int, str]] = []
        for device, call, response_id in self.pending:
            reply = device.calls.get(call)
            if reply is None:
                still.append((device, call, response_id))
            elif reply.error is None:
                self.acknowledged.append(response_id)
        self.pending = still

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                await asyncio.sleep(0.001)
                self.note_answers()
                for device in self.devices:
                    assert device.errors == [], device.errors

    async def new_host(self) -> None:
        agent = ScriptedAgent()
        runtime = make_runtime(
            self.memory,
            {"echo": agent},
            limits=_QUICK,
            attempts=3,
            on_host_loss=self.policy,
            on_failure=self.on_failure,
        )
        self.hosts.append((runtime, agent))
        self.pending.clear()  # their answers died with the host: acknowledged they never were
        for device in self.devices:
            await device.unplug()
            device.plug(runtime)

    # -- steps ----------------------------------------------------------------------------------

    @initialize(
        policy=st.sampled_from(["continue", "restart", "stop"]),
        on_failure=st.sampled_from(["continue", "restart", "stop"]),
    )
    def begin(self, policy: str, on_failure: str) -> None:
        self.policy, self.on_failure = policy, on_failure
        self.do(self._begin())

    async def _begin(self) -> None:
        await self.new_host()
        for _ in range(2):
            await self._another_device()

    async def _another_device(self) -> None:
        device = Device(self.key)
        self.devices.append(device)
        device.plug(self.runtime)
        await asyncio.sleep(0)
        await device.attach()
        await self.settle()

    @rule(on_busy=st.sampled_from(["queue", "queue", "interrupt", "reject"]))
    def submit(self, on_busy: Any) -> None:
        self.do(self._submit(on_busy))

    async def _submit(self, on_busy: Any) -> None:
        response_id = new_id(RESPONSE)
        text = f"q{len(self.asked)}"
        self.asked[response_id] = text
        turn = TurnRequest(response_id, "echo", (InputItem("user", text),), on_busy=on_busy)
        device = self.devices[0]
        call = await device.send(lambda call: Submit(call, self.key, turn))
        self.pending.append((device, call, response_id))

    @rule(count=st.integers(1, 3))
    def talk(self, count: int) -> None:
        for _ in range(count):
            self.words += 1
            self.agent.say(f"w{self.words} ")

    @rule()
    def end(self) -> None:
        self.agent.answer()

    @rule(error=st.sampled_from(_FAILURES))
    def the_provider_fails(self, error: ProviderError) -> None:
        self.agent.say(error)

    @rule()
    def wait(self) -> None:
        self.do(self.settle())

    @rule()
    def a_moment(self) -> None:
        self.do(asyncio.sleep(0))

    @rule()
    def cancel(self) -> None:
        self.do(self.devices[0].send(lambda call: Cancel(call, self.key)))

    @rule()
    def crash(self) -> None:
        self.do(self.new_host())

    @rule()
    def wiped_and_crashed(self) -> None:
        self.memory.lose_journal(self.key)
        self.do(self.new_host())

    @precondition(lambda self: len(self.hosts) > 1)
    @rule()
    def a_ghost_speaks(self) -> None:
        """It may well be the owner still: nobody has activated the session since."""
        self.words += 1
        self.hosts[-2][1].answer(f"w{self.words} ")

    @rule()
    def the_store_refuses_once(self) -> None:
        self.memory.broken.append(StoreUnavailable("away"))

    @rule()
    def the_host_drains(self) -> None:
        self.do(self._drain())

    async def _drain(self) -> None:
        await self.runtime.drain(0)
        await self.settle()
        await self.new_host()

    @rule(which=st.integers(0, 1))
    def a_device_returns(self, which: int) -> None:
        self.do(self._return(self.devices[which]))

    async def _return(self, device: Device) -> None:
        await device.unplug()
        device.plug(self.runtime)
        await asyncio.sleep(0)
        await device.attach()

    # -- what must hold -------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.hosts:
                self.do(self._check())
        finally:
            self.do(self._leave())
            self.runner.close()

    async def _check(self) -> None:
        self.memory.broken.clear()
        await self._end_all()
        responses = self.memory.responses
        shelf = self.memory.shelves[self.key]
        assert set(self.acknowledged) <= set(responses), "acknowledged and lost"
        asked = [m.text for m in shelf.messages if m.role == "user"]
        assert len(asked) == len(set(asked)), "a message stands twice"
        order = [self.asked[name] for name in self.acknowledged]
        assert [text for text in asked if text in order] == order, "the order is broken"
        for name, record in responses.items():
            answers = [m for m in shelf.messages if m.role == "assistant" and m.response_id == name]
            assert [m.text for m in answers] == ([record.text] if record.text else [])
            words = record.text.split()
            assert len(words) == len(set(words)), "a word stands twice"
            assert sum(record.cuts) == len(record.text)
            numbers = [leg.number for leg in record.legs]
            assert numbers == sorted(set(numbers)), "a leg's number was given out twice"
        for device in self.devices:
            for name, record in responses.items():
                shown = device.texts.get(name, "")
                assert shown == record.text, (
                    f"{device.name} shows {shown!r}, not {record.text!r}; {device.cursor}, {record}"
                )

    async def _end_all(self) -> None:
        """Let every open turn end, with every device there to see it."""
        for device in self.devices:
            await self._return(device)

        def ended() -> bool:
            if all(record.status in ENDED for record in self.memory.responses.values()):
                return True
            if self.agent.said.empty():
                self.agent.answer()
            return False

        await self.until(ended)
        await self.settle()
        for device in self.devices:
            await self._return(device)
        await self.until(lambda: all(device.attached for device in self.devices))
        await self.settle()
        await self.until(ended)

    async def _leave(self) -> None:
        for device in self.devices:
            await device.unplug()
        for runtime, _ in self.hosts:
            await runtime.close()


Promises.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPromises = Promises.TestCase
