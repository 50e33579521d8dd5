"""Every failure as an HTTP answer: OpenAI's error object, one code per cause, the request's id.

Nothing that happens inside leaks: what Troupe did not raise on purpose becomes a bare 500, and
its traceback goes to the log under the same request id.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from contracts.errors import InvalidRequest, ProviderError, TroupeError
from gateway.presence import ClientGone
from gateway.projection import error_body
from gateway.scope import request_id_of
from gateway.text import FORBIDDEN_MESSAGE, printable

log = logging.getLogger("troupe.gateway.errors")

# Where the same request may well succeed later, a client may try again by itself. OpenAI's
# clients retry all of these statuses unless told otherwise.
_RETRIED_BY_CLIENTS = frozenset({408, 409, 429})

_CODES = {
    "json_invalid": "invalid_json",
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "string_unicode": "invalid_characters",
    "unsupported_parameter": "unsupported_parameter",
    "invalid_characters": "invalid_characters",
}
OUR_FAULT = "Something went wrong on our side."
_MESSAGES = {
    "missing_required_parameter": "This parameter is required.",
    "unknown_parameter": "There is no such parameter.",
    "invalid_characters": FORBIDDEN_MESSAGE,
}


class Internal(TroupeError):
    """Something went wrong that Troupe did not foresee."""


class HttpProblem(TroupeError):
    """A refusal that HTTP itself defines: no such route, method not allowed."""

    kind = "invalid_request_error"

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message, code=code)
        self.status = status  # type: ignore[misc]


class TurnFailed(TroupeError):
    """A turn ended as failed, for a caller to whom that is an HTTP error.

    Args:
        failure: The record's `error`: `code` and `message`. Status and kind are those of the
            class in the error tree that has this code.
    """

    def __init__(self, failure: Mapping[str, Any]) -> None:
        code = str(failure.get("code", "server_error"))
        cause = _CLASS_BY_CODE.get(code, ProviderError)
        super().__init__(
            str(failure.get("message", "The turn failed.")),
            code=code,
            retry_after=failure.get("retry_after"),
        )
        self.status = cause.status  # type: ignore[misc]
        self.kind = cause.kind  # type: ignore[misc]
        self.retryable = cause.retryable  # type: ignore[misc]


def error_response(error: TroupeError, request_id: str) -> Response:
    """The HTTP answer for `error`."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after)))
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="troupe"'
    if error.status in _RETRIED_BY_CLIENTS or error.status >= 500:
        headers["x-should-retry"] = "true" if error.retryable else "false"
    return Response(
        orjson.dumps(error_body(error, request_id)),
        error.status,
        headers,
        media_type="application/json",
    )


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Have `app` answer every failure in this shape.

    Args:
        routes: All of them, to say which methods a path has: several routes may share one.
    """

    async def on_troupe(request: Request, error: Exception) -> Response:
        assert isinstance(error, TroupeError)
        if error.status >= 500:
            log.warning("%s: %s: %s", request_id_of(request.scope), error.cause_code, error.message)
        return error_response(error, request_id_of(request.scope))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_response(explain(error), request_id_of(request.scope))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = error_response(http_problem(error), request_id_of(request.scope))
        response.headers.update(error.headers or {})
        if error.status_code == 405 and (methods := _methods(routes, request.scope)):
            response.headers["allow"] = methods
        return response

    async def on_unexpected(request: Request, error: Exception) -> Response:
        # The edge logs it: Starlette raises it again after this answer.
        return error_response(Internal(OUR_FAULT), request_id_of(request.scope))

    async def on_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; the access log does

    app.add_exception_handler(ClientGone, on_gone)
    app.add_exception_handler(TroupeError, on_troupe)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected)


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found))


def http_problem(error: HTTPException) -> TroupeError:
    """A refusal of the framework in our words."""
    if error.status_code == 400:
        # The only one the framework raises by itself: a body that is JSON by name alone.
        return InvalidRequest("The body is not valid JSON.", code="invalid_json")
    status = HTTPStatus(error.status_code)
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(status, status.name.lower())
    return HttpProblem(error.status_code, f"{status.phrase}.", code)


def explain(error: RequestValidationError) -> InvalidRequest:
    """The first thing that is wrong with an HTTP request, with the path of the field."""
    found: Mapping[str, Any] = error.errors()[0]
    source, *place = found["loc"]
    return explain_fault(found, place, error.body if source == "body" else None)


def explain_fault(
    found: Mapping[str, Any], place: Sequence[int | str], body: Any
) -> InvalidRequest:
    """One fault that pydantic found in `body`, as an error that names the field."""
    kind = str(found["type"])
    code = _CODES.get(kind) or ("invalid_type" if kind.endswith("_type") else "invalid_value")
    if code == "invalid_json":
        return InvalidRequest("The body is not valid JSON.", code=code)
    param = field_path(place, body, kind == "missing")
    message = _MESSAGES.get(code) or f"{printable(str(found['msg']))}."
    return InvalidRequest(message, param=param, code=code)


def field_path(place: Sequence[int | str], body: Any, absent: bool) -> str | None:
    """Spell a validation error's location as the caller would: `input[0].content`.

    A location also names the branch of a union that was tried. Those parts are told from fields
    by walking the body: they are not in it. `absent`: the last part is a field that is missing.
    """
    path = ""
    here = body
    for index, part in enumerate(place):
        if isinstance(here, list):
            if not isinstance(part, int):
                continue
            path += f"[{part}]"
            here = here[part] if part < len(here) else None  # type: ignore[reportUnknownVariableType]
        elif isinstance(here, dict):
            if part not in here and not (absent and index == len(place) - 1):
                continue
            path += f".{part}" if path else str(part)
            here = here.get(part)  # type: ignore[reportUnknownMemberType]
        elif body is None:
            path += f".{part}" if path else str(part)
    return printable(path) or None


def _by_code(error: type[TroupeError]) -> dict[str, type[TroupeError]]:
    found = {error.code: error}
    for child in error.__subclasses__():
        # Classes of this module borrow their code from a cause; they are none.
        if child.__module__ != __name__:
            found |= {code: kind for code, kind in _by_code(child).items() if code not in found}
    return found


_CLASS_BY_CODE = _by_code(TroupeError)
