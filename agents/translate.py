"""Whatever a provider does wrong → the error tree, decided once and for all providers.

The SDKs' error classes take no part: openai's do not survive pickling, genai's lose their class
on the way, and neither says more than the status and body that arrive here anyway. That our
table agrees with their own idea of what may be retried is checked by the tests.

    answered with a status      401 402 403, or 400 for a key    Unauthorized
                                408                              Timeout
                                409 425 499, all 5xx             Unavailable
                                429                              RateLimited
                                3xx, other 4xx                   Rejected
    an error inside a stream    by its number, else by its word; unknown words are Unavailable
    no connection, or none any more before the first byte        Unavailable
    a connection that breaks once the answer began               Interrupted
    an answer that ends without saying why                       Interrupted
    silence                                                      Timeout
    what the protocol does not allow                             Protocol

A message says who failed and how, in our words. For a refused request the provider's own word
follows, scrubbed, as only it knows which model or length it did not like; for a refused key it
does not, since that is where providers quote keys.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any, cast

import orjson

from agents.answer import NoConnection, NotHttp
from agents.scrub import scrub
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

MAX_RETRY_AFTER_S = 3600.0

_BY_STATUS: dict[int, type[ProviderError]] = {
    401: ProviderUnauthorized,
    402: ProviderUnauthorized,
    403: ProviderUnauthorized,
    408: ProviderTimeout,
    409: ProviderUnavailable,
    425: ProviderUnavailable,
    429: ProviderRateLimited,
    499: ProviderUnavailable,
}

_BY_WORD: dict[str, type[ProviderError]] = {
    # OpenAI's codes and types, as far as they are not Unavailable.
    "rate_limit_exceeded": ProviderRateLimited,
    "rate_limit_error": ProviderRateLimited,
    "insufficient_quota": ProviderRateLimited,
    "requests": ProviderRateLimited,
    "tokens": ProviderRateLimited,
    "invalid_api_key": ProviderUnauthorized,
    "authentication_error": ProviderUnauthorized,
    "permission_error": ProviderUnauthorized,
    "invalid_request_error": ProviderRejected,
    "invalid_prompt": ProviderRejected,
    "bio_policy": ProviderRejected,
    "misalignment_policy_violation": ProviderRejected,
    "data_residency_mismatch": ProviderRejected,
    "context_length_exceeded": ProviderRejected,
    "model_not_found": ProviderRejected,
    "content_policy_violation": ProviderRejected,
    "timeout": ProviderTimeout,
    "vector_store_timeout": ProviderTimeout,
    # Google's status words.
    "resource_exhausted": ProviderRateLimited,
    "unauthenticated": ProviderUnauthorized,
    "permission_denied": ProviderUnauthorized,
    "invalid_argument": ProviderRejected,
    "failed_precondition": ProviderRejected,
    "out_of_range": ProviderRejected,
    "not_found": ProviderRejected,
    "unimplemented": ProviderRejected,
    "deadline_exceeded": ProviderTimeout,
}

_SAYS: dict[type[ProviderError], str] = {
    ProviderUnauthorized: "refuses the key it was given",
    ProviderRejected: "refuses this request",
    ProviderRateLimited: "has reached its rate limit",
    ProviderUnavailable: "is not available",
    ProviderTimeout: "took too long",
    ProviderInterrupted: "broke off its answer",
    ProviderProtocol: "sent what its own protocol does not allow",
}


class Translator:
    """Says what happened in the name of one agent or embedder.

    Args:
        agent: Named in every message.
        provider: Likewise, and in `details`.
        secrets: Texts that no error may hold, whoever wrote them.
        kind: What has this name.
    """

    def __init__(
        self, agent: str, provider: str, secrets: tuple[str, ...] = (), *, kind: str = "agent"
    ) -> None:
        self._who = f"The provider of {kind} '{agent}' ({provider})"
        self._provider = provider
        self._secrets = secrets

    def error(
        self,
        kind: type[ProviderError],
        why: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> ProviderError:
        """An error of this class. `why` is ours, or scrubbed; a full clause without a stop."""
        details: dict[str, Any] = {"provider": self._provider}
        if status is not None:
            details["provider_status"] = status
        message = f"{self._who} {_SAYS[kind]}{': ' if why else ''}{why}"
        if not message.endswith((".", "…")):
            message += "."
        return kind(message, retry_after=retry_after, details=details)

    def status(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """An answer that is not 200; `body` may be cut off."""
        said = error_object(parsed(body))
        if 300 <= status < 400:
            why = f"HTTP {status}, it redirects; is its base_url right?"
            return self.error(ProviderRejected, why, status=status)
        return self._said(kind_of_status(status), said, status, retry_after(headers, said))

    def in_band(self, event: object) -> ProviderError:
        """An event that is an error, inside a stream that began well."""
        said = error_object(event)
        kind, status = _kind_in_band(said)
        return self._said(kind, said, status, retry_after({}, said))

    def not_vectors(self, body: bytes, why: str) -> ProviderError:
        """A 200 whose body does not hold the vectors that were asked for."""
        whole = parsed(body)
        if isinstance(whole, dict) and "error" in whole:
            return self.in_band(cast("dict[str, Any]", whole))
        return self.error(ProviderProtocol, why)

    def not_a_stream(self, body: bytes) -> ProviderError:
        """A 200 whose body is one JSON object where a stream was asked for."""
        whole = parsed(body)
        if isinstance(whole, dict) and "error" in whole:
            return self.in_band(cast("dict[str, Any]", whole))
        return self.error(ProviderProtocol, "it does not stream its answer")

    def transport(self, error: BaseException, *, begun: bool) -> ProviderError:
        """What the HTTP client raised. `begun`: the answer's head had arrived."""
        if isinstance(error, TimeoutError):
            why = "no answer in time" if begun else "no connection in time"
            return self.error(ProviderTimeout, why)
        # Of what is not ours only the class is named: its text may hold the address, which may
        # hold a password.
        why = f"the connection broke ({type(error).__name__})"
        if begun:
            return self.error(ProviderInterrupted, why)
        if isinstance(error, NotHttp):
            return self.error(ProviderProtocol, "it does not answer in HTTP")
        if isinstance(error, NoConnection):
            why = f"no connection ({error})"
        return self.error(ProviderUnavailable, why)

    def _said(
        self,
        kind: type[ProviderError],
        said: dict[str, Any],
        status: int | None,
        wait: float | None,
    ) -> ProviderError:
        if kind is ProviderRejected and "API_KEY_INVALID" in _reasons(said):
            kind = ProviderUnauthorized  # Google answers 400 to a key it does not know
        why = "" if status is None else f"HTTP {status}"
        message = said.get("message")
        if isinstance(message, str) and kind is not ProviderUnauthorized:
            message = scrub(message, self._secrets)
            why = f"{why}, {message}" if why and message else why or message
        return self.error(kind, why, retry_after=wait, status=status)


