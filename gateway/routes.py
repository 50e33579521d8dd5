"""The rules, for operators: in order, the way of one message, what new ones would change."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest
from contracts.policies import BASE
from gateway.admin_answers import ExplainObject, ReplayObject, RoutesObject
from gateway.admin_requests import Explain, Replay, RoutesQuery
from gateway.call import Operator, StrictRoute, answer
from gateway.document import FAILURES, ok
from gateway.options import AUTO
from gateway.retold import compared, explained
from gateway.text import check_length
from gateway.turns import check_metadata

router = APIRouter(route_class=StrictRoute, tags=["Routes"], responses=FAILURES)


@router.get("/admin/v1/routes", operation_id="listRoutes", responses=ok(RoutesObject))
async def list_all(call: Operator, query: Annotated[RoutesQuery, Query()]) -> Response:
    """The rules in force, in the order in which they are asked, and where each comes from."""
    listing = call.services.rulebook.standing.of(query.org or "")
    told = {"org": query.org, "version": listing.version, "rules": list(listing.rows)}
    return answer(told)


@router.post("/admin/v1/routes/explain", operation_id="explainRoute", responses=ok(ExplainObject))
async def explain(call: Operator, body: Explain) -> Response:
    """The way of one message through the rules. No model is asked."""
    limits = call.services.options.limits
    check_length(body.text, "text", limits.message_chars)
    check_metadata(body.metadata, limits)
    for param, name in (("user", body.user), ("model", body.model), ("agent", body.session.agent)):
        check_length(name or "", param, limits.id_chars)
    standing = call.services.rulebook.standing
    org_id = body.org or ""
    given = RoutingInput(
        text=body.text,
        metadata=body.metadata or {},
        user=body.user,
        now=time.time() if body.now is None else body.now,
        org_id=org_id,
        org_tier=standing.tiers.get(org_id, ""),
        turn=body.session.turns + 1,
        agent=body.session.agent,
        failures=body.session.failures,
    )
    return answer(explained(standing, body.model, given))


@router.post("/admin/v1/routes/replay", operation_id="replayRoutes", responses=ok(ReplayObject))
async def replay(call: Operator, body: Replay) -> Response:
    """Lead stored messages of an organization through other rules, and say what would change.

    With `text`, a policy for `scope` as `putPolicy` takes it, those that would then be in force;
    without, those that are. Nothing is kept, and no model is asked.
    """
    services = call.services
    org_id = body.org or (services.options.organization if body.scope == BASE else body.scope)
    if body.scope not in (BASE, org_id):
        raise InvalidRequest(
            "It is for another organization than these messages.",
            param="scope",
            code="invalid_scope",
        )
    standing = await services.rulebook.draft(body.scope, body.text)
    rows = await services.routed.since(
        org_id, body.since, model=AUTO, limit=body.limit + 1, before=body.before
    )
    stored, more = rows[: body.limit], len(rows) > body.limit
    told = await asyncio.to_thread(compared, standing, org_id, stored)
    last = stored[-1].response_id if stored else None
    return answer({"org": org_id, **told, "has_more": more, "last_id": last})
