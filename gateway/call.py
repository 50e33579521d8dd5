"""What every HTTP route works with: the caller, the services, strict JSON in and out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from contracts.commands import SessionKey
from contracts.errors import NotFound
from contracts.ids import SESSION, is_id
from gateway.auth import Principal
from gateway.errors import HttpProblem
from gateway.options import Services
from gateway.scope import principal_of, request_id_of

ID_CHARS = 38
_OF_THE_STORE = frozenset({"after", "item_id", "schedule_id"})
"""Fields that the store names by itself, since only it knows which of two was not there."""


class _StrictRequest(Request):
    """Reads JSON as RFC 8259 has it: no NaN, no lone surrogates, no bottomless nesting."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route whose body is strict JSON and says so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(given: Request) -> Response:
            request = _StrictRequest(given.scope, given.receive)
            if self.body_field is not None and await request.body():
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if not (kind == "application/json" or kind.endswith("+json")):
                    raise HttpProblem(
                        415,
                        "The body must be JSON, with `Content-Type: application/json`.",
                        "unsupported_media_type",
                    )
            return await handle(request)

        return strictly


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a route sees it."""

    services: Services
    principal: Principal
    request_id: str
    request: Request

    def key(self, session_id: str, param: str) -> SessionKey:
        """A conversation's address; an id that cannot exist is not found. Raises `NotFound`."""
        return SessionKey(self.principal.org_id, well_formed(session_id, SESSION, param))


def _call(request: Request) -> Call:
    services: Services = request.app.state.services
    return Call(services, principal_of(request.scope), request_id_of(request.scope), request)


@contextmanager
def naming(param: str) -> Generator[None, None, None]:
    """Say which of the request's fields named what is not there.

    Only the route knows: to the session and to the store it is just an address.
    """
    try:
        yield
    except NotFound as error:
        if error.param not in _OF_THE_STORE:
            error.param = param
        raise


Caller = Annotated[Call, Depends(_call)]


@dataclass(frozen=True, slots=True)
class OperatorsCall:
    """One request behind the operators' door: it acts for no organization."""

    services: Services
    request: Request


def _operators_call(request: Request) -> OperatorsCall:
    return OperatorsCall(request.app.state.services, request)


Operator = Annotated[OperatorsCall, Depends(_operators_call)]


def well_formed(value: str, prefix: str, param: str) -> str:
    """`value` if it has the form of such an id; else it names nothing. Raises `NotFound`."""
    if len(value) > ID_CHARS or not is_id(value, prefix):
        raise NotFound("There is nothing under that id.", param=param)
    return value


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, media_type="application/json")