def kind_of_status(status: int) -> type[ProviderError]:
    """The class for an HTTP status that is not success."""
    if status >= 500:
        return ProviderUnavailable
    if status < 300:
        return ProviderProtocol
    return _BY_STATUS.get(status, ProviderRejected)


def _kind_in_band(error: dict[str, Any]) -> tuple[type[ProviderError], int | None]:
    """The class of an error object, and the status it names, if any."""
    for key in ("code", "status", "type"):
        word = error.get(key)
        if isinstance(word, int) and 400 <= word < 600:
            return kind_of_status(word), word
        if isinstance(word, str):
            if word.isascii() and word.isdigit() and 400 <= int(word[:4]) < 600:
                return kind_of_status(int(word)), int(word)
            if kind := _BY_WORD.get(word.lower()):
                return kind, None
    return ProviderUnavailable, None


def error_object(body: object) -> dict[str, Any]:
    """The error inside a body, whichever way a server wraps it; empty if there is none."""
    if isinstance(body, list) and body:  # Gemini's array form
        body = cast("list[object]", body)[0]
    if not isinstance(body, dict):
        return {}
    fields = cast("dict[str, Any]", body)
    inner = fields.get("error", fields)
    if isinstance(inner, str):  # Ollama
        return {"message": inner}
    if not isinstance(inner, dict):
        return {}
    found = cast("dict[str, Any]", inner)
    if "message" not in found and isinstance(found.get("detail"), str):  # FastAPI
        return {**found, "message": found["detail"]}
    return found


def retry_after(headers: Mapping[str, str], said: dict[str, Any]) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, `Retry-After`, Google's RetryInfo."""
    for name, unit in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value)
        if seconds is not None:
            return _capped(seconds * unit)
        moment = email.utils.parsedate_tz(value)
        if moment is not None:
            return _capped(email.utils.mktime_tz(moment) - time.time())
    for detail in _details(said):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            seconds = _number(delay[:-1])
            if seconds is not None:
                return _capped(seconds)
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _capped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _details(said: dict[str, Any]) -> list[dict[str, Any]]:
    details = said.get("details")
    if not isinstance(details, list):
        return []
    found = cast("list[object]", details)
    return [cast("dict[str, Any]", detail) for detail in found if isinstance(detail, dict)]


def _reasons(said: dict[str, Any]) -> set[object]:
    return {reason for detail in _details(said) if isinstance(reason := detail.get("reason"), str)}


def parsed(body: bytes) -> object:
    """The JSON in a body, or None where it holds none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
