"""The OpenAPI document: what the routes say of themselves, with the limits that are in force."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, cast

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import ErrorBody, ResponseObject
from gateway.fields import LIMITS
from gateway.options import InputLimits

Responses = dict[int | str, dict[str, Any]]

_OWN_EVENTS = (
    "OpenAI's events, and one of Troupe's own. `response.resumed` "
    '`{"response_id", "policy", "position", "reason"}`: the host of the response was lost and '
    "another goes on with it; whoever shows its text cuts it to the first `position` characters "
    "(Unicode code points) and appends what follows. A client that does not know the event is told "
    "the whole text at the end. `sequence_number` grows, with gaps where a host was lost."
)

FAILURES: Responses = {
    "4XX": {"model": ErrorBody, "description": "The caller must change something."},
    "5XX": {"model": ErrorBody, "description": "Troupe or an agent's provider failed."},
}


def ok(model: type[BaseModel], status: int = 200) -> Responses:
    """An operation that answers with `model`."""
    return {status: {"model": model, "description": "Done."}}


def ok_or_stream(model: type[BaseModel]) -> Responses:
    """An operation that answers with `model`, or with server-sent events if asked to stream."""
    stream: dict[str, Any] = {"type": "string"}
    if model is ResponseObject:
        stream["description"] = _OWN_EVENTS
    return {
        200: {
            "model": model,
            "description": "Done, or a stream of events.",
            "content": {"text/event-stream": {"schema": stream}},
        }
    }


def install(app: FastAPI, limits: InputLimits) -> None:
    """Serve the document of `app` at `/openapi.json`."""
    written: list[bytes] = []

    async def document(request: Request) -> Response:
        if not written:
            # Some tenths of a second of pure Python, which nobody's stream should wait for.
            written.append(await asyncio.to_thread(lambda: orjson.dumps(describe(app, limits))))
        return Response(written[0], media_type="application/json")

    app.add_route("/openapi.json", document, methods=["GET", "HEAD"], include_in_schema=False)


def describe(app: FastAPI, limits: InputLimits) -> dict[str, Any]:
    """The document of `app`."""
    document = get_openapi(
        title="Troupe",
        version="1",
        summary="An actor runtime for chat agents",
        description=(
            "OpenAI's shapes. Live sessions: the WebSocket at `/v1/conversations/{id}/ws`. "
            "What is not listed is refused with `param`."
        ),
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    _fill_in(document, asdict(limits))
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                _never_null(parameter["schema"])
    return document


def _never_null(schema: dict[str, Any]) -> None:
    """A header or a query parameter is there or not: it has no way to be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update({**kinds[0], **schema})


def _fill_in(node: Any, limits: dict[str, int]) -> None:
    """Replace every mark of `gateway.fields` by the limit it names."""
    if isinstance(node, dict):
        schema = cast("dict[str, Any]", node)
        for keyword, name in schema.pop(LIMITS, {}).items():
            schema[keyword] = min(limits[name], schema.get(keyword, limits[name]))
        for child in schema.values():
            _fill_in(child, limits)
    elif isinstance(node, list):
        for child in cast("list[Any]", node):
            _fill_in(child, limits)
