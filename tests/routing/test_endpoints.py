"""Which endpoint takes the next request: weights, latency, circuits, limits."""

from __future__ import annotations

from collections import Counter

import pytest

from contracts.errors import (
    Busy,
    ProviderInterrupted,
    ProviderRejected,
    ProviderUnauthorized,
    StoreUnavailable,
)
from contracts.limits import RateLimits
from contracts.messages import Usage
from routing.circuit import SPREAD
from routing.health import Capacity
from tests.routing.clockwork import DOWN, SILENCE, TOLERANCE, Fixture, book_of, limited


@pytest.mark.parametrize("ahead", [1, 20])
def test_shares_follow_weights_where_all_is_equal(ahead: int):
    """One request at a time, and twenty at once."""
    fix = Fixture(3, weights=(1, 2, 5))
    asked: Counter[str] = Counter()
    running = []
    for _ in range(4000):
        ticket = fix.take()
        asked[ticket.endpoint] += 1
        running.append(ticket)
        if len(running) >= ahead:
            fix.answer(running.pop(0))
    shares = [asked[name] / 4000 for name in "abc"]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.06)


def test_the_quicker_of_two_is_taken():
    fix = Fixture()
    for _ in range(200):
        ticket = fix.take()
        fix.answer(ticket, 0.1 if ticket.endpoint == "a" else 0.5)
    asked = {endpoint.name: endpoint.asked for endpoint in fix.endpoints}
    assert asked["a"] > 180
    assert asked["b"] >= 1


def test_a_slow_one_that_was_not_asked_for_long_is_tried_again():
    fix = Fixture()
    fix.answer(fix.take(avoid=("a",)), 1.0)
    fix.answer(fix.take(avoid=("b",)), 0.2)
    asked_before = fix.endpoint("b").asked
    for _ in range(400):
        ticket = fix.take()
        fix.answer(ticket, 0.2)
        fix.now += 0.3
        if fix.endpoint("b").asked > asked_before:
            break
    assert fix.endpoint("b").asked == asked_before + 1
    assert 20 < fix.now - 1000 < 120


def test_who_does_not_speak_is_left_before_a_time_out_says_so():
    fix = Fixture()
    for name in ("a", "b"):
        fix.answer(fix.take(avoid=(name,)), 0.2)
    hanging = fix.take(avoid=("b",))
    fix.now += 2.0
    assert hanging.endpoint == "a"
    for _ in range(50):
        ticket = fix.take()
        assert ticket.endpoint == "b"
        fix.answer(ticket, 0.01)


@pytest.mark.parametrize("how", ["refused", "left", "waiting"])
def test_who_has_said_nothing_yet_is_not_quick_for_that(how: str):
    fix = Fixture()
    fix.answer(fix.take(avoid=("a",)), 0.2)
    silent = fix.take(avoid=("b",))
    fix.now += 0.001
    if how == "refused":
        silent.failed(fix.now, DOWN)
    elif how == "left":
        silent.left(fix.now)
    seen = {each["endpoint"]: each["expected_ms"] for each in fix.set.view(fix.now)}
    assert seen == {"a": None, "b": 200}


def test_who_falls_silent_in_the_middle_is_avoided_but_not_refused():
    fix = Fixture()
    fix.endpoint("a").silent = lambda: 3
    assert {fix.take().endpoint for _ in range(20)} == {"b"}
    fix.endpoint("b").silent = lambda: 30
    assert {fix.take().endpoint for _ in range(20)} == {"a"}


def test_what_is_to_be_avoided_is_not_taken():
    fix = Fixture(3)
    assert {fix.take(avoid=("a", "c")).endpoint for _ in range(20)} == {"b"}
    assert fix.none(avoid=("a", "b", "c"))
    fix.break_down("b")
    assert fix.none(avoid=("a", "c"))
    assert {endpoint.name: endpoint.asked for endpoint in fix.endpoints} == {
        "a": 0,
        "b": 23,
        "c": 0,
    }


def test_failures_in_a_row_open_the_circuit_and_it_is_left_alone():
    fix = Fixture()
    fix.break_down("a", 2)
    assert fix.state("a") == "closed"
    fix.break_down("a", 1)
    assert fix.state("a") == "open"
    assert {fix.take().endpoint for _ in range(30)} == {"b"}
    assert fix.wait_s() == 0


