"""Tickets: what a browser shows at the WebSocket's door in place of a header it cannot set."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from gateway.answers import TicketObject
from gateway.auth import Doors
from gateway.call import Caller, StrictRoute, answer
from gateway.document import FAILURES, ok

router = APIRouter(route_class=StrictRoute, tags=["Tickets"], responses=FAILURES)


@router.post("/v1/tickets", operation_id="createTicket", responses=ok(TicketObject))
async def create(call: Caller) -> Response:
    """A ticket for `?ticket=` of a WebSocket's address, good for a short while."""
    doors: Doors = call.request.app.state.doors
    ticket, expires_at = doors.issue(call.principal)
    return answer({"ticket": ticket, "expires_at": expires_at})
