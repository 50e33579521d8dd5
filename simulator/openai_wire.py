"""What OpenAI's two endpoints share: errors, models, ids."""

from __future__ import annotations

from simulator.asks import Refusal
from simulator.wire import dumps

FAULT_WORDS = {
    400: (
        "invalid_request_error",
        "invalid_request",
        "The simulator was told to refuse this.",
    ),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request.",
    ),
    503: ("server_error", "service_unavailable", "The engine is currently overloaded."),
}
MODELS = ("simulated", "scripted")


def error(status: int, refusal: Refusal) -> bytes:
    """OpenAI's error body."""
    kind, code, _ = FAULT_WORDS.get(status, ("invalid_request_error", None, ""))
    return error_body(refusal.message, kind, refusal.param, refusal.code or code)


def words(status: int) -> str:
    """What OpenAI says with a status, roughly."""
    return FAULT_WORDS[status][2]


def overloaded() -> bytes:
    """The error that comes in the middle of an answer."""
    kind, code, message = FAULT_WORDS[503]
    return error_body(message, kind, None, code)


def limits(left: int | None) -> bytes:
    """The header lines that tell of rate limits: `left` of 60 requests a minute, None: plenty."""
    if left is None:
        return PLENTY
    return _limits(60, left, b"%ds" % (60 - left))


def _limits(limit: int, left: int, reset: bytes) -> bytes:
    return b"".join(
        b"x-ratelimit-%b: %b\r\n" % line
        for line in (
            (b"limit-requests", b"%d" % limit),
            (b"remaining-requests", b"%d" % left),
            (b"reset-requests", reset),
            (b"limit-tokens", b"10000000"),
            (b"remaining-tokens", b"9999000"),
            (b"reset-tokens", b"6ms"),
        )
    )


PLENTY = _limits(10_000, 9_999, b"6ms")


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """The error object under its key."""
    return dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def model_object(name: str) -> dict[str, object]:
    """A model as `GET /v1/models` shows it."""
    return {
        "id": name,
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "simulator",
    }
