from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from actors.runtime import HostRuntime
from contracts.commands import InputItem, SessionKey, TurnRequest
from contracts.ids import RESPONSE, new_id
from gateway.link import Link
from tests.support.runtime import OneHost, ScriptedAgent, UnitMemory, make_link, make_runtime


@dataclass
class Stage:
    """A host with one scripted agent, a link to it, and one conversation."""

    memory: UnitMemory
    agent: ScriptedAgent
    runtime: HostRuntime
    host: OneHost
    link: Link
    key: SessionKey


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    memory = UnitMemory()
    agent = ScriptedAgent()
    runtime = make_runtime(memory, {"echo": agent})
    host = OneHost(runtime)
    link = make_link(host)
    yield Stage(memory, agent, runtime, host, link, memory.create())
    await link.close()
    await runtime.close()


def ask(text: str = "hello", **fields: object) -> TurnRequest:
    return TurnRequest(new_id(RESPONSE), "echo", (InputItem("user", text),), **fields)  # type: ignore[arg-type]
