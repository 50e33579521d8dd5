"""Whether the gateway lives, and whether what it depends on does."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.answers import AliveObject, ReadyObject
from gateway.call import answer
from gateway.document import ok
from gateway.options import Services

router = APIRouter(tags=["Health"])

_REQUIRED = frozenset({"postgres", "hosts"})


@router.get(
    "/healthz", operation_id="alive", responses=ok(AliveObject), openapi_extra={"security": []}
)
async def alive() -> Response:
    """The process answers; says nothing of anything else."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="ready",
    responses={**ok(ReadyObject), **ok(ReadyObject, 503)},
    openapi_extra={"security": []},
)
async def ready(request: Request) -> Response:
    """Each dependency by itself. Without Redis Troupe is slower; without the others it is away."""
    services: Services = request.app.state.services
    found = await services.health()
    away = {name for name, state in found.items() if state != "ok"}
    status = "unavailable" if away & _REQUIRED else "degraded" if away else "ok"
    code = 503 if status == "unavailable" else 200
    return answer({"status": status, "dependencies": found}, code)
