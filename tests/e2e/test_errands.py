"""Turns that nobody waits for at a socket, in a running Troupe."""

from __future__ import annotations

import time

import openai

from tests.support.letterbox import SECRET, Letterbox
from tests.support.waiting import until


async def test_a_turn_in_the_background_is_told_of(
    client: openai.AsyncOpenAI, letterbox: Letterbox
) -> None:
    """The stock client begins it, and verifies the word of its end."""
    queued = await client.responses.create(model="numbered", input="count", background=True)
    await until(lambda: bool(letterbox.about(queued.id)), "its end is told")
    [letter] = letterbox.about(queued.id)
    event = client.webhooks.unwrap(letter.body, letter.headers, secret=SECRET)
    assert event.type == "response.completed"
    assert (await client.responses.retrieve(event.data.id)).output_text.endswith("t59 ")


async def test_a_conversation_begins_a_turn_by_itself(
    client: openai.AsyncOpenAI, letterbox: Letterbox
) -> None:
    place = (await client.conversations.create()).id
    path = f"/conversations/{place}/schedules"
    body = {"model": "gpt", "input": "Good morning!", "at": int(time.time()) + 2}
    schedule = await client.post(path, body=body, cast_to=object)
    assert isinstance(schedule, dict)

    async def ended() -> bool:
        nonlocal schedule
        schedule = await client.get(f"{path}/{schedule['id']}", cast_to=object)
        return schedule["status"] == "ended"

    await until(ended, "its time has come")
    assert schedule["last_run"]["status"] == "ran"
    response_id = schedule["last_run"]["response_id"]
    await until(lambda: bool(letterbox.about(response_id)), "its end is told")
    response = await client.responses.retrieve(response_id)
    assert response.status == "completed"
    assert response.output_text
    items = (await client.conversations.items.list(place, order="asc")).data
    assert [item.role for item in items] == ["user", "assistant"]  # type: ignore[union-attr]
