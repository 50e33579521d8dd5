"""What holds of endpoints whatever happens: limits, circuits, and what hosts make of each other."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ProviderUnauthorized
from contracts.limits import RateLimits
from contracts.messages import Usage
from routing.endpoints import Ticket
from routing.health import Capacity, identity
from routing.limits import Told, Window
from tests.routing.clockwork import DOWN, SILENCE, Fixture, book_of, limited

steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "spoke", "done", "down", "silence", "limited", "left", "wait"]),
        st.integers(0, 400),
    ),
    max_size=200,
)


@given(steps, st.integers(0, 99))
def test_whatever_happens_no_limit_is_passed_and_an_open_circuit_is_left_alone(
    given_steps: list[tuple[str, int]], seed: int
) -> None:
    capacity = Capacity(max_sessions=3, requests_per_minute=8, tokens_per_minute=2000)
    fix = Fixture(3, capacity=capacity, seed=seed)
    running: list[Ticket] = []
    taken: dict[str, list[tuple[float, int]]] = {"a": [], "b": [], "c": []}
    for step, number in given_steps:
        if step == "wait":
            fix.now += number / 20
        elif step == "take":
            states = {name: fix.state(name) for name in "abc"}
            wait_s = fix.wait_s(number)
            ticket = fix.set.take(fix.now, tokens=number)
            assert (ticket is None) == (wait_s > 0)
            if ticket is not None:
                assert states[ticket.endpoint] != "open"
                taken[ticket.endpoint].append((fix.now, number))
                running.append(ticket)
        elif running:
            ticket = running[number % len(running)]
            if step == "spoke":
                ticket.spoke(fix.now)
                continue
            running.remove(ticket)
            if step == "done":
                ticket.done(fix.now, None)
            elif step == "left":
                ticket.left(fix.now)
            else:
                error = {"down": DOWN, "silence": SILENCE, "limited": limited(2.0)}[step]
                ticket.failed(fix.now, error)
        for name, requests in taken.items():
            health = fix.endpoint(name).health
            assert health.running == sum(ticket.endpoint == name for ticket in running) <= 3
            minute = [tokens for at, tokens in requests if at > fix.now - 60]
            assert len(minute) <= 8


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50)), max_size=60), st.integers(1, 120))
def test_no_minute_holds_more_than_its_limit(
    given_steps: list[tuple[float, int]], limit: int
) -> None:
    window, now, taken = Window(), 100.0, list[tuple[float, int]]()
    for pause, amount in given_steps:
        now += pause
        wait_s = window.wait_s(now, limit, amount)
        used = sum(size for at, size in taken if at > now - 60)
        if wait_s == 0:
            window.add(now, amount)
            taken.append((now, amount))
            assert used == 0 or used + amount <= limit
        else:
            # It is not refused without need: a second earlier there would have been no room.
            assert sum(size for at, size in taken if at >= now - 62) + min(amount, limit) > limit
            assert deepcopy(window).wait_s(now + wait_s, limit, amount) == 0


def test_what_a_request_came_to_takes_the_place_of_what_was_thought() -> None:
    window = Window()
    window.add(100.2, 500)
    window.correct(100.2, 130.0, -400)
    assert window.used(130.0) == 100
    assert window.used(161.5) == 0
    window.correct(100.2, 170.0, -400)
    assert window.used(170.0) == 0


def test_a_providers_word_is_counted_down_fills_up_and_is_spent() -> None:
    told = Told()
    assert told.wait_s(0.0, 10) == 0
    told.hear(100.0, 2, 60, 58.0)
    told.take(1)
    told.take(1)
    assert told.wait_s(100.0, 1) == pytest.approx(1.0)
    assert told.wait_s(101.0, 1) == 0
    assert told.wait_s(100.0, 500) == pytest.approx(58.0)
    assert told.wait_s(158.0, 500) == 0
    told.hear(100.0, 0, None, 5.0)
    assert told.wait_s(101.0, 1) == pytest.approx(4.0)


def test_what_the_head_of_an_answer_says_holds_for_the_next_request() -> None:
    fix = Fixture(2)
    health = fix.endpoint("a").health
    health.told(RateLimits(0, 60, 60.0), fix.now)
    assert {fix.take().endpoint for _ in range(10)} == {"b"}
    assert health.limited_for_s(fix.now) == pytest.approx(1.0)
    fix.now += 1.0
    assert health.wait_s(fix.now, 10) == 0
    health.told(RateLimits(50, 60, 10.0, 100, 1000, 30.0), fix.now)
    assert health.wait_s(fix.now, 100) == 0
    assert health.wait_s(fix.now, 130) == pytest.approx(1.0)


def test_an_identity_is_the_endpoints_and_holds_no_key() -> None:
    one = identity("openai", "https://h/v1", "m", "sk-secret")
    assert one == identity("openai", "https://h/v1", "m", "sk-secret")
    others = {
        identity("gemini", "https://h/v1", "m", "sk-secret"),
        identity("openai", "https://h/v2", "m", "sk-secret"),
        identity("openai", "https://h/v1", "n", "sk-secret"),
        identity("openai", "https://h/v1", "m", "sk-other"),
        identity("openai", "https://h/v1", "m", None),
    }
    assert len(others | {one}) == 6
    assert "secret" not in one


def test_agents_share_what_is_known_and_it_is_forgotten_with_the_last_of_them() -> None:
    book = book_of()
    one, two = Fixture(1, book=book), Fixture(1, book=book)
    one.break_down("a")
    assert two.none()
    assert len(book) == 1
    del one, two
    assert len(book) == 0


class Pair:
    """Two hosts with one endpoint, and what passes between them."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.one = Fixture(1, capacity=capacity, seed=1)
        self.two = Fixture(1, capacity=capacity, seed=2)

    def pass_on(self) -> None:
        for here, there in ((self.one, self.two), (self.two, self.one)):
            there.book.hear(there.now, {f"host_{id(here)}": here.book.words(here.now)})

    def wait(self, seconds: float) -> None:
        self.one.now += seconds
        self.two.now += seconds


