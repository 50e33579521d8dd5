"""Schedules over HTTP: made, shown, listed, ended; and what makes no sense is refused by name."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from contracts.errands import Outcome
from contracts.ids import SCHEDULE, SESSION, new_id
from errands.scheduler import Scheduler
from gateway.answers import ScheduleList, ScheduleObject
from gateway.options import ScheduleLimits
from tests.gateway.house import House, Stores, eventually, open_house

SOON = 3600
TURN = {"model": "echo", "input": "Good morning!"}


async def conversation(house: House) -> str:
    return (await house.client.conversations.create()).id


def path_of(conversation_id: str, schedule_id: str = "") -> str:
    return f"/v1/conversations/{conversation_id}/schedules" + (
        f"/{schedule_id}" if schedule_id else ""
    )


async def create(house: House, conversation_id: str, **fields: Any) -> dict[str, Any]:
    answer = await house.http.post(path_of(conversation_id), json={**TURN, **fields})
    assert answer.status_code == 200, answer.text
    schedule = answer.json()
    ScheduleObject.model_validate(schedule)
    return schedule


async def test_a_schedule_is_made_shown_listed_and_ended(house: House) -> None:
    place = await conversation(house)
    at = int(time.time()) + SOON
    one = await create(
        house, place, at=float(at), metadata={"who": "clock"}, on_busy="reject",
        instructions="Be brief.", temperature=0.5,
    )  # fmt: skip
    assert one == {
        "id": one["id"],
        "object": "conversation.schedule",
        "created_at": one["created_at"],
        "conversation": {"id": place},
        "status": "active",
        "at": at,
        "cron": None,
        "timezone": None,
        "next_run_at": at,
        "last_run": None,
        "skipped_runs": 0,
        "model": "echo",
        "input": [{"role": "user", "content": "Good morning!"}],
        "instructions": "Be brief.",
        "temperature": 0.5,
        "top_p": None,
        "max_output_tokens": None,
        "user": None,
        "on_busy": "reject",
        "metadata": {"who": "clock"},
    }
    two = await create(house, place, cron="0 8 * * *", timezone="Asia/Tokyo")
    assert (two["cron"], two["timezone"]) == ("0 8 * * *", "Asia/Tokyo")
    next_run = datetime.fromtimestamp(two["next_run_at"]).astimezone()
    assert next_run.utctimetuple()[3:5] == (23, 0)
    assert (await house.http.get(path_of(place, one["id"]))).json() == one
    listed = (await house.http.get(path_of(place))).json()
    ScheduleList.model_validate(listed)
    assert [row["id"] for row in listed["data"]] == [two["id"], one["id"]]
    page = (await house.http.get(path_of(place), params={"order": "asc", "limit": 1})).json()
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([one["id"]], True)
    page = (
        await house.http.get(path_of(place), params={"order": "asc", "after": one["id"]})
    ).json()
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([two["id"]], False)
    gone = (await house.http.delete(path_of(place, one["id"]))).json()
    assert gone == {"id": one["id"], "object": "conversation.schedule.deleted", "deleted": True}
    answer = await house.http.get(path_of(place, one["id"]))
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "schedule_id")


async def test_a_schedule_wakes_its_conversation(house: House) -> None:
    """Through the gateway's own link; what comes of it is a response like any other."""
    place = await conversation(house)
    at = int(time.time()) + SOON
    schedule = await create(house, place, at=at, metadata={"who": "clock"})
    scheduler = Scheduler(
        house.memory.timetable, house.link, late_s=60, retry_s=1, lease_s=60, limit=1000,
        clock=lambda: at + 1.0,
    )  # fmt: skip
    house.agent.answer("Good morning to you.")
    await scheduler.round()
    after = (await house.http.get(path_of(place, schedule["id"]))).json()
    ScheduleObject.model_validate(after)
    assert (after["status"], after["next_run_at"]) == ("ended", None)
    run = after["last_run"]
    assert (run["due_at"], run["status"], run["error"]) == (at, "ran", None)
    await eventually(lambda: house.status(run["response_id"]), "completed")
    response = await house.client.responses.retrieve(run["response_id"])
    assert response.background
    assert response.output_text == "Good morning to you."
    assert response.metadata == {"who": "clock"}
    assert house.agent.requests[-1].messages[-1].text == "Good morning!"


