"""Schedules: turns that a conversation begins by itself, once or by the clock.

A schedule is kept here and begun by the errands, which run in every gateway. What came of its last
time stands in it; the turn itself is a response like any other.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from contracts.errands import Outcome, Schedule
from contracts.errors import InvalidRequest
from contracts.ids import SCHEDULE, new_id
from errands.times import Cron
from gateway.answers import ScheduleDeleted, ScheduleList, ScheduleObject
from gateway.call import Caller, StrictRoute, answer, naming, well_formed
from gateway.conversations import ConversationId
from gateway.document import FAILURES, ok
from gateway.lists import list_object, page_of
from gateway.options import ScheduleLimits
from gateway.requests import CreateSchedule, ListQuery
from gateway.turns import require_agent, turn_from_schedule

router = APIRouter(route_class=StrictRoute, tags=["Schedules"], responses=FAILURES)

ScheduleId = Annotated[str, Path(description="As in a schedule's `id`.")]

_PATH = "/v1/conversations/{conversation_id}/schedules"


@router.post(_PATH, operation_id="createSchedule", responses=ok(ScheduleObject))
async def create(call: Caller, conversation_id: ConversationId, body: CreateSchedule) -> Response:
    """Have a turn begin by itself: `at` a moment, or by `cron` in a `timezone`.

    A time at which nobody could begin the turn is made up for once, unless that is too late; then
    it is skipped, and `last_run` says so.
    """
    options = call.services.options
    key = call.key(conversation_id, "conversation_id")
    turn = turn_from_schedule(options.limits, body)
    require_agent(call.services, turn.model)
    now = time.time()
    schedule = Schedule(
        key=key,
        id=new_id(SCHEDULE),
        created_at=now,
        turn=turn,
        at=body.at,
        cron=body.cron,
        timezone=body.timezone or "UTC",
        due_at=_first(body, now, options.schedules),
    )
    with naming("conversation_id"):
        await call.services.schedules.add(
            schedule,
            in_session=options.schedules.in_session,
            in_organization=options.schedules.in_organization,
        )
    return answer(schedule_object(schedule))


@router.get(_PATH, operation_id="listSchedules", responses=ok(ScheduleList))
async def list_all(
    call: Caller, conversation_id: ConversationId, query: Annotated[ListQuery, Query()]
) -> Response:
    """A conversation's schedules, newest first unless asked otherwise."""
    page = page_of(query, call.services.options.limits, SCHEDULE)
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        rows, more = await call.services.schedules.all_of(
            key, after=page.after, limit=page.limit, ascending=page.ascending
        )
    return answer(list_object([schedule_object(row) for row in rows], more))


@router.get(
    f"{_PATH}/{{schedule_id}}", operation_id="retrieveSchedule", responses=ok(ScheduleObject)
)
async def retrieve(
    call: Caller, conversation_id: ConversationId, schedule_id: ScheduleId
) -> Response:
    key = call.key(conversation_id, "conversation_id")
    schedule_id = well_formed(schedule_id, SCHEDULE, "schedule_id")
    return answer(schedule_object(await call.services.schedules.one(key, schedule_id)))


@router.delete(
    f"{_PATH}/{{schedule_id}}", operation_id="deleteSchedule", responses=ok(ScheduleDeleted)
)
async def delete(
    call: Caller, conversation_id: ConversationId, schedule_id: ScheduleId
) -> Response:
    """Begin its turn no more. One that runs goes on."""
    key = call.key(conversation_id, "conversation_id")
    schedule_id = well_formed(schedule_id, SCHEDULE, "schedule_id")
    await call.services.schedules.remove(key, schedule_id)
    return answer({"id": schedule_id, "object": "conversation.schedule.deleted", "deleted": True})


def _first(body: CreateSchedule, now: float, limits: ScheduleLimits) -> float:
    """The first time, of a schedule that makes sense. Raises `InvalidRequest`."""
    if body.cron is None:
        if body.at is None:
            raise InvalidRequest(
                "Give `at` or `cron`.", param="at", code="missing_required_parameter"
            )
        if body.timezone is not None:
            raise InvalidRequest(
                "`at` has no time zone; it is in Unix seconds.",
                param="timezone",
                code="mutually_exclusive_parameters",
            )
        if body.at <= now:
            raise InvalidRequest("This moment is over.", param="at", code="invalid_value")
        return float(body.at)
    if body.at is not None:
        raise InvalidRequest(
            "Give `at` or `cron`, not both.", param="cron", code="mutually_exclusive_parameters"
        )
    cron = Cron(body.cron, body.timezone or "UTC")
    first, gap = cron.after(now), cron.shortest_gap(now)
    if first is None:
        raise InvalidRequest("This never comes.", param="cron", code="invalid_value")
    if gap is not None and gap < limits.min_interval_s:
        raise InvalidRequest(
            f"Its times are {gap:g} s apart; at least {limits.min_interval_s:g} s must lie between "
            "them.",
            param="cron",
            code="too_often",
            details={"limit": limits.min_interval_s},
        )
    return first


def schedule_object(schedule: Schedule) -> dict[str, Any]:
    """A schedule as callers see it."""
    turn = schedule.turn
    return {
        "id": schedule.id,
        "object": "conversation.schedule",
        "created_at": int(schedule.created_at),
        "conversation": {"id": schedule.key.session_id},
        "status": "ended" if schedule.due_at is None else "active",
        "at": _seconds(schedule.at),
        "cron": schedule.cron,
        "timezone": None if schedule.cron is None else schedule.timezone,
        "next_run_at": _seconds(schedule.due_at),
        "last_run": None if schedule.last is None else _run_object(schedule.last),
        "skipped_runs": schedule.skipped,
        "model": turn.model,
        "input": [{"role": item.role, "content": item.text} for item in turn.input],
        "instructions": turn.instructions,
        "temperature": turn.temperature,
        "top_p": turn.top_p,
        "max_output_tokens": turn.max_output_tokens,
        "user": turn.user,
        "on_busy": turn.on_busy,
        "metadata": turn.metadata,
    }


def _run_object(run: Outcome) -> dict[str, Any]:
    return {
        "due_at": int(run.due_at),
        "status": run.kind,
        "response_id": run.response_id,
        "error": run.error,
    }


def _seconds(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)