def test_limits_are_shared_and_without_each_other_each_has_its_part() -> None:
    pair = Pair(Capacity(max_sessions=4, requests_per_minute=6))
    tickets = [pair.one.take() for _ in range(3)]
    pair.pass_on()
    tickets.append(pair.two.take())
    assert pair.two.none()
    pair.pass_on()
    assert pair.one.none()
    for ticket in tickets:
        ticket.done(pair.one.now, Usage(1, 1))
    pair.pass_on()
    pair.two.take().done(pair.two.now, None)
    pair.two.take().done(pair.two.now, None)
    assert pair.two.none()
    pair.two.book.apart()
    # Three of six are its own, and it has made three.
    assert pair.two.none()
    pair.wait(62)
    for _ in range(3):
        pair.two.take().done(pair.two.now, None)
    assert pair.two.none()


def test_a_request_as_large_as_the_limit_waits_for_what_others_use_too() -> None:
    pair = Pair(Capacity(tokens_per_minute=1000))
    pair.one.take(990).done(pair.one.now, Usage(490, 500))
    pair.pass_on()
    assert pair.two.none(500)
    assert pair.two.none(5000)
    assert not pair.two.none(10)
    pair.pass_on()
    # Nothing is left, of which it has used a little itself.
    assert pair.two.none(1)
    pair.wait(62)
    pair.pass_on()
    assert not pair.two.none(5000)
    pair.pass_on()
    assert pair.one.none(1)


def test_a_limit_that_another_host_hears_of_holds_where_the_circuit_is_open_already() -> None:
    pair = Pair()
    pair.two.break_down("a")
    own_s = pair.two.wait_s()
    pair.one.take().failed(pair.one.now, limited(60.0))
    pair.pass_on()
    assert pair.two.wait_s() >= 60.0 > own_s
    pair.wait(2.0)
    assert pair.two.none()
    assert pair.two.endpoint("a").health.limited_for_s(pair.two.now) >= 58.0
    # It is told by whoever met it, and by nobody else.
    assert pair.two.book.words(pair.two.now)["a"].shut_s == 0
    assert pair.one.book.words(pair.one.now)["a"].shut_s >= 58.0
    wait_s = pair.one.wait_s()
    pair.pass_on()
    assert pair.one.wait_s() == wait_s


