"""What a stranger does first: the stock client against a running Troupe."""

from __future__ import annotations

import openai
import pytest

from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe

NUMBERED = "".join(f"t{n} " for n in range(60))


async def streamed(client: openai.AsyncOpenAI, **fields: object) -> list[object]:
    stream = await client.responses.create(stream=True, **fields)  # type: ignore[call-overload]
    return [event async for event in stream]


def deltas(events: list) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


async def test_models(client: openai.AsyncOpenAI) -> None:
    names = {model.id async for model in await client.models.list()}
    assert {"gpt", "gemini", "auto"} <= names


async def test_a_response_streams_without_gap(client: openai.AsyncOpenAI) -> None:
    events = await streamed(client, model="numbered", input="count")
    assert deltas(events) == NUMBERED
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert events[-1].response.output_text == NUMBERED
    assert len([e for e in events if e.type == "response.output_text.delta"]) > 5


async def test_a_chat_completion_streams(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="numbered",
        messages=[{"role": "user", "content": "count"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == NUMBERED
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.parametrize("agent", ["gpt", "gemini"])
async def test_a_conversation_is_remembered_and_the_provider_saw_it(
    client: openai.AsyncOpenAI, simulator: SimulatorProcess, agent: str
) -> None:
    conversation = await client.conversations.create()
    fields = {"model": agent, "conversation": conversation.id}
    await streamed(client, input=f"My name is Zenobia-{agent}.", **fields)
    events = await streamed(client, input="What is my name?", **fields)
    assert f"Zenobia-{agent}" in deltas(events)
    # Others talk to it as well, such as a schedule of another test.
    sent = [text for text in map(str, simulator.requests()) if "What is my name?" in text]
    assert any(f"My name is Zenobia-{agent}." in text for text in sent)
    items = [i async for i in await client.conversations.items.list(conversation.id, order="asc")]
    assert [item.role for item in items] == ["user", "assistant"] * 2


async def test_previous_response_id_continues(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt", input="My name is Hypatia.")
    second = await client.responses.create(
        model="gpt", input="What is my name?", previous_response_id=first.id
    )
    assert "Hypatia" in second.output_text


async def test_a_broken_stream_resumes_at_every_place(client: openai.AsyncOpenAI) -> None:
    whole = await streamed(client, model="numbered", input="count")
    rid = whole[0].response.id
    for seen in (0, 1, 2, 3, 4, 5, len(whole) // 2, len(whole) - 3, len(whole) - 2):
        stream = await client.responses.retrieve(rid, stream=True, starting_after=seen)
        rest = [event async for event in stream]
        assert [e.sequence_number for e in rest] == list(range(seen + 1, len(whole))), seen
        assert [e.type for e in rest] == [e.type for e in whole[seen + 1 :]]
        assert deltas(whole[: seen + 1]) + deltas(rest) == NUMBERED


async def test_a_stream_that_is_dropped_in_mid_answer_goes_on(client: openai.AsyncOpenAI) -> None:
    seen = []
    stream = await client.responses.create(model="numbered", input="count", stream=True)
    async for event in stream:
        seen.append(event)
        if len(seen) == 8:
            break
    await stream.close()
    resumed = await client.responses.retrieve(
        seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
    )
    rest = [event async for event in resumed]
    assert deltas([*seen, *rest]) == NUMBERED
    numbers = [e.sequence_number for e in (*seen, *rest)]
    assert numbers == list(range(len(numbers)))


async def test_cancel(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="slow", input="count", background=True)
    cancelled = await client.responses.cancel(response.id)
    assert cancelled.status == "cancelled"
    assert (await client.responses.retrieve(response.id)).status == "cancelled"


async def test_auto_says_who_answers_and_why(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="auto", input="Please summarize this text.")
    assert response.model_extra is not None
    decision = response.model_extra["troupe"]
    assert decision["agent"] == "gemini"
    assert decision["rule"] == "texts"
    assert decision["reason"]


async def test_a_provider_that_breaks_is_told(client: openai.AsyncOpenAI) -> None:
    events = await streamed(client, model="broken", input="count")
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code
    assert deltas(events) == "".join(f"t{n} " for n in range(8))


def test_health(troupe: RunningTroupe) -> None:
    assert troupe.get("/healthz")[0] == 200
    status, body = troupe.get("/readyz")
    assert status == 200
    assert b'"postgres":"ok"' in body
    assert b'"hosts":"ok"' in body
