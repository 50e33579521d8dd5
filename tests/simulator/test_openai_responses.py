"""The Responses API, as OpenAI's SDK reads it."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

TURNS: list[Any] = [
    {"role": "user", "content": "My name is Anna."},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello Anna!", "annotations": []}],
    },
    {"role": "user", "content": [{"type": "input_text", "text": "What is my name?"}]},
]


async def test_the_standard_events_in_order_and_numbered_without_a_gap(
    gpt: openai.AsyncOpenAI,
) -> None:
    stream = await gpt.responses.create(model="scripted.tokens-3", input="hi", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(11))


async def test_the_pieces_agree_with_each_other(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.responses.create(model="scripted.tokens-3", input="hi", stream=True)
    by_type: dict[str, Any] = {}
    deltas: list[Any] = []
    async for event in stream:
        by_type[event.type] = event
        if event.type == "response.output_text.delta":
            deltas.append(event)
    completed = by_type["response.completed"].response
    assert completed.status == "completed"
    assert completed.id == by_type["response.created"].response.id
    assert by_type["response.created"].response.status == "in_progress"
    assert by_type["response.created"].response.output == []
    assert completed.output_text == "t0 t1 t2 "
    assert "".join(delta.delta for delta in deltas) == completed.output_text
    assert by_type["response.output_text.done"].text == completed.output_text
    assert by_type["response.content_part.done"].part.text == completed.output_text
    assert by_type["response.output_item.done"].item == completed.output[0]
    assert {delta.item_id for delta in deltas} == {completed.output[0].id}
    assert completed.usage.output_tokens == 3
    assert completed.usage.total_tokens == completed.usage.input_tokens + 3


async def test_the_sdks_own_accumulation_accepts_it(gpt: openai.AsyncOpenAI) -> None:
    async with gpt.responses.stream(model="scripted.tokens-4", input="hi") as stream:
        final = await stream.get_final_response()
    assert final.output_text == "t0 t1 t2 t3 "


async def test_not_streamed(gpt: openai.AsyncOpenAI) -> None:
    response = await gpt.responses.create(model="scripted.tokens-2", input="hi")
    assert response.status == "completed"
    assert response.output_text == "t0 t1 "
    assert response.usage is not None
    assert response.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("script", "limit", "reason"),
    [
        ("tokens=5", 2, "max_output_tokens"),
        ("tokens=2;finish=content_filter", None, "content_filter"),
    ],
)
async def test_a_cut_answer_is_incomplete(
    gpt: openai.AsyncOpenAI, script: str, limit: int | None, reason: str
) -> None:
    stream = await gpt.responses.create(
        model="m",
        input="hi",
        stream=True,
        max_output_tokens=limit,
        extra_headers={"x-simulator": script},
    )
    events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == reason
    assert last.response.output_text == "t0 t1 "


async def test_a_failed_response_says_so_after_its_tokens(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.responses.create(
        model="scripted.tokens-4.fault-failed.at-2", input="hi", stream=True
    )
    events = [event async for event in stream]
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == [
        "t0 ",
        "t1 ",
    ]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
    assert last.sequence_number == len(events) - 1
    whole = await gpt.responses.create(model="scripted.tokens-4.fault-failed", input="hi")
    assert whole.status == "failed"


async def test_failed_is_refused_where_no_such_thing_exists(http: httpx2.AsyncClient) -> None:
    answer = await http.post(
        "/v1/chat/completions",
        json={"model": "scripted.fault-failed", "messages": [{"role": "user", "content": "x"}]},
    )
    assert answer.status_code == 400
    assert "/v1/responses only" in answer.json()["error"]["message"]


async def test_history_and_instructions_are_read(gpt: openai.AsyncOpenAI) -> None:
    answer = await gpt.responses.create(model="gpt", input=TURNS)
    assert "**Anna**" in answer.output_text
    answer = await gpt.responses.create(
        model="gpt", instructions="Speak like a heron.", input="What are your instructions?"
    )
    assert "Speak like a heron." in answer.output_text


@pytest.mark.parametrize("name", ["previous_response_id", "conversation"])
async def test_what_was_never_stored_is_not_found(http: httpx2.AsyncClient, name: str) -> None:
    body = {"model": "m", "input": "hi", name: "some_1"}
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "hi"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": ""}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["hi"]}, "input[0]"),
        ({"model": "m", "input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": {}}]}, "input[0].content"),
        ({"model": "m", "input": "hi", "max_output_tokens": "9"}, "max_output_tokens"),
    ],
)
async def test_a_wrong_request_is_refused_by_field(
    http: httpx2.AsyncClient, body: dict[str, Any], param: str
) -> None:
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
