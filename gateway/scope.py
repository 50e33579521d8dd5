"""What the edge has found out about a request, carried in its ASGI scope."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.types import Scope

from contracts.ids import REQUEST, new_id
from gateway.auth import Principal

_KEY = "troupe.request"
_SANE = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


@dataclass(slots=True)
class RequestContext:
    """`principal` is None until the door is passed, and for pages that have none."""

    request_id: str
    principal: Principal | None = None


def enter(scope: Scope) -> RequestContext:
    """Give the request its id: the caller's `x-request-id` where it is sane, else a new one."""
    given = header(scope, b"x-request-id")
    request_id = given if given and _SANE.fullmatch(given) else new_id(REQUEST)
    context = RequestContext(request_id)
    scope[_KEY] = context
    return context


def request_id_of(scope: Scope) -> str:
    """The request's id; every log line and error of it has the same."""
    context: RequestContext = scope[_KEY]
    return context.request_id


def principal_of(scope: Scope) -> Principal:
    """Who is asking. Only for routes behind the door."""
    context: RequestContext = scope[_KEY]
    assert context.principal is not None, "the route is not behind the door"
    return context.principal


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
