"""Failover as a contract, where others answer: agents that stand in, and hedges."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import get_args

import pytest

from tests.failover.expected import Expected
from tests.failover.faults import CONTRACTS, WIRES
from tests.failover.judging import (
    any_cursor_leads_to_the_same_text,
    clients_saw,
    was_billed,
    was_stored,
)
from tests.failover.others import (
    FIRST,
    HEDGE_NANO,
    Course,
    Race,
    StandIn,
    expected_race,
    expected_stand_in,
    race_agents,
    races,
    stand_in_agents,
    stand_ins,
)
from tests.failover.stage import Played, play
from tests.support.stores import PostgresServer, ValkeyServer

Judge = Callable[[Expected, Played], None]

STAND_INS = list(stand_ins())
RACES = list(races())
JUDGES: tuple[Judge, ...] = (
    clients_saw,
    any_cursor_leads_to_the_same_text,
    lambda told, one: was_stored(told, one, FIRST),
    was_billed,
)
SEEN = ("seen", "cursors", "stored", "billed")

each_judge = pytest.mark.parametrize("judge", JUDGES, ids=SEEN)
each_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    return postgres.url(asyncio.run(postgres.create_database()))


@pytest.fixture(scope="module")
def stood_in(database: str, valkey: ValkeyServer) -> dict[StandIn, Played]:
    return play(database, valkey.url, STAND_INS, stand_in_agents)


@pytest.fixture(scope="module")
def raced(database: str, valkey: ValkeyServer) -> dict[Race, Played]:
    return play(database, valkey.url, RACES, race_agents)


@contextmanager
def in_the_case_of(case: object) -> Generator[None]:
    try:
        yield
    except AssertionError as error:
        error.add_note(f"in the case of {case}")
        raise


@each_judge
@each_wire
def test_who_stands_in(wire: str, judge: Judge, stood_in: dict[StandIn, Played]) -> None:
    mine = [case for case in stood_in if case.wire == wire]
    assert {case.contract for case in mine} == set(CONTRACTS)
    for case in mine:
        with in_the_case_of(case):
            judge(expected_stand_in(case, stood_in[case].agent), stood_in[case])


@each_wire
def test_who_was_asked_to_stand_in(wire: str, stood_in: dict[StandIn, Played]) -> None:
    mine = [case for case in stood_in if case.wire == wire]
    assert mine
    for case in mine:
        told, one = expected_stand_in(case, stood_in[case].agent), stood_in[case]
        with in_the_case_of(case):
            assert one.told == told.told, "every ticket is given back, once"
            assert one.asked == told.asked


@each_judge
@each_wire
def test_who_was_quicker(wire: str, judge: Judge, raced: dict[Race, Played]) -> None:
    mine = [case for case in raced if case.wire == wire]
    assert {case.course for case in mine} == set(get_args(Course))
    for case in mine:
        with in_the_case_of(case):
            judge(expected_race(case, raced[case].agent), raced[case])


@each_wire
def test_who_was_asked_to_be_quicker(wire: str, raced: dict[Race, Played]) -> None:
    mine = [case for case in raced if case.wire == wire]
    assert mine
    for case in mine:
        told, one = expected_race(case, raced[case].agent), raced[case]
        with in_the_case_of(case):
            assert one.told == told.told, "every ticket is given back, once"
            paid = Counter(bill.endpoint for bill in told.bills)
            asked, sent = Counter(one.asked), Counter(one.sent)
            assert paid <= sent, "nothing is paid for that was not sent"
            # Who was outrun may have been left before the provider has noted the request.
            assert asked <= sent
            assert sent - asked <= Counter(end for end, word in one.told if word == "left")


@each_wire
def test_what_a_second_request_may_cost(wire: str, raced: dict[Race, Played]) -> None:
    hedged = 0
    for case, one in raced.items():
        if case.wire != wire:
            continue
        with in_the_case_of(case):
            if "nothing" in case.course:
                # What is asked there later is no hedge, but the first one's failure.
                assert one.sent[:1] == [FIRST]
                assert case.strike or one.sent == [FIRST]
                continue
            assert sorted(one.sent[:2]) == sorted([FIRST, case.others])
            charges = [c for c in one.record.charges if c.endpoint == case.others]
            hedged += len(charges)
            assert sum(charge.nano or 0 for charge in charges) <= HEDGE_NANO
    assert hedged
