"""Bad input, over HTTP: a 4xx in OpenAI's shape with code, param and request id, and no trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.ids import MESSAGE, RESPONSE, SESSION, new_id
from tests.gateway.house import House, Stores, open_house

R, C, V = "/v1/responses", "/v1/chat/completions", "/v1/conversations"
SAID = {"role": "user", "content": "hi"}
LONG = "x" * 100_001


def turn(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "input": "hi", **fields}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [SAID], **fields}


# method, path ({c}: a conversation that exists), body (bytes: as they are), status, code, param
CASES: list[tuple[str, str, Any, int, str, str | None]] = [
    # not JSON, or JSON that no two parsers agree on
    ("POST", R, b"", 400, "missing_required_parameter", None),
    ("POST", R, b"{", 400, "invalid_json", None),
    ("POST", R, b'{"input":"a",}', 400, "invalid_json", None),
    ("POST", R, b'{"input":"a"} {}', 400, "invalid_json", None),
    ("POST", R, b'{"input":"\xff"}', 400, "invalid_json", None),
    ("POST", R, b'{"input":"a\x00b"}', 400, "invalid_json", None),
    ("POST", R, rb'{"input":"a\ud800"}', 400, "invalid_json", None),
    ("POST", R, b'{"input":"a","temperature":NaN}', 400, "invalid_json", None),
    ("POST", R, b'{"input":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "invalid_json", None),
    ("POST", R, b'{"input":"a","max_output_tokens":1' + b"0" * 5000 + b"}", 400, "invalid_json",
     None),
    ("POST", R, b"[]", 400, "invalid_type", None),
    ("POST", R, b"null", 400, "invalid_type", None),
    ("POST", R, b'"input"', 400, "invalid_type", None),
    # the model
    ("POST", R, turn(model="nobody"), 404, "model_not_found", "model"),
    ("POST", R, turn(model=""), 400, "invalid_value", "model"),
    ("POST", R, turn(model=None), 400, "invalid_type", "model"),
    ("POST", R, turn(model="x" * 129), 400, "too_long", "model"),
    ("POST", R, turn(model="echo\x00"), 400, "invalid_characters", "model"),
    # where it belongs
    ("POST", R, turn(conversation=new_id(SESSION)), 404, "not_found", "conversation"),
    ("POST", R, turn(conversation={"id": "' OR 1=1"}), 404, "not_found", "conversation"),
    ("POST", R, turn(conversation={"id": "x", "y": 1}), 400, "unknown_parameter", "conversation.y"),
    ("POST", R, turn(previous_response_id=new_id(RESPONSE)), 404, "not_found",
     "previous_response_id"),
    ("POST", R, turn(conversation="{c}", previous_response_id=new_id(RESPONSE)), 400,
     "mutually_exclusive_parameters", "previous_response_id"),
    # what is said
    ("POST", R, {"model": "echo"}, 400, "nothing_to_answer", "input"),
    ("POST", R, {"model": "echo", "input": []}, 400, "nothing_to_answer", "input"),
    ("POST", R, {"input": [], "regenerate": "resp_1", "previous_response_id": "resp_1"}, 400,
     "mutually_exclusive_parameters", "regenerate"),
    ("POST", R, {"input": "a", "on_busy": "wait"}, 400, "invalid_value", "on_busy"),
    ("POST", R, turn(input=""), 400, "invalid_value", "input"),
    ("POST", R, turn(input="a\x00b"), 400, "invalid_characters", "input"),
    ("POST", R, turn(input="\x1b[2J"), 400, "invalid_characters", "input"),
    ("POST", R, turn(input=LONG), 400, "message_too_long", "input"),
    ("POST", R, turn(input=[SAID, {**SAID, "content": LONG}]), 400, "message_too_long",
     "input[1].content"),
    ("POST", R, turn(input=[{**SAID, "content": [{"type": "input_text", "text": LONG[1:]}] * 2}]),
     400, "message_too_long", "input[0].content"),
    ("POST", R, turn(input=[SAID] * 201), 400, "too_many_items", "input"),
    ("POST", R, turn(input=[{**SAID, "content": "\x07"}]), 400, "invalid_characters",
     "input[0].content"),
    ("POST", R, turn(input=[{**SAID, "content": [{"type": "input_image", "image_url": "x"}]}]), 400,
     "unsupported_parameter", "input[0].content[0].type"),
    ("POST", R, turn(input=[{"type": "function_call_output", "call_id": "x", "output": "y"}]), 400,
     "unsupported_parameter", "input[0].type"),
    ("POST", R, turn(conversation="{c}", input="\x7f"), 400, "invalid_characters", "input"),
    ("POST", R, turn(instructions="\x00"), 400, "invalid_characters", "instructions"),
    ("POST", R, turn(instructions="x" * 32_001), 400, "message_too_long", "instructions"),
    # the rest
    ("POST", R, turn(colour="red"), 400, "unknown_parameter", "colour"),
    ("POST", R, turn(tools=[{"type": "web_search"}]), 400, "unsupported_parameter", "tools"),
    ("POST", R, turn(tool_choice="required"), 400, "unsupported_parameter", "tool_choice"),
    ("POST", R, turn(reasoning={"effort": "high"}), 400, "unsupported_parameter", "reasoning"),
    ("POST", R, turn(store=False), 400, "unsupported_parameter", "store"),
    ("POST", R, turn(include=["reasoning.encrypted_content"]), 400, "unsupported_parameter",
     "include"),
    ("POST", R, turn(text={"format": {"type": "json_schema"}}), 400, "unsupported_parameter",
     "text.format.type"),
    ("POST", R, turn(prompt={"id": "p"}), 400, "unsupported_parameter", "prompt"),
    ("POST", R, turn(service_tier="flex"), 400, "unsupported_parameter", "service_tier"),
    ("POST", R, turn(temperature=2.1), 400, "invalid_value", "temperature"),
    ("POST", R, turn(top_p=-0.1), 400, "invalid_value", "top_p"),
    ("POST", R, turn(max_output_tokens=0), 400, "invalid_value", "max_output_tokens"),
    ("POST", R, turn(stream="true"), 400, "invalid_type", "stream"),
    ("POST", R, turn(metadata={"k": "v" * 513}), 400, "too_long", "metadata.k"),
    ("POST", R, turn(metadata={str(n): "v" for n in range(17)}), 400, "too_long", "metadata"),
    ("POST", R, turn(metadata={"k": 1}), 400, "invalid_type", "metadata.k"),
    ("POST", R, turn(metadata=["k"]), 400, "invalid_type", "metadata"),
    ("POST", R, turn(user="a\x00"), 400, "invalid_characters", "user"),
    ("POST", R, turn(user="x" * 129), 400, "too_long", "user"),
    ("POST", R, turn(safety_identifier=7), 400, "invalid_type", "safety_identifier"),
    # chat completions
    ("POST", C, {"model": "echo"}, 400, "missing_required_parameter", "messages"),
    ("POST", C, {"messages": [SAID]}, 400, "missing_required_parameter", "model"),
    ("POST", C, chat(messages=[]), 400, "invalid_value", "messages"),
    ("POST", C, chat(messages=[{"role": "tool", "content": "x", "tool_call_id": "y"}]), 400,
     "unsupported_parameter", "messages[0].role"),
    ("POST", C, chat(messages=[{**SAID, "content": LONG}]), 400, "message_too_long",
     "messages[0].content"),
    ("POST", C, chat(messages=[{**SAID, "content": [{"type": "image_url", "image_url": {}}]}]), 400,
     "unsupported_parameter", "messages[0].content[0].type"),
    ("POST", C, chat(n=2), 400, "unsupported_parameter", "n"),
    ("POST", C, chat(stop="\n"), 400, "unsupported_parameter", "stop"),
    ("POST", C, chat(seed=1), 400, "unsupported_parameter", "seed"),
    ("POST", C, chat(response_format={"type": "json_object"}), 400, "unsupported_parameter",
     "response_format.type"),
    ("POST", C, chat(model="nobody"), 404, "model_not_found", "model"),
    ("POST", C, chat(logprobs=True), 400, "unsupported_parameter", "logprobs"),
    # conversations
    ("POST", V, {"items": [SAID] * 21}, 400, "invalid_value", "items"),
    ("POST", V, {"items": [{**SAID, "role": "king"}]}, 400, "invalid_value", "items[0].role"),
    ("POST", V, {"metadata": {"k\x00": "v"}}, 400, "invalid_characters", "metadata.k\x00"),
    ("POST", V, {"metadata": {"k" * 65: "v"}}, 400, "too_long", f"metadata.{'k' * 64}…"),
    ("POST", V, {"name": "x"}, 400, "unknown_parameter", "name"),
    ("POST", V + "/{c}", {}, 400, "missing_required_parameter", "metadata"),
    ("POST", V + "/{c}", {"metadata": {"a": "\x00"}}, 400, "invalid_characters", "metadata.a"),
    ("POST", V + "/{c}/items", {"items": []}, 400, "invalid_value", "items"),
    ("POST", V + "/{c}/items", {"items": [{**SAID, "content": "\x00"}]}, 400, "invalid_characters",
     "items[0].content"),
    ("DELETE", V + f"/{new_id(SESSION)}", None, 404, "not_found", "conversation_id"),
    ("DELETE", V + "/{c}/items/" + new_id(MESSAGE), None, 404, "not_found", "item_id"),
    # queries and paths
    ("GET", V + "?limit=0", None, 400, "invalid_value", "limit"),
    ("GET", V + "?limit=101", None, 400, "invalid_value", "limit"),
    ("GET", V + "?limit=x", None, 400, "invalid_value", "limit"),
    ("GET", V + "?order=up", None, 400, "invalid_value", "order"),
    ("GET", V + "?after=%00", None, 404, "not_found", "after"),
    ("GET", V + "?colour=red", None, 400, "unknown_parameter", "colour"),
    ("GET", V + "/{c}/items?include[]=x", None, 400, "unknown_parameter", "include[]"),
    ("GET", f"{R}/x?stream=maybe", None, 400, "invalid_value", "stream"),
    ("GET", f"{R}/x?starting_after=-2", None, 400, "invalid_value", "starting_after"),
    ("GET", f"{R}/x?include_obfuscation=true", None, 400, "unsupported_parameter",
     "include_obfuscation"),
    ("DELETE", f"{R}/{new_id(RESPONSE)}", None, 405, "method_not_allowed", None),
    ("GET", "/v1/none", None, 404, "unknown_url", None),
    ("GET", "/v1/models/%00", None, 404, "model_not_found", "model"),
    ("PATCH", V + "/{c}", {}, 405, "method_not_allowed", None),
]  # fmt: skip


async def test_bad_input_leaves_no_trace(house: House) -> None:
    conversation = await house.client.conversations.create(metadata={"a": "b"}, items=[SAID])  # type: ignore[list-item]
    await house.client.conversations.update(conversation.id, metadata={"a": "c"})
    before = await house.data()
    wrong: list[Any] = []
    for method, path, body, status, code, param in CASES:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        content = content.replace(b"{c}", conversation.id.encode())
        answer = await house.http.request(
            method,
            path.replace("{c}", conversation.id),
            content=content if body is not None else None,
            headers={"content-type": "application/json", "x-request-id": "mine"},
        )
        error = answer.json()["error"]
        found = (answer.status_code, error["code"], error["param"], error["request_id"])
        if found != (status, code, param, "mine") or not error["message"] or not error["type"]:
            wrong.append((method, path, str(body)[:200], found))
    assert wrong == []
    assert await house.data() == before
    assert house.agent.requests == []
    await house.client.conversations.delete(conversation.id)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_a_body_that_does_not_say_it_is_json_is_refused(house: House, kind: Any) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await house.http.post(R, content=json.dumps(turn()).encode(), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    assert await house.data() == [[], [], [], []]


@pytest.mark.parametrize("key", ["x" * 129, "é"])
async def test_a_bad_idempotency_key_is_refused(house: House, key: str) -> None:
    answer = await house.http.post(R, json=turn(), headers={"idempotency-key": key.encode()})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert await house.data() == [[], [], [], []]


@pytest.mark.parametrize("place", ["x", "-1", "1.5", "1" * 10])
async def test_a_bad_last_event_id_is_refused(house: House, place: str) -> None:
    answer = await house.http.get(
        f"{R}/{new_id(RESPONSE)}?stream=true", headers={"last-event-id": place}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Last-Event-ID"


async def test_the_limits_are_the_settings(stores: Stores) -> None:
    from gateway.options import InputLimits

    limits = InputLimits(message_chars=5, input_items=2, metadata_pairs=1, max_page_items=3)
    async with open_house(stores, limits=limits) as house:
        for method, path, body, param in [
            ("POST", R, turn(input="123456"), "input"),
            ("POST", R, turn(input=[SAID] * 3), "input"),
            ("POST", R, turn(metadata={"a": "b", "c": "d"}), "metadata"),
            ("POST", C, chat(messages=[SAID] * 3), "messages"),
            ("POST", V, {"items": [SAID] * 3}, "items"),
            ("GET", f"{V}?limit=4", None, "limit"),
        ]:
            answer = await house.http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        document = (await house.http.get("/openapi.json")).json()
        said = document["components"]["schemas"]["CreateResponse"]["properties"]["input"]["oneOf"]
        assert (said[0]["maxLength"], said[1]["maxItems"]) == (5, 2)
        assert "x-limits" not in json.dumps(document)
        stream = document["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"]
        assert "response.resumed" in stream["text/event-stream"]["schema"]["description"]
