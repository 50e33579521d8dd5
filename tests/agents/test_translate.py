"""One table for all providers."""

from __future__ import annotations

import email.utils
import time
from typing import get_args

import openai
import orjson
import pytest
from openai.types.responses import response_error

from agents.answer import Broken, NoConnection, NotHttp
from agents.translate import MAX_RETRY_AFTER_S, Translator, kind_of_status, retry_after
from contracts.errors import (
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from tests.agents.canned import CannedServer, whole
from tests.agents.conformance import check_error

T = Translator("gpt", "openai", ("very-secret-key",))


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (204, ProviderProtocol, True),
        (301, ProviderRejected, False),
        (307, ProviderRejected, False),
        (400, ProviderRejected, False),
        (401, ProviderUnauthorized, False),
        (402, ProviderUnauthorized, False),
        (403, ProviderUnauthorized, False),
        (404, ProviderRejected, False),
        (405, ProviderRejected, False),
        (408, ProviderTimeout, True),
        (409, ProviderUnavailable, True),
        (413, ProviderRejected, False),
        (422, ProviderRejected, False),
        (425, ProviderUnavailable, True),
        (429, ProviderRateLimited, True),
        (499, ProviderUnavailable, True),
        (500, ProviderUnavailable, True),
        (502, ProviderUnavailable, True),
        (503, ProviderUnavailable, True),
        (504, ProviderUnavailable, True),
        (529, ProviderUnavailable, True),
    ],
)
def test_statuses(status: int, kind: type[ProviderError], retryable: bool) -> None:
    error = T.status(status, {}, b"<html>no JSON</html>")
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.details == {"provider": "openai", "provider_status": status}
    assert "html" not in error.message
    check_error(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503])
async def test_the_sdk_would_retry_the_same(status: int) -> None:
    refusal = whole(b"{}", "retry-after-ms: 1", status=f"{status} X")
    async with CannedServer(refusal) as server:
        client = openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=1)
        async with client:
            with pytest.raises(openai.APIStatusError):
                await client.models.list()
        assert (len(server.requests) == 2) is kind_of_status(status).retryable


def soon(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, MAX_RETRY_AFTER_S),
        ({"Retry-After": "99999999"}, MAX_RETRY_AFTER_S),
        ({"Retry-After": soon(-60)}, 0.0),
        ({"Retry-After": soon(10**8)}, MAX_RETRY_AFTER_S),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"retry-after-ms": "?", "Retry-After": "7"}, 7.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, {}) == seconds
    assert T.status(429, headers, b"").retry_after == seconds
    assert T.status(503, headers, b"").retry_after == seconds


def test_retry_after_as_a_date() -> None:
    wait = retry_after({"Retry-After": soon(100)}, {})
    assert wait is not None
    assert 50 < wait <= 101


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}], 12.5),
        ([{"@type": "…Help"}, {"retryDelay": "1s"}], 1.0),
        ([{"retryDelay": "?s"}, "no object"], None),
        ([{"retryDelay": 5}], None),
        ("none", None),
    ],
)
def test_retry_info(details: object, seconds: float | None) -> None:
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Wait.", "details": details}
    for body in ({"error": error}, [{"error": error}]):
        assert T.status(429, {}, orjson.dumps(body)).retry_after == seconds
    assert T.in_band({"error": error}).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "status": "UNAVAILABLE"}, ProviderUnavailable),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, ProviderRateLimited),
        ({"status": "RESOURCE_EXHAUSTED"}, ProviderRateLimited),
        ({"code": 400, "status": "INVALID_ARGUMENT"}, ProviderRejected),
        ({"status": "DEADLINE_EXCEEDED"}, ProviderTimeout),
        ({"status": "INTERNAL"}, ProviderUnavailable),
        ({"code": "401"}, ProviderUnauthorized),
        ({"code": "rate_limit_exceeded", "type": "requests"}, ProviderRateLimited),
        ({"code": None, "type": "server_error"}, ProviderUnavailable),
        ({"code": "context_length_exceeded"}, ProviderRejected),
        ({"type": "invalid_request_error"}, ProviderRejected),
        ({"code": "invalid_api_key"}, ProviderUnauthorized),
        ({"code": 7}, ProviderUnavailable),
        ({}, ProviderUnavailable),
        ("just a text", ProviderUnavailable),
        (["a list"], ProviderUnavailable),
        (17, ProviderUnavailable),
    ],
)
def test_errors_inside_a_stream(error: object, kind: type[ProviderError]) -> None:
    found = T.in_band({"error": error})
    assert type(found) is kind
    check_error(found)


def codes_of_responses() -> list[str]:
    """What a response can fail with, says the SDK; images are left out, as none are sent."""
    codes = list(get_args(response_error.ResponseError.model_fields["code"].annotation))
    return [code for code in codes if "image" not in code]


@pytest.mark.parametrize("code", codes_of_responses())
def test_every_code_of_the_responses_api_is_decided_upon(code: str) -> None:
    decided = {
        "server_error": ProviderUnavailable,
        "rate_limit_exceeded": ProviderRateLimited,
        "vector_store_timeout": ProviderTimeout,
        "invalid_prompt": ProviderRejected,
        "bio_policy": ProviderRejected,
        "misalignment_policy_violation": ProviderRejected,
        "data_residency_mismatch": ProviderRejected,
    }
    assert type(T.in_band({"error": {"code": code, "message": "No."}})) is decided[code]


def test_google_says_400_to_an_unknown_key() -> None:
    error = {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
    }
    assert type(T.status(400, {}, orjson.dumps({"error": error}))) is ProviderUnauthorized


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "No model very-secret-key, try gpt-9."}},
        {"error": "No model very-secret-key, try gpt-9."},
        {"detail": "No model very-secret-key, try gpt-9."},
        {"message": "No model very-secret-key, try gpt-9."},
        [{"error": {"message": "No model very-secret-key, try gpt-9."}}],
    ],
)
def test_why_a_request_is_refused_is_passed_on(body: object) -> None:
    error = T.status(404, {}, orjson.dumps(body))
    assert "No model [redacted], try gpt-9." in error.message
    check_error(error, "very-secret-key")


@pytest.mark.parametrize("status", [401, 402, 403])
def test_of_a_refused_key_nothing_is_passed_on(status: int) -> None:
    body = {"error": {"message": "Key ending in 1234 is wrong", "code": "invalid_api_key"}}
    error = T.status(status, {}, orjson.dumps(body))
    assert "1234" not in error.message


@pytest.mark.parametrize(
    ("raised", "before", "after"),
    [
        (NoConnection("gaierror"), ProviderUnavailable, ProviderInterrupted),
        (NotHttp("x"), ProviderProtocol, ProviderInterrupted),
        (Broken("x"), ProviderUnavailable, ProviderInterrupted),
        (ConnectionResetError(), ProviderUnavailable, ProviderInterrupted),
        (TimeoutError(), ProviderTimeout, ProviderTimeout),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_the_transport_raises(
    raised: Exception, before: type[ProviderError], after: type[ProviderError]
) -> None:
    for begun, kind in ((False, before), (True, after)):
        error = T.transport(raised, begun=begun)
        assert type(error) is kind
        check_error(error)
