"""The gateway as one ASGI application: the edge, the routes, the sockets, the pages."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from console import static_directory
from contracts.errors import Busy, NotFound, TroupeError
from gateway import (
    admin,
    chat,
    conversations,
    document,
    endpoints,
    errors,
    health,
    models,
    pages,
    responses,
    routes,
    schedules,
    spend,
    tickets,
)
from gateway.auth import Doors, Principal
from gateway.edge import Edge
from gateway.options import Services
from gateway.scope import RequestContext
from gateway.sink import take_sink
from gateway.socket import websocket_endpoint

_SOCKET_PATH = re.compile(r"/v1/conversations/([^/]{1,64})/ws")
_EXPOSED = ("x-request-id", "retry-after", "etag")
_ALLOWED = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "last-event-id",
    "x-request-id",
)


def build_app(services: Services) -> ASGIApp:
    """Everything a client can reach, for any ASGI server."""
    options = services.options
    doors = Doors(
        open_doors=options.open_doors,
        api_keys=options.api_keys,
        organization=options.organization,
        cors_origins=options.cors_origins,
        admin_key=options.admin_key,
        ticket_ttl_s=options.ticket_ttl_s,
    )

    async def sockets(
        context: RequestContext,
        refused: Busy | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        found = _SOCKET_PATH.fullmatch(scope["path"])
        principal: Principal | TroupeError
        if refused is not None:
            principal = refused
        elif found is None:
            principal = NotFound("There is no socket here.", code="unknown_url")
        else:
            try:
                principal = doors.admit_socket(scope)
            except TroupeError as error:
                principal = error
        # They stay as long as the socket, and nobody asks for them again.
        scope["headers"] = []
        session_id = found[1] if found else ""
        await websocket_endpoint(
            services,
            principal,
            session_id,
            context.request_id,
            receive,
            send,
            take_sink(scope),
        )

    app: ASGIApp = Edge(
        _http(services, doors),
        sockets,
        doors,
        body_bytes=options.body_bytes,
        body_timeout_s=options.body_timeout_s,
        open_requests=options.open_requests,
    )
    if options.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=options.cors_origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
        )
    return app


def _http(services: Services, doors: Doors) -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.doors = doors
    parts = (
        responses,
        conversations,
        schedules,
        chat,
        models,
        tickets,
        admin,
        routes,
        spend,
        endpoints,
        health,
    )
    for part in parts:
        app.include_router(part.router)
    errors.install(app, [route for part in parts for route in part.router.routes])
    pages.install(app, static_directory())

    document.install(app, services.options.limits)
    return app
