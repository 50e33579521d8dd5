"""Failover as a contract: every fault, at every point of a stream, against every contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from contracts.events import events_of
from contracts.money import cost
from gateway.projection import Projector
from simulator.script import FAULTS as PLAYED_FAULTS
from tests.failover.expected import ATTEMPTS, BAD, GOOD, Bill, Expected, expected, kept_of
from tests.failover.faults import CONTRACTS, FAULTS, POINTS, TOKENS, WIRES, Case, Fault, cases
from tests.failover.stage import PRICES, Played, Seen, api_events, play
from tests.support.stores import PostgresServer, ValkeyServer

CASES = list(cases())
ROWS = [(wire, fault) for wire in WIRES for fault in FAULTS if wire in fault.wires]

Judge = Callable[[Case, Played], None]


@pytest.fixture(scope="module")
def played(postgres: PostgresServer, valkey: ValkeyServer) -> dict[Case, Played]:
    url = postgres.url(asyncio.run(postgres.create_database()))
    return {one.case: one for one in play(url, valkey.url, CASES)}


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


def promised(one: Played) -> Expected:
    """What must have become of it, given how much was heard of the answers that failed."""
    case, seen = one.case, one.socket
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
    told = promised(one)
    for seen in (one.socket, one.stream):
        assert seen.shown == told.text
        assert legs_of(seen) == [asdict(leg) for leg in told.legs]
        [end] = seen.ends
        assert end["status"] == ("completed" if told.error is None else "failed")
        assert (end["error"] or {}).get("code") == told.error
        assert seen.kinds[-1] == f"response.{end['status']}"
    numbers = one.stream.numbers
    assert numbers == sorted(set(numbers)), "numbers go up"
    if not told.legs:
        # Whatever was tried before the first token, nobody hears of it.
        assert numbers == list(range(len(numbers)))


def legs_of(seen: Seen) -> list[dict[str, object]]:
    return [
        {
            "policy": leg["policy"],
            "position": leg["position"],
            "reason": leg["reason"],
            "source": leg["from"],
            "target": leg["to"],
        }
        for leg in seen.legs
    ]


@every_case
def test_who_comes_back_by_any_cursor_ends_with_the_same_text(case: Case, one: Played) -> None:
    told, record = promised(one), one.record
    kept = events_of(record, taken=[record.accepted_seq])
    assert one.told_stream
    seen = Seen()
    for event in one.told_stream[:-1]:
        seen.show(event)
        again = replace(seen, ends=[], legs=[], kinds=[], numbers=list(seen.numbers))
        for missed in api_events(Projector(record, event["sequence_number"]), kept):
            again.show(missed)
        assert again.shown == told.text
        assert again.numbers == one.stream.numbers
        assert [end["status"] for end in again.ends] == [record.status]


@every_case
def test_what_was_stored(case: Case, one: Played) -> None:
    told, record = promised(one), one.record
    assert record.text == told.text
    assert sum(record.cuts) == len(record.text)
    assert record.status == ("completed" if told.error is None else "failed")
    assert (record.error or {}).get("code") == told.error
    assert [
        (leg.policy, leg.position, leg.reason, leg.source, leg.target) for leg in record.legs
    ] == [(leg.policy, leg.position, leg.reason, leg.source, leg.target) for leg in told.legs]
    legs = [leg.number for leg in record.legs]
    assert legs == sorted(set(legs)) and 0 not in legs
    assert (record.agent, record.decision["agent"]) == (one.agent, one.agent)
    assert record.decision["endpoint"] == BAD
    said = [message.text for message in one.messages if message.role == "assistant"]
    assert said == ([told.text] if told.text else [])


@every_case
def test_who_was_asked(case: Case, one: Played) -> None:
    told = promised(one)
    assert one.told == told.told, "every ticket is given back, once"
    # Where nobody listens, nobody notes who came.
    deaf = {BAD} if case.otherwise == "another is fine" else {BAD, GOOD}
    arrived = [name for name in told.asked if case.fault.name != "refused" or name not in deaf]
    assert one.asked == arrived
    assert 1 <= len(told.asked) <= ATTEMPTS


@every_case
def test_what_was_billed(case: Case, one: Played) -> None:
    told, record = promised(one), one.record
    charges = record.charges
    bills = [
        Bill(charge.endpoint, -1 if charge.estimated else charge.output_tokens, charge.estimated)
        for charge in charges
    ]
    assert bills == [replace(bill, said=-1) if bill.estimated else bill for bill in told.bills]
    for charge, bill in zip(charges, told.bills, strict=True):
        assert charge.agent == one.agent
        assert charge.model.startswith(f"scripted.tokens-{TOKENS}.")
        assert charge.input_tokens > 0
        assert charge.output_tokens >= bill.said, "an estimate is never too low"
        price = PRICES[charge.endpoint]
        assert charge.nano == cost(
            price, charge.input_tokens, charge.output_tokens, charge.cached_tokens
        )
    counted = (sum(c.input_tokens for c in charges), sum(c.output_tokens for c in charges))
    usage = record.usage
    assert (usage.input_tokens, usage.output_tokens) == counted if usage else not charges


def test_the_table_has_every_fault_that_the_provider_can_play() -> None:
    assert {fault.name for fault in FAULTS} == {*PLAYED_FAULTS, "refused"}


def test_nothing_is_left_out(played: dict[Case, Played]) -> None:
    assert set(played) == set(CASES)
    for wire in WIRES:
        for contract in CONTRACTS:
            mine = [case for case in played if (case.wire, case.contract) == (wire, contract)]
            assert {case.point for case in mine} == set(POINTS)
            assert {case.fault for case in mine} == {f for f in FAULTS if wire in f.wires}
