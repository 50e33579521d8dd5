"""When cron expressions come due, on days with 23, 24 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InvalidRequest
from errands.times import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def times(expression: str, start: float, count: int, zone: str = "Europe/Berlin") -> list[str]:
    cron, found = Cron(expression, zone), list[str]()
    time: float | None = start
    while len(found) < count and (time := cron.after(time)) is not None:
        found.append(datetime.fromtimestamp(time, ZoneInfo(zone)).isoformat())
    return found


def test_the_times_of_an_ordinary_week() -> None:
    assert times("30 9 * * MON-FRI", at("2026-11-27T09:30"), 2) == [
        "2026-11-30T09:30:00+01:00",
        "2026-12-01T09:30:00+01:00",
    ]
    assert times("0 12 * * *", at("2026-11-27T12:00"), 1, "Asia/Tokyo") == [
        "2026-11-28T12:00:00+09:00"
    ]


def test_what_the_clocks_skip_in_spring_comes_once_and_late() -> None:
    assert times("30 2 * * *", at("2026-03-28T12:00"), 3) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]
    # Two expressions of one moment are one time.
    assert times("0 2,3 * * *", at("2026-03-28T12:00"), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_what_the_clocks_repeat_in_autumn_comes_once() -> None:
    assert times("30 2 * * *", at("2026-10-24T12:00"), 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    # Asked within the second pass of the hour, nothing of the first comes back.
    second = at("2026-10-25T02:15", fold=1)
    following = Cron("30 2 * * *", "Europe/Berlin").after(second)
    assert following is not None and following > second


def test_every_hour_is_every_hour_in_autumn() -> None:
    start = at("2026-10-25T00:30")
    cron = Cron("0 * * * *", "Europe/Berlin")
    found = [start]
    for _ in range(5):
        following = cron.after(found[-1])
        assert following is not None
        found.append(following)
    assert [b - a for a, b in pairwise(found[1:])] == [3600.0] * 4


EXPRESSIONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 2,3 * * *", "15 */6 * * *", "0 0 1 * *"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([at("2026-03-28T20:00"), at("2026-10-24T20:00"), at("2026-06-01T00:00")]),
    st.integers(0, 36 * 3600),
    st.integers(0, 12 * 3600),
)
def test_the_latest_is_the_last_of_all(
    expression: str, start: float, offset: int, outage: int
) -> None:
    cron = Cron(expression, "Europe/Berlin")
    first = cron.after(start + offset)
    assert first is not None
    until = first + outage
    walked, following = first, first
    passed = 0
    while following is not None and following <= until:
        walked, following = following, cron.after(following)
        passed += 1
    assert cron.latest(first, until) == walked
    assert cron.count(first, walked) == min(passed - 1, 1000)
    if following is not None:
        assert following > until


@pytest.mark.parametrize(
    ("expression", "timezone", "param"),
    [
        ("", "UTC", "cron"),
        ("* * * *", "UTC", "cron"),
        ("* * * * * *", "UTC", "cron"),
        ("60 * * * *", "UTC", "cron"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("0 0 * 2 MON#6", "UTC", "cron"),
        ("1#2/3 * * * *", "UTC", "cron"),
        ("²³ * * * *", "UTC", "cron"),
        ("@daily", "UTC", "cron"),
        ("a b c d e", "UTC", "cron"),
        ("*/0 * * * *", "UTC", "cron"),
        ("* * L/2#1 * *", "UTC", "cron"),
        ("* * * * *", "Mars/Olympus", "timezone"),
        ("* * * * *", "../../etc/passwd", "timezone"),
        ("* * * * *", "Europe", "timezone"),
        ("* * * * *", "", "timezone"),
    ],
)
def test_what_is_no_cron_and_no_zone_is_refused(expression: str, timezone: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Cron(expression, timezone)
    assert refused.value.param == param
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize(
    ("expression", "gap"),
    [("* * * * *", 60), ("*/5 * * * *", 300), ("0,1 0 * * *", 60), ("0 0 * * *", 86_400)],
)
def test_the_shortest_gap(expression: str, gap: int) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert Cron(expression, "UTC").shortest_gap(now.timestamp()) == gap
    year = timedelta(days=366).total_seconds()
    assert (Cron("0 0 1 1 *", "UTC").shortest_gap(now.timestamp()) or 0) >= year - 86_400
