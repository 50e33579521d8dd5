"""The rules, for operators: in order, the way of one message, what new ones would change."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest, StoreUnavailable
from contracts.limits import Reports
from contracts.policies import BASE
from gateway.admin_answers import ExplainObject, ReplayObject, RoutesObject
from gateway.admin_requests import Explain, Replay, RoutesQuery
from gateway.call import Operator, StrictRoute, answer
from gateway.document import FAILURES, ok
from gateway.endpoints import together
from gateway.options import AUTO
from gateway.retold import compared, explained
from gateway.text import check_length
from gateway.turns import check_metadata

log = logging.getLogger("troupe.gateway.routes")
_CANDIDATE = ("endpoint", "state", "expected_ms", "running")

router = APIRouter(route_class=StrictRoute, tags=["Routes"], responses=FAILURES)


@router.get("/admin/v1/routes", operation_id="listRoutes", responses=ok(RoutesObject))
async def list_all(call: Operator, query: Annotated[RoutesQuery, Query()]) -> Response:
    """The rules in force, in the order in which they are asked, and where each comes from."""
    listing = call.services.rulebook.standing.of(query.org or "")
    told = {"org": query.org, "version": listing.version, "rules": list(listing.rows)}
    return answer(told)


@router.post("/admin/v1/routes/explain", operation_id="explainRoute", responses=ok(ExplainObject))
async def explain(call: Operator, body: Explain) -> Response:
    """The way of one message through the rules, and how the endpoints stand where it leads.

    No model is asked. A split is drawn by the user or the conversation that is named here.
    """
    services, session = call.services, body.session
    limits = services.options.limits
    check_length(body.text, "text", limits.message_chars)
    check_metadata(body.metadata, limits)
    for param, name in (
        ("user", body.user),
        ("model", body.model),
        ("session.agent", session.agent),
        ("session.id", session.id),
    ):
        check_length(name or "", param, limits.id_chars)
    standing = services.rulebook.standing
    org_id = body.org or ""
    given = RoutingInput(
        text=body.text,
        metadata=body.metadata or {},
        user=body.user,
        now=time.time() if body.now is None else body.now,
        org_id=org_id,
        org_tier=standing.tiers.get(org_id, ""),
        session_id=session.id or "",
        turn=session.turns + 1,
        messages=session.messages,
        agent=session.agent,
        failures=session.failures,
        background=body.background,
        regenerate=body.regenerate,
    )
    told = await asyncio.to_thread(explained, standing, body.model, given)
    return answer({**told, "candidates": await _candidates(services.reports, told["agent"])})


async def _candidates(reports: Reports, agent: str | None) -> list[dict[str, Any]] | None:
    """The agent's endpoints as all hosts together see them; None: hosts cannot be heard."""
    try:
        rows = together(await reports.hosts())
    except StoreUnavailable as error:
        log.warning("a message is explained without its endpoints: %s", error.message)
        return None
    return [{name: row[name] for name in _CANDIDATE} for row in rows if row["agent"] == agent]


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