async def test_what_went_wrong_is_shown(house: House) -> None:
    place = await conversation(house)
    given = await create(house, place, cron="0 8 * * *")
    kept = await house.memory.timetable.one(house.key(place), given["id"])
    error = {"code": "too_late", "message": "It was too late."}
    outcome = Outcome(given["next_run_at"], "skipped", None, error)
    await house.memory.timetable.settle(kept, outcome, given["next_run_at"] + 86_400, 3)
    shown = (await house.http.get(path_of(place, given["id"]))).json()
    ScheduleObject.model_validate(shown)
    assert shown["skipped_runs"] == 3
    assert shown["last_run"] == {
        "due_at": given["next_run_at"],
        "status": "skipped",
        "response_id": None,
        "error": error,
    }


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "at"),
    ({"at": None, "cron": None}, "missing_required_parameter", "at"),
    ({"at": 1}, "invalid_value", "at"),
    ({"at": 1.5}, "invalid_type", "at"),
    ({"at": "tomorrow"}, "invalid_type", "at"),
    ({"at": True}, "invalid_type", "at"),
    ({"at": 10**15}, "invalid_value", "at"),
    ({"at": 9_000_000_000, "timezone": "UTC"}, "mutually_exclusive_parameters", "timezone"),
    ({"at": 9_000_000_000, "cron": "0 8 * * *"}, "mutually_exclusive_parameters", "cron"),
    ({"cron": ""}, "invalid_value", "cron"),
    ({"cron": "often"}, "invalid_value", "cron"),
    ({"cron": "* * * * * *"}, "invalid_value", "cron"),
    ({"cron": "0 0 30 2 *"}, "invalid_value", "cron"),
    ({"cron": "* " * 200}, "invalid_value", "cron"),
    ({"cron": "0 8 * * *", "timezone": "Mars/Olympus"}, "invalid_value", "timezone"),
    ({"cron": "0 8 * * *", "timezone": ""}, "invalid_value", "timezone"),
    ({"cron": "0 8 * * *", "on_busy": "panic"}, "invalid_value", "on_busy"),
    ({"cron": "0 8 * * *", "input": ""}, "invalid_value", "input"),
    ({"cron": "0 8 * * *", "input": None}, "invalid_type", "input"),
    ({"cron": "0 8 * * *", "metadata": {"a": 1}}, "invalid_type", "metadata.a"),
    ({"cron": "0 8 * * *", "stream": True}, "unknown_parameter", "stream"),
    ({"cron": "0 8 * * *", "input": "x" * 100_001}, "message_too_long", "input"),
]


async def test_what_makes_no_sense_is_refused_and_leaves_no_trace(house: House) -> None:
    place = await conversation(house)
    wrong: list[Any] = []
    for fields, code, param in FAULTS:
        answer = await house.http.post(path_of(place), json={**TURN, **fields})
        error = answer.json().get("error", {})
        found = answer.status_code, error.get("code"), error.get("param")
        if found != (400, code, param):
            wrong.append((fields, found))
    answer = await house.http.post(path_of(place), json={**TURN, "model": "nobody", "at": 9e9})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model")
    answer = await house.http.post(path_of(place), json={"model": "echo", "cron": "0 8 * * *"})
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("missing_required_parameter", "input")
    assert wrong == []
    assert (await house.http.get(path_of(place))).json()["data"] == []


async def test_an_absent_or_foreign_one_is_a_404(house: House, stores: Stores) -> None:
    async with open_house(stores) as owner:
        place = await conversation(owner)
        foreign = await create(owner, place, cron="0 8 * * *")
        mine = await conversation(house)
        for name, schedule_id, param in [
            (place, foreign["id"], "schedule_id"),
            (mine, foreign["id"], "schedule_id"),
            (mine, new_id(SCHEDULE), "schedule_id"),
            (mine, "sched_x", "schedule_id"),
            ("conv_x", foreign["id"], "conversation_id"),
        ]:
            for method in ("GET", "DELETE"):
                answer = await house.http.request(method, path_of(name, schedule_id))
                assert (answer.status_code, answer.json()["error"]["param"]) == (404, param)
        for name in (place, new_id(SESSION), "x"):
            for method, body in (("GET", None), ("POST", {**TURN, "cron": "0 8 * * *"})):
                answer = await house.http.request(method, path_of(name), json=body)
                error = answer.json()["error"]
                assert (answer.status_code, error["param"]) == (404, "conversation_id")
        assert (await owner.http.get(path_of(place, foreign["id"]))).json() == foreign


async def test_there_are_as_many_and_as_often_as_is_set(stores: Stores) -> None:
    limits = ScheduleLimits(in_session=1, in_organization=2, min_interval_s=600)
    async with open_house(stores, schedules=limits) as house:
        places = [await conversation(house) for _ in range(3)]
        answer = await house.http.post(path_of(places[0]), json={**TURN, "cron": "*/5 * * * *"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_often")
        await create(house, places[0], cron="*/10 * * * *")
        await create(house, places[1], cron="*/10 * * * *")
        for place in (places[0], places[2]):
            answer = await house.http.post(path_of(place), json={**TURN, "at": 9e9})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (409, "too_many_schedules")
            assert answer.headers["x-should-retry"] == "false"
        await house.client.conversations.delete(places[1])
        await create(house, places[2], at=9e9)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_schedule_is_not_changed_but_made_anew(house: House, method: str) -> None:
    place = await conversation(house)
    answer = await house.http.request(method, path_of(place), json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
