"""What was spent, for operators: an organization's sums, by days and by users."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from contracts.money import Budgets, DaySpent, UserSpent, usd
from gateway.admin_answers import SpendObject
from gateway.admin_requests import SpendQuery
from gateway.call import Operator, StrictRoute, answer
from gateway.document import FAILURES, ok
from gateway.text import check_length

router = APIRouter(route_class=StrictRoute, tags=["Spending"], responses=FAILURES)

USERS = 50
"""How many of those who spent most are named."""


@router.get("/admin/v1/spend", operation_id="retrieveSpend", responses=ok(SpendObject))
async def retrieve(call: Operator, query: Annotated[SpendQuery, Query()]) -> Response:
    """What an organization has spent, or one of its users, against what it may spend.

    Days and months are of UTC's calendar.
    """
    services = call.services
    org_id, user = query.org or services.options.organization, query.user
    check_length(user or "", "user", services.options.limits.id_chars)
    spent = await services.spending.spent(org_id, user)
    days = await services.spending.days(org_id, user, query.days)
    users = [] if user else await services.spending.users(org_id, USERS)
    return answer(
        {
            "org": org_id,
            "user": user,
            "today_usd": usd(spent.user_day if user else spent.org_day),
            "month_usd": usd(spent.user_month if user else spent.org_month),
            "budgets": budgets_object(services.rulebook.standing.budget(org_id)),
            "days": [_day(day) for day in days],
            "users": [_user(one) for one in users],
        }
    )


def budgets_object(budgets: Budgets) -> dict[str, Any]:
    """Every budget with its limits."""
    return {
        name: {
            "soft_usd": None if limit.soft is None else usd(limit.soft),
            "hard_usd": None if limit.hard is None else usd(limit.hard),
        }
        for name, limit in budgets._asdict().items()
    }


def _day(day: DaySpent) -> dict[str, Any]:
    return {"day": day.day.isoformat(), "cost_usd": usd(day.nano), "turns": day.turns}


def _user(user: UserSpent) -> dict[str, Any]:
    return {"user": user.user, "today_usd": usd(user.day), "month_usd": usd(user.month)}
