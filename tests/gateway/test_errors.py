"""Every error of the tree as an HTTP answer, and every fault of a body as an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from contracts import errors as tree
from contracts.errors import Busy, Conflict, InvalidRequest, TroupeError, Unauthenticated
from gateway.errors import (
    TurnFailed,
    error_response,
    explain,
    explain_fault,
    field_path,
    http_problem,
)
from gateway.requests import CreateChatCompletion, CreateItems, CreateResponse


def classes(root: type[TroupeError] = TroupeError) -> list[type[TroupeError]]:
    found = [root]
    for child in root.__subclasses__():
        if child.__module__ == tree.__name__:
            found += classes(child)
    return found


@pytest.mark.parametrize("kind", classes())
def test_every_error_of_the_tree_has_an_answer(kind: type[TroupeError]) -> None:
    response = error_response(kind("Why.", param="p", retry_after=1.2), "req_7")
    assert response.status_code == kind.status
    body = json.loads(bytes(response.body))["error"]
    assert body == {
        "message": "Why.",
        "type": kind.kind,
        "param": "p",
        "code": kind.code,
        "request_id": "req_7",
    }
    assert response.headers["retry-after"] == "2"
    if kind.status >= 500:
        assert response.headers["x-should-retry"] == str(kind.retryable).lower()


def test_codes_are_one_per_cause() -> None:
    codes = [kind.code for kind in classes() if kind is not tree.RequestError]  # it is abstract
    assert len(codes) == len(set(codes))


def test_headers_say_what_a_client_should_do() -> None:
    assert error_response(Unauthenticated("No."), "r").headers["www-authenticate"]
    assert error_response(Busy("Full."), "r").headers["x-should-retry"] == "true"
    assert error_response(Conflict("Taken."), "r").headers["x-should-retry"] == "false"
    assert "x-should-retry" not in error_response(InvalidRequest("No."), "r").headers
    assert "retry-after" not in error_response(Busy("Full."), "r").headers


@pytest.mark.parametrize("kind", [kind for kind in classes() if kind.status >= 429])
def test_a_failed_turn_is_the_error_it_failed_of(kind: type[TroupeError]) -> None:
    failed = TurnFailed({"code": kind.code, "message": "Why.", "retry_after": 3})
    assert (failed.status, failed.kind, failed.retryable) == (
        kind.status,
        kind.kind,
        kind.retryable,
    )
    assert (failed.cause_code, failed.message, failed.retry_after) == (kind.code, "Why.", 3)


def test_a_turn_that_failed_of_something_unknown_is_a_bad_gateway() -> None:
    assert TurnFailed({"code": "never_heard_of"}).status == 502
    assert TurnFailed({}).cause_code == "server_error"


@pytest.mark.parametrize(
    ("place", "body", "absent", "path"),
    [
        (("input",), {"input": 1}, False, "input"),
        (("input", "list", 0, "content", "text"), {"input": [{"content": 3}]}, False,
         "input[0].content"),
        (("input", "list", 1, "content", "list", 2, "text"),
         {"input": [{}, {"content": [{}, {}, {"text": 1}]}]}, False, "input[1].content[2].text"),
        (("conversation", "object", "id"), {"conversation": {}}, True, "conversation.id"),
        (("metadata", "a", "[key]"), {"metadata": {"a": "b"}}, False, "metadata.a"),
        (("input",), {}, True, "input"),
        ((), [1], False, None),
        (("limit",), None, False, "limit"),
        (("input", "list", 5), {"input": []}, False, "input[5]"),
        (("x\ud800",), {"x\ud800": 1}, False, "x\\ud800"),
    ],
)  # fmt: skip
def test_a_fault_is_named_as_the_caller_spelled_it(
    place: tuple[int | str, ...], body: Any, absent: bool, path: str | None
) -> None:
    assert field_path(place, body, absent) == path


def test_a_path_is_never_longer_than_is_fit_to_quote() -> None:
    assert len(field_path(("k" * 5000,), {"k" * 5000: 1}, False) or "") == 200


SAID = {"role": "user", "content": "hi"}
FAULTS: list[tuple[type[Any], Any, str, str]] = [
    (CreateResponse, {"input": 3}, "invalid_type", "input"),
    (CreateResponse, {"input": None}, "invalid_type", "input"),
    (CreateResponse, {"input": ""}, "invalid_value", "input"),
    (CreateResponse, {"input": ["hi"]}, "invalid_type", "input[0]"),
    (CreateResponse, {"input": "a\x00"}, "invalid_characters", "input"),
    (CreateResponse, {"input": "a\ud800"}, "invalid_characters", "input"),
    (CreateResponse, {"input": [{"content": "x"}]}, "missing_required_parameter", "input[0].role"),
    (CreateResponse, {"input": [{**SAID, "role": "king"}]}, "invalid_value", "input[0].role"),
    (CreateResponse, {"input": [SAID, {**SAID, "content": 1}]}, "invalid_type", "input[1].content"),
    (CreateResponse, {"input": [{**SAID, "content": []}]}, "invalid_value", "input[0].content"),
    (CreateResponse, {"input": [{**SAID, "type": "function_call"}]}, "unsupported_parameter",
     "input[0].type"),
    (CreateResponse, {"input": [{**SAID, "content": [{"type": "input_image", "image_url": "x"}]}]},
     "unsupported_parameter", "input[0].content[0].type"),
    (CreateResponse, {"input": [{**SAID, "content": [{"type": "input_text"}]}]},
     "missing_required_parameter", "input[0].content[0].text"),
    (CreateResponse, {"input": "a", "colour": 1}, "unknown_parameter", "colour"),
    (CreateResponse, {"input": "a", "stream": "yes"}, "invalid_type", "stream"),
    (CreateResponse, {"input": "a", "temperature": 3}, "invalid_value", "temperature"),
    (CreateResponse, {"input": "a", "temperature": "1"}, "invalid_type", "temperature"),
    (CreateResponse, {"input": "a", "max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
    (CreateResponse, {"input": "a", "max_output_tokens": True}, "invalid_type",
     "max_output_tokens"),
    (CreateResponse, {"input": "a", "max_output_tokens": 2**40}, "invalid_value",
     "max_output_tokens"),
    (CreateResponse, {"input": "a", "conversation": {}}, "missing_required_parameter",
     "conversation.id"),
    (CreateResponse, {"input": "a", "conversation": 4}, "invalid_type", "conversation"),
    (CreateResponse, {"input": "a", "tools": [{"type": "web_search"}]}, "unsupported_parameter",
     "tools"),
    (CreateResponse, {"input": "a", "text": {"format": {"type": "json_object"}}},
     "unsupported_parameter", "text.format.type"),
    (CreateResponse, {"input": "a", "store": False}, "unsupported_parameter", "store"),
    (CreateResponse, {"input": "a", "top_logprobs": False}, "unsupported_parameter",
     "top_logprobs"),
    (CreateResponse, {"input": "a", "metadata": {"k": 1}}, "invalid_type", "metadata.k"),
    (CreateResponse, {"input": "a", "metadata": {"k\x00": "v"}}, "invalid_characters",
     "metadata.k\x00"),
    (CreateResponse, {"input": "a", "metadata": {"k": "\x1b"}}, "invalid_characters", "metadata.k"),
    (CreateResponse, {"input": "a", "user": "\x7f"}, "invalid_characters", "user"),
    (CreateResponse, [], "invalid_type", None),
    (CreateItems, {"items": [SAID] * 21}, "invalid_value", "items"),
    (CreateChatCompletion, {"model": "a", "messages": [{"role": "tool", "content": "x"}]},
     "unsupported_parameter", "messages[0].role"),
    (CreateChatCompletion, {"model": "a", "messages": [SAID], "n": 2}, "unsupported_parameter",
     "n"),
    (CreateChatCompletion, {"model": "a", "messages": [SAID], "stop": ["x"]},
     "unsupported_parameter", "stop"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "code", "param"), FAULTS)
def test_the_first_fault_has_a_code_and_a_place(
    model: type[Any], body: Any, code: str, param: str | None
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    fault = caught.value.errors()[0]
    error = explain_fault(fault, fault["loc"], body)
    assert (error.cause_code, error.param, error.status) == (code, param, 400)
    assert error.message.endswith(".")


ACCEPTED: list[dict[str, Any]] = [
    {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "truncation": "disabled"},
    {"text": {"format": {"type": "text"}, "verbosity": "medium"}, "include": [], "store": True},
    {"reasoning": {"effort": None, "summary": None}, "service_tier": "auto", "top_logprobs": 0},
    {"stream_options": {"include_obfuscation": False}, "prompt_cache_key": "k", "prompt": None},
    {"conversation": None, "previous_response_id": None, "metadata": None, "instructions": None},
    {"temperature": 1, "top_p": 0.5, "max_output_tokens": 16, "background": False},
]


@pytest.mark.parametrize("extra", ACCEPTED)
def test_parameters_that_ask_for_nothing_are_accepted(extra: dict[str, Any]) -> None:
    assert CreateResponse.model_validate({"input": "hi", **extra}).input == "hi"


def test_an_output_item_may_be_sent_back_as_input() -> None:
    item = {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
    }
    assert CreateResponse.model_validate({"input": [item]}).input[0].role == "assistant"  # type: ignore[union-attr]


def test_a_fault_of_the_query_is_named_too() -> None:
    found = {"type": "int_parsing", "loc": ("query", "limit"), "msg": "No number", "input": "x"}
    error = explain(RequestValidationError([found], body=None))
    assert (error.cause_code, error.param) == ("invalid_value", "limit")


@pytest.mark.parametrize(
    ("status", "code"), [(404, "unknown_url"), (405, "method_not_allowed"), (400, "invalid_json")]
)
def test_the_frameworks_own_refusals_have_our_shape(status: int, code: str) -> None:
    error = http_problem(HTTPException(status))
    assert (error.status, error.cause_code, error.kind) == (status, code, "invalid_request_error")
