"""What must hold of a turn however it went: what was seen, kept, asked and paid for."""

from __future__ import annotations

from dataclasses import asdict, replace

from contracts.events import events_of
from contracts.money import cost
from gateway.projection import Projector
from tests.failover.expected import Bill, Expected
from tests.failover.faults import TOKENS
from tests.failover.stage import PRICES, Played, Seen, api_events


def clients_saw(told: Expected, one: Played) -> None:
    for seen in (one.socket, one.stream):
        assert seen.shown == told.text
        assert legs_of(seen) == [asdict(leg) for leg in told.legs]
        [end] = seen.ends
        assert end["status"] == ("completed" if told.error is None else "failed")
        assert (end["error"] or {}).get("code") == told.error
        assert seen.kinds[-1] == f"response.{end['status']}"
        troupe = end["troupe"]
        assert troupe["agent"] == told.agent
        assert troupe.get("chosen") == (None if told.agent == one.agent else one.agent)
        asked = [(charge["agent"], charge["endpoint"]) for charge in troupe.get("charges", [])]
        assert asked == [(bill.agent, bill.endpoint) for bill in told.bills]
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


def any_cursor_leads_to_the_same_text(told: Expected, one: Played) -> None:
    record = one.record
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


def was_stored(told: Expected, one: Played, first: str) -> None:
    """`first`: the endpoint that was asked first."""
    record = one.record
    assert record.text == told.text
    assert sum(record.cuts) == len(record.text)
    assert record.status == ("completed" if told.error is None else "failed")
    assert (record.error or {}).get("code") == told.error
    assert [
        (leg.policy, leg.position, leg.reason, leg.source, leg.target) for leg in record.legs
    ] == [(leg.policy, leg.position, leg.reason, leg.source, leg.target) for leg in told.legs]
    legs = [leg.number for leg in record.legs]
    assert legs == sorted(set(legs)) and 0 not in legs
    assert (record.agent, record.decision["agent"]) == (told.agent, one.agent)
    assert record.decision["endpoint"] == first
    said = [message.text for message in one.messages if message.role == "assistant"]
    assert said == ([told.text] if told.text else [])


def was_billed(told: Expected, one: Played) -> None:
    charges = one.record.charges
    bills = [
        Bill(
            charge.agent,
            charge.endpoint,
            -1 if charge.estimated else charge.output_tokens,
            charge.estimated,
        )
        for charge in charges
    ]
    assert bills == [replace(bill, said=-1) if bill.estimated else bill for bill in told.bills]
    for charge, bill in zip(charges, told.bills, strict=True):
        assert charge.model.startswith(f"scripted.tokens-{TOKENS}.")
        assert charge.input_tokens > 0
        assert charge.output_tokens >= bill.said, "an estimate is never too low"
        price = PRICES[charge.endpoint]
        assert charge.nano == cost(
            price, charge.input_tokens, charge.output_tokens, charge.cached_tokens
        )
    counted = (sum(c.input_tokens for c in charges), sum(c.output_tokens for c in charges))
    usage = one.record.usage
    assert (usage.input_tokens, usage.output_tokens) == counted if usage else not charges
