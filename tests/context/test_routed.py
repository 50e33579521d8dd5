"""What was routed, as replays read it: each message with what the rules saw of it."""

from __future__ import annotations

import asyncio

from context.memory import ContextMemory
from contracts.commands import SessionKey
from contracts.ids import RESPONSE, new_id
from tests.context.activation import NOW, ORG, Activation

DECISION = {"agent": "gpt", "rule": "rest", "reason": "No rule before it matched."}


async def ask(
    host: Activation, text: str, status: str = "completed", says: str = "yes", **fields: object
) -> str:
    """A turn that begins long after the one before it has ended, unless it is told when."""
    born = NOW + 10 * host.position
    given = {"model": "auto", "decision": DECISION, "created_at": born, **fields}
    turn = await host.accept(*([text] if text else []), **given)
    host.start(turn)
    if says:
        host.say(turn, says)
    await host.finish(turn, status)  # type: ignore[arg-type]
    return turn.record.id


async def begin(memory: ContextMemory, user: str | None = None, **metadata: str) -> Activation:
    key = SessionKey(ORG, new_id("conv"))
    await memory.records.create_session(key, user=user, metadata=metadata)
    return await Activation.of(memory, key)


async def test_a_message_comes_with_what_the_rules_saw(memory: ContextMemory) -> None:
    host = await begin(memory, user="ada", tier="gold", kind="old")
    first = await ask(host, "one", agent="gpt")
    to_gemini = {**DECISION, "agent": "gemini"}
    more = {"metadata": {"kind": "new"}, "background": True}
    second = await ask(host, "two", agent="gemini", decision=to_gemini, **more)
    third = await ask(host, "three", user="bob")
    found = await memory.routes.since(ORG, 0, model="auto", limit=3)
    assert [one.response_id for one in found] == [third, second, first]
    one = found[1].given
    assert (one.text, one.org_id, one.session_id) == ("two", ORG, host.key.session_id)
    assert one.metadata == {"tier": "gold", "kind": "new"}
    assert (one.user, one.turn, one.messages, one.background) == ("ada", 2, 2, True)
    assert (one.agent, one.now) == ("gpt", NOW + 20)
    assert found[2].given.agent is None, "nobody had answered before the first"
    assert (found[0].given.user, found[0].given.agent) == ("bob", "gemini")
    assert found[0].decision == DECISION


async def test_failures_are_those_in_a_row_just_before(memory: ContextMemory) -> None:
    host = await begin(memory)
    for status in ("failed", "completed", "failed", "failed", "completed", "completed"):
        await ask(host, "again", status)
    found = await memory.routes.since(ORG, 0, model="auto", limit=6)
    assert [one.given.failures for one in reversed(found)] == [0, 1, 0, 1, 2, 0]


async def test_replays_see_what_the_next_activation_would(memory: ContextMemory) -> None:
    host = await begin(memory)
    states: list[tuple[int, str | None, int]] = []
    for status, says, agent in (
        ("failed", "", "gpt"),
        ("cancelled", "", "gpt"),
        ("failed", "it is", "spare"),
        ("incomplete", "so", "gpt"),
        ("completed", "", "gpt"),
    ):
        state = await memory.activate(host.key)
        states.append((state.failures, state.agent, state.position))
        host = Activation(memory, state)
        await ask(host, "again", status, says, agent=agent)
    found = await memory.routes.since(ORG, 0, model="auto", limit=5)
    given = [(one.given.failures, one.given.agent, one.given.messages) for one in reversed(found)]
    # Who stands in for an agent does not take its place; who never spoke takes nobody's.
    assert given == [(0, None, 0), (1, None, 1), (1, None, 2), (2, "gpt", 4), (0, "gpt", 6)]
    assert given == states


async def test_what_waited_was_led_by_what_had_ended_then(memory: ContextMemory) -> None:
    host = await begin(memory)
    await ask(host, "one", "failed")
    await ask(host, "two", created_at=NOW + 1)
    [two, _] = await memory.routes.since(ORG, 0, model="auto", limit=2)
    assert (two.given.failures, two.given.agent, two.given.turn) == (0, None, 2)


async def test_an_answer_anew_is_led_by_what_stands_before_it(memory: ContextMemory) -> None:
    host = await begin(memory)
    await ask(host, "one")
    for _ in range(2):
        answer = host.messages.pop()
        await ask(host, "", replaces=answer.id)
    found = await memory.routes.since(ORG, 0, model="auto", limit=2)
    given = [(one.given.text, one.given.messages, one.given.regenerate) for one in found]
    assert given == [("one", 3, True), ("one", 2, True)]


async def test_it_is_read_in_pages_since_a_time(memory: ContextMemory) -> None:
    host = await begin(memory)
    old = [await ask(host, f"old {n}") for n in range(2)]
    await asyncio.sleep(0.002)
    born = int(new_id(RESPONSE).split("_")[1][:12], 16) / 1000
    new = [await ask(host, f"new {n}") for n in range(3)]
    page = await memory.routes.since(ORG, born, model="auto", limit=2)
    assert [one.response_id for one in page] == [new[2], new[1]]
    rest = await memory.routes.since(ORG, born, model="auto", limit=9, before=new[1])
    assert [one.response_id for one in rest] == [new[0]]
    assert not {one.response_id for one in (*page, *rest)} & set(old)


async def test_who_named_an_agent_was_led_by_no_rule(memory: ContextMemory) -> None:
    host = await begin(memory)
    named = await ask(host, "you there", model="gpt")
    found = await memory.routes.since(ORG, 0, model="auto", limit=1000)
    assert found
    assert named not in [one.response_id for one in found]


async def test_another_organization_s_are_not_there(memory: ContextMemory) -> None:
    host = await begin(memory)
    await ask(host, "mine")
    assert await memory.routes.since("org_other", 0, model="auto", limit=10) == []