def test_a_first_token_between_failures_is_no_row():
    fix = Fixture(1)
    for asked in range(3, 10, 3):
        fix.break_down("a", 2)
        fix.answer(fix.take())
        assert (fix.endpoint("a").asked, fix.state("a")) == (asked, "closed")
    # Two of three fail, which is too much all the same once there were enough.
    fix.break_down("a", 1)
    assert fix.state("a") == "open"


def test_after_a_second_one_request_probes_and_closes_it():
    fix = Fixture(1)
    fix.break_down("a")
    assert fix.none()
    assert TOLERANCE.first_s <= fix.wait_s() <= TOLERANCE.first_s * (1 + SPREAD)
    fix.now += fix.wait_s()
    assert (fix.state("a"), fix.wait_s()) == ("probing", 0)
    probe = fix.take()
    assert fix.none()
    assert fix.wait_s() == pytest.approx(TOLERANCE.probe_s)
    probe.spoke(fix.now)
    assert fix.state("a") == "closed"
    assert fix.wait_s() == 0


def test_each_time_it_stays_open_for_longer():
    fix = Fixture(1)
    fix.break_down("a")
    waits = [fix.wait_s()]
    for _ in range(7):
        fix.now += fix.wait_s()
        fix.take().failed(fix.now, DOWN)
        waits.append(fix.wait_s())
    for wait, expected in zip(waits, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert expected <= wait <= expected * (1 + SPREAD)
    assert waits[-1] >= TOLERANCE.longest_s


def test_a_probe_that_nobody_waits_for_makes_room_for_the_next():
    fix = Fixture(1)
    fix.break_down("a")
    fix.now += fix.wait_s()
    fix.take().left(fix.now)
    assert not fix.none()


def test_who_falls_silent_is_well_again_only_with_a_whole_answer():
    fix = Fixture(1)
    tickets = [fix.take() for _ in range(5)]
    for ticket in tickets:
        fix.now += 0.1
        ticket.spoke(fix.now)
    for ticket in tickets:
        ticket.failed(fix.now, SILENCE)
    assert fix.state("a") == "open"
    fix.now += fix.wait_s()
    probe = fix.take()
    probe.spoke(fix.now)
    assert fix.state("a") == "probing"
    probe.done(fix.now, None)
    assert fix.state("a") == "closed"


def test_new_first_tokens_do_not_hide_that_answers_break_off():
    fix = Fixture(1)
    for _ in range(3):
        ticket = fix.take()
        ticket.spoke(fix.now)
        ticket.failed(fix.now, ProviderInterrupted("It broke."))
    assert fix.state("a") == "open"


def test_what_was_under_way_says_nothing_more_once_it_is_open():
    fix = Fixture(1)
    late = [fix.take() for _ in range(50)]
    fix.break_down("a")
    waits = fix.wait_s()
    for ticket in late[:25]:
        ticket.failed(fix.now, DOWN)
    assert fix.wait_s() == waits
    fix.now += waits
    fix.answer(fix.take())
    for ticket in late[25:]:
        ticket.failed(fix.now, DOWN)
    assert fix.state("a") == "closed"
    assert fix.set.running == fix.endpoint("a").running == fix.endpoint("a").health.running == 0


@pytest.mark.parametrize(
    "error",
    [ProviderRejected("No."), Busy("Full."), StoreUnavailable("Away.")],
    ids=["rejected", "busy", "ours"],
)
def test_what_is_not_the_endpoints_fault_does_not_feed_the_circuit(error):
    fix = Fixture(1)
    for _ in range(30):
        fix.take().failed(fix.now, error)
    assert fix.state("a") == "closed"
    assert (fix.endpoint("a").asked, fix.endpoint("a").failed) == (30, 0)


def test_a_refused_key_opens_it_at_once_and_for_long():
    fix = Fixture(1)
    fix.take().failed(fix.now, ProviderUnauthorized("That key."))
    assert TOLERANCE.key_s <= fix.wait_s() <= TOLERANCE.key_s * (1 + SPREAD)


def test_the_first_429_stops_a_storm_of_them():
    fix = Fixture(2)
    storm = [fix.take(avoid=("b",)) for _ in range(40)]
    storm[0].failed(fix.now, limited(5.0))
    assert {fix.take().endpoint for _ in range(30)} == {"b"}
    health = fix.endpoint("a").health
    assert 5 <= health.limited_for_s(fix.now) <= 5 * (1 + SPREAD)
    for ticket in storm[1:]:
        ticket.failed(fix.now, limited(5.0))
    assert health.circuit.generation == 1
    storm_over = fix.now + 6.1
    fix.now = storm_over
    probe = fix.take()
    assert (probe.endpoint, fix.state("a")) == ("a", "probing")


def test_a_429_without_a_time_is_waited_out_longer_each_time():
    fix = Fixture(1)
    waits = []
    for _ in range(3):
        fix.take().failed(fix.now, limited(None))
        waits.append(fix.wait_s())
        fix.now += waits[-1]
    for wait, expected in zip(waits, (1, 2, 4), strict=True):
        assert expected <= wait <= expected * (1 + SPREAD)


def test_a_retry_is_no_probe_where_another_is_well():
    fix = Fixture(3)
    fix.break_down("a")
    fix.now += 2
    assert {fix.take(avoid=("b",)).endpoint for _ in range(20)} == {"c"}
    assert fix.take().endpoint == "a"


def test_sessions_requests_and_tokens_have_their_limits():
    fix = Fixture(1, capacity=Capacity(max_sessions=2))
    first, _ = fix.take(), fix.take()
    assert fix.none()
    assert fix.wait_s() > 0
    first.left(fix.now)
    assert not fix.none()

    fix = Fixture(1, capacity=Capacity(requests_per_minute=2))
    fix.answer(fix.take())
    fix.now += 20
    fix.answer(fix.take())
    wait = fix.wait_s()
    assert fix.none()
    assert 39 < wait <= 41
    fix.now += wait
    assert not fix.none()

    fix = Fixture(1, capacity=Capacity(tokens_per_minute=1000))
    ticket = fix.take(900)
    assert fix.none(200)
    ticket.done(fix.now, Usage(50, 50))
    assert not fix.none(900)


def test_a_request_beyond_the_limit_goes_when_nothing_else_does():
    fix = Fixture(1, capacity=Capacity(tokens_per_minute=1000))
    ticket = fix.take(5000)
    ticket.failed(fix.now, DOWN)
    assert fix.wait_s(5000) == 0
    fix.take(10)
    assert fix.wait_s(5000) > 0


def test_an_agent_has_a_limit_over_all_its_endpoints():
    fix = Fixture(3, max_sessions=2)
    tickets = [fix.take(), fix.take()]
    assert fix.none()
    assert fix.wait_s() > 0
    tickets[0].done(fix.now, None)
    assert fix.wait_s() == 0


def test_a_place_is_given_back_once():
    fix = Fixture(1)
    ticket = fix.take()
    for _ in range(2):
        ticket.failed(fix.now, DOWN)
        ticket.left(fix.now)
        ticket.done(fix.now, None)
    assert (fix.set.running, fix.endpoint("a").running, fix.endpoint("a").failed) == (0, 0, 1)


def test_a_request_that_is_not_made_leaves_no_trace():
    fix = Fixture(1, capacity=Capacity(2, 2, 1000))
    health = fix.endpoint("a").health
    fix.answer(fix.take(100), 0.2, 100)
    health.told(RateLimits(5, 10, 1000.0, 900, 1000, 1000.0), fix.now)
    before = fix.traces()
    for _ in range(10):
        ticket = fix.take(900)
        assert fix.traces() != before
        ticket.unused(fix.now)
        ticket.unused(fix.now)
    assert fix.traces() == before
    assert fix.wait_s(900) == 0
    assert fix.set.view(fix.now)[0]["expected_ms"] == 200


def test_a_probe_that_is_not_made_makes_room_for_the_next():
    fix = Fixture(1)
    fix.break_down("a")
    fix.now += fix.wait_s()
    fix.take().unused(fix.now)
    assert (fix.state("a"), fix.wait_s()) == ("probing", 0)


def test_what_a_provider_says_later_does_not_count_a_request_that_was_not_made():
    fix = Fixture(1)
    health = fix.endpoint("a").health
    ticket = fix.take(50)
    fix.now += 1.0
    health.told(RateLimits(None, None, None, 100, 100, 1000.0), fix.now)
    ticket.unused(fix.now)
    assert health.word(fix.now)[:3] == (0, 0, 0)
    assert fix.wait_s(100) == 0
    assert fix.wait_s(101) > 0


def test_how_each_stands():
    fix = Fixture(2)
    fix.answer(fix.take(avoid=("b",)), 0.25)
    fix.take(avoid=("a",)).failed(fix.now, limited(5))
    a, b = fix.set.view(fix.now)
    assert a == {"endpoint": "a", "state": "closed", "expected_ms": 250, "running": 0}
    assert b == {"endpoint": "b", "state": "open", "expected_ms": None, "running": 0}
    a, b = fix.set.report(fix.now, 5000.0)
    assert (a["asked"], a["failed"], a["rate_limited_until"]) == (1, 0, None)
    assert (b["asked"], b["failed"]) == (1, 1)
    assert 5005 <= b["rate_limited_until"] <= 5006


def test_figures_say_when_it_opens_and_for_how_long() -> None:
    tolerance = TOLERANCE._replace(streak=5, outcomes=8, enough=4, share=0.75, first_s=7.0)
    fix = Fixture(1, book=book_of(tolerance=tolerance._replace(longest_s=10.0)))
    fix.break_down("a", 4)
    assert fix.state("a") == "open", "four of four failed"
    assert 7 <= fix.wait_s() <= 7 * (1 + SPREAD)
    fix.now += fix.wait_s()
    fix.take().failed(fix.now, DOWN)
    assert 10 <= fix.wait_s() <= 10 * (1 + SPREAD)

    fix = Fixture(1, book=book_of(tolerance=tolerance))
    for _ in range(4):
        fix.answer(fix.take())
    fix.break_down("a", 4)
    fix.answer(fix.take())
    fix.break_down("a", 1)
    assert fix.state("a") == "closed", "five of the newest eight, and one in a row"
    fix.break_down("a", 1)
    assert fix.state("a") == "open", "six of eight"


def test_who_has_nobody_else_to_ask_does_not_wait_longer_each_time() -> None:
    for count in (1, 2):
        fix = Fixture(count, alone=True)
        names = "ab"[:count]
        for name in names:
            fix.break_down(name)
        for _ in range(6):
            assert fix.none(), "a second's rest each time"
            assert 0 < fix.wait_s() <= TOLERANCE.first_s * (1 + SPREAD)
            assert {fix.set.view(fix.now)[0]["state"]} == {"open"}
            fix.now += TOLERANCE.first_s * (1 + SPREAD)
            assert {seen["state"] for seen in fix.set.view(fix.now)} == {"probing"}
            for ticket in [fix.take() for _ in names]:
                ticket.failed(fix.now, DOWN)
        fix.now += TOLERANCE.first_s * (1 + SPREAD)
        probe = fix.take()
        fix.answer(probe)
        assert fix.state(probe.endpoint) == "closed"


def test_where_another_is_well_or_stands_in_the_failed_one_rests_longer() -> None:
    with_another, with_a_stand_in = Fixture(2, alone=True), Fixture(1)
    for fix in (with_another, with_a_stand_in):
        fix.break_down("a")
        for _ in range(4):
            fix.now += 40
            fix.take(avoid=("b",)).failed(fix.now, DOWN)
        fix.now += 3
    assert {with_another.take().endpoint for _ in range(20)} == {"b"}
    assert with_a_stand_in.none()
    assert with_a_stand_in.wait_s() > 10


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(limited(60.0), 60), (ProviderUnauthorized("That key."), TOLERANCE.key_s)],
    ids=["429", "key"],
)
def test_who_is_told_to_wait_does_so_with_nobody_else_to_ask(error, seconds) -> None:
    fix = Fixture(1, alone=True)
    fix.take().failed(fix.now, error)
    assert seconds <= fix.wait_s() <= seconds * (1 + SPREAD)
    fix.now += seconds - 1
    assert fix.none()