def test_a_limit_that_is_over_sooner_changes_nothing() -> None:
    pair = Pair()
    pair.two.break_down("a")
    for _ in range(4):
        pair.wait(pair.two.wait_s())
        pair.two.take().failed(pair.two.now, DOWN)
    wait_s = pair.two.wait_s()
    pair.one.take().failed(pair.one.now, limited(1.0))
    assert pair.one.wait_s() < wait_s
    pair.pass_on()
    assert pair.two.wait_s() == wait_s
    assert pair.two.endpoint("a").health.limited_for_s(pair.two.now) == 0
    assert pair.two.book.words(pair.two.now)["a"].shut_s > 0


def test_a_rate_limit_closes_the_endpoint_for_every_host_once() -> None:
    pair = Pair()
    calls: list[int] = []
    pair.one.book.on_shut = lambda: calls.append(1)
    pair.one.take().failed(pair.one.now, limited(5.0))
    assert calls == [1]
    wait_s = pair.one.wait_s()
    pair.pass_on()
    assert pair.two.none()
    assert 5 <= pair.two.wait_s() <= 7.3
    # Word of it goes back and forth: nobody may make it longer.
    pair.pass_on()
    assert pair.one.wait_s() == wait_s


def test_another_hosts_failures_are_believed_unless_it_has_spoken_here_since() -> None:
    pair = Pair()
    pair.one.break_down("a")
    pair.wait(0.1)
    pair.pass_on()
    assert pair.two.none()

    pair = Pair()
    pair.one.break_down("a")
    pair.wait(0.1)
    pair.two.answer(pair.two.take())
    pair.one.now = pair.two.now
    pair.pass_on()
    assert not pair.two.none()
    pair.wait(1.5)
    pair.one.take().failed(pair.one.now, DOWN)
    pair.pass_on()
    assert pair.two.none()


def test_a_rate_limit_that_another_host_tells_is_waited_out_with_nobody_else_to_ask() -> None:
    here, there = Fixture(1, alone=True), Fixture(1)
    here.break_down("a")
    assert here.wait_s() <= 1.2
    there.take().failed(there.now, limited(60.0))
    here.book.hear(here.now, {"host_there": there.book.words(there.now)})
    assert here.wait_s() >= 60


def test_a_refused_key_that_another_host_tells_is_waited_out_with_nobody_else_to_ask() -> None:
    here, there = Fixture(1, alone=True), Fixture(1)
    there.take().failed(there.now, ProviderUnauthorized("No such key."))
    here.book.hear(here.now, {"host_there": there.book.words(there.now)})
    here.now += 5.0
    assert here.wait_s() >= 100


def test_who_falls_silent_in_its_answers_is_left_alone_by_all_until_one_ends() -> None:
    """A first token says nothing here: it comes, and then nothing more."""
    pair = Pair()
    for _ in range(3):
        silent = pair.one.take()
        silent.spoke(pair.one.now)
        silent.failed(pair.one.now, SILENCE)
    assert pair.one.none()
    heard = pair.two.take()
    pair.wait(0.1)
    heard.spoke(pair.two.now)
    pair.pass_on()
    assert pair.two.none(), "what has begun since refutes nothing"
    pair.wait(1.5)
    probe = pair.two.take()
    probe.spoke(pair.two.now)
    assert pair.two.state("a") == "probing"
    probe.done(pair.two.now, None)
    assert pair.two.state("a") == "closed"

    pair = Pair()
    for _ in range(3):
        silent = pair.one.take()
        silent.spoke(pair.one.now)
        silent.failed(pair.one.now, SILENCE)
    pair.wait(0.1)
    pair.two.answer(pair.two.take())
    pair.one.now = pair.two.now
    pair.pass_on()
    assert not pair.two.none(), "an answer that ended does"
