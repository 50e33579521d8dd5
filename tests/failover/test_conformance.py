"""Failover as a contract: every fault, at every point of a stream, against every contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.desk import Seat
from simulator.script import FAULTS as PLAYED_FAULTS
from tests.failover.expected import ATTEMPTS, BAD, GOOD, Expected, expected, kept_of
from tests.failover.faults import CONTRACTS, FAULTS, POINTS, TOKENS, WIRES, Case, Fault, cases
from tests.failover.judging import (
    any_cursor_leads_to_the_same_text,
    clients_saw,
    was_billed,
    was_stored,
)
from tests.failover.stage import Played, Role, Stage, play
from tests.support.stores import PostgresServer, ValkeyServer

CASES = list(cases())
ROWS = [(wire, fault) for wire in WIRES for fault in FAULTS if wire in fault.wires]

Judge = Callable[[Case, Played], None]


@pytest.fixture(scope="module")
def played(postgres: PostgresServer, valkey: ValkeyServer) -> dict[Case, Played]:
    url = postgres.url(asyncio.run(postgres.create_database()))
    return play(url, valkey.url, CASES, agents)


def agents(stage: Stage[Case], name: str, case: Case) -> list[Seat]:
    fault = case.fault.name
    at = None if case.point == "before the headers" else case.at
    once = 1 if case.otherwise == "the same is fine again" else None
    roles = [Role(BAD, fault, at, once, speaks=case.at > 0)]
    if case.otherwise == "another is fine":
        roles.append(Role(GOOD))
    elif case.otherwise == "no other is fine":
        said = min(case.at, TOKENS - kept_of(case, case.at))
        roles.append(Role(GOOD, fault, at, speaks=said > 0))
    contract = {"attempts": ATTEMPTS, "on_failure": case.contract}
    return [stage.seat(name, name, case.wire, roles, **contract)]


def every_case(judge: Judge) -> Any:
    """A test for each row of the table and each wire: at every point, for every contract."""

    @pytest.mark.parametrize(("wire", "fault"), ROWS, ids=lambda part: getattr(part, "name", part))
    def test(wire: str, fault: Fault, played: dict[Case, Played]) -> None:
        mine = [case for case in CASES if (case.wire, case.fault) == (wire, fault)]
        assert {case.contract for case in mine} == set(CONTRACTS)
        for case in mine:
            try:
                judge(case, played[case])
            except AssertionError as error:
                error.add_note(f"in the case of {case}")
                raise

    return test


def promised(case: Case, one: Played) -> Expected:
    """What must have become of it, given how much was heard of the answers that failed."""
    seen = one.socket
    assert seen.first is not None, "the turn has no end"
    began = seen.legs and seen.legs[0]["from"] == f"{one.agent}/{BAD}"
    heard = seen.first.count(" ") if began else 0
    kept = kept_of(case, heard)
    more = min(case.at, TOKENS - kept)
    if case.fault.name == "abort":
        # A reset may overtake what was sent before it.
        assert heard <= case.at
        if case.otherwise == "no other is fine" and case.contract != "stop":
            said = seen.shown.count(" ") - kept
            assert 0 <= said <= more
            more = said
    else:
        assert heard == case.at
    return expected(case, one.agent, heard, more)


@every_case
def test_what_the_client_saw(case: Case, one: Played) -> None:
    clients_saw(promised(case, one), one)


@every_case
def test_who_comes_back_by_any_cursor_ends_with_the_same_text(case: Case, one: Played) -> None:
    any_cursor_leads_to_the_same_text(promised(case, one), one)


@every_case
def test_what_was_stored(case: Case, one: Played) -> None:
    was_stored(promised(case, one), one, BAD)


@every_case
def test_who_was_asked(case: Case, one: Played) -> None:
    told = promised(case, one)
    assert one.told == told.told, "every ticket is given back, once"
    # Where nobody listens, nobody notes who came.
    deaf = {BAD} if case.otherwise == "another is fine" else {BAD, GOOD}
    arrived = [name for name in told.asked if case.fault.name != "refused" or name not in deaf]
    assert one.asked == arrived
    assert 1 <= len(told.asked) <= ATTEMPTS


@every_case
def test_what_was_billed(case: Case, one: Played) -> None:
    was_billed(promised(case, one), one)


def test_the_table_has_every_fault_that_the_provider_can_play() -> None:
    assert {fault.name for fault in FAULTS} == {*PLAYED_FAULTS, "refused"}


def test_nothing_is_left_out(played: dict[Case, Played]) -> None:
    assert set(played) == set(CASES)
    for wire in WIRES:
        for contract in CONTRACTS:
            mine = [case for case in played if (case.wire, case.contract) == (wire, contract)]
            assert {case.point for case in mine} == set(POINTS)
            assert {case.fault for case in mine} == {f for f in FAULTS if wire in f.wires}
