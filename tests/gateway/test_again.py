"""Saying it again, over it, or not at all: regenerate, on_busy, and turns without input."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.house import House, eventually


async def said(house: House, conversation: str, text: str, answer: str) -> Any:
    house.agent.answer(answer)
    return await house.client.responses.create(model="echo", conversation=conversation, input=text)


async def transcript(house: House, conversation: str) -> list[str]:
    items = await house.client.conversations.items.list(conversation, order="asc")
    return [item.content[0].text async for item in items]  # type: ignore[union-attr]


@pytest.mark.parametrize("named", [True, False], ids=["with the conversation", "by itself"])
async def test_the_last_answer_is_given_anew(house: House, named: bool) -> None:
    conversation = (await house.client.conversations.create()).id
    await said(house, conversation, "q1", "a1")
    bad = await said(house, conversation, "q2", "bad")
    house.agent.answer("better")
    place: dict[str, Any] = {"conversation": conversation} if named else {}
    again = await house.client.responses.create(
        model="echo", extra_body={"regenerate": bad.id}, **place
    )
    assert (again.output_text, again.conversation and again.conversation.id) == (
        "better",
        conversation,
    )
    assert await transcript(house, conversation) == ["q1", "a1", "q2", "better"]
    assert [m.text for m in house.agent.requests[-1].messages] == ["q1", "a1", "q2"]
    with pytest.raises(openai.ConflictError) as caught:
        await house.client.responses.create(model="echo", extra_body={"regenerate": bad.id})
    assert (caught.value.code, caught.value.param) == ("conversation_advanced", "regenerate")


async def test_an_absent_response_cannot_be_regenerated(house: House) -> None:
    absent = "resp_" + "0" * 32
    for name in (absent, "nonsense"):
        with pytest.raises(openai.NotFoundError) as caught:
            await house.client.responses.create(model="echo", extra_body={"regenerate": name})
        assert caught.value.param == "regenerate"


async def test_what_stands_is_answered_without_input(house: House) -> None:
    items: Any = [{"type": "message", "role": "user", "content": "question"}]
    conversation = (await house.client.conversations.create(items=items)).id
    house.agent.answer("answer")
    await house.client.responses.create(model="echo", conversation=conversation)
    assert await transcript(house, conversation) == ["question", "answer"]


async def test_a_busy_conversation_refuses_or_is_interrupted(house: House) -> None:
    conversation = (await house.client.conversations.create()).id
    first = await house.client.responses.create(
        model="echo", conversation=conversation, input="q1", background=True
    )
    house.agent.say("half ")
    await eventually(lambda: house.agent.said.empty())
    with pytest.raises(openai.ConflictError) as caught:
        await house.client.responses.create(
            model="echo", conversation=conversation, input="q2", extra_body={"on_busy": "reject"}
        )
    assert caught.value.code == "conversation_locked"
    newest = await house.client.responses.create(
        model="echo",
        conversation=conversation,
        input="q3",
        background=True,
        extra_body={"on_busy": "interrupt"},
    )
    await eventually(lambda: house.status(first.id), "cancelled")
    house.agent.answer("a3")
    await eventually(lambda: house.status(newest.id), "completed")
    assert await transcript(house, conversation) == ["q1", "half ", "q3", "a3"]
