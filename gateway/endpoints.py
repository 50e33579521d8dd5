"""How providers' endpoints stand, for operators: what each host says, and all of it together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from gateway.admin_answers import EndpointsObject
from gateway.call import Operator, StrictRoute, answer
from gateway.document import FAILURES, ok

router = APIRouter(route_class=StrictRoute, tags=["Endpoints"], responses=FAILURES)

_WORSE = ("closed", "probing", "open")


@router.get("/admin/v1/endpoints", operation_id="listEndpoints", responses=ok(EndpointsObject))
async def list_all(call: Operator) -> Response:
    """Each endpoint as all hosts together see it, and each host's last report.

    Hosts report once a second; one that has said nothing for five is left out.
    """
    reports = await call.services.reports.hosts()
    hosts = [
        {name: value for name, value in report.items() if name != "endpoints"} for report in reports
    ]
    return answer({"hosts": hosts, "endpoints": together(reports)})


def together(reports: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each endpoint: counts are summed, of states the worst is told."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for report in reports:
        for row in report["endpoints"]:
            key = row["agent"], row["endpoint"]
            known = rows.get(key)
            if known is None:
                rows[key] = dict(row)
                continue
            for name in ("running", "asked", "failed"):
                known[name] += row[name]
            known["state"] = max(known["state"], row["state"], key=_WORSE.index)
            for name in ("expected_ms", "rate_limited_until"):
                known[name] = max((known[name], row[name]), key=lambda value: value or 0)
    return list(rows.values())
