"""What callers see of a turn's cost."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.events import events_of
from contracts.messages import ResponseRecord, Status
from contracts.money import Charge
from gateway.answers import ResponseObject
from gateway.projection import Projector, response_object

CHARGES = [
    Charge("gpt", "gpt-1", "gpt-5.4-mini", 100, 7, 30, 86_250, estimated=True),
    Charge("gemini", "gemini-1", "local", 90, 5, 0, None),
    Charge("gpt", "gpt-2", "gpt-5.4-mini", 10, 0, 0, 7_500),
]


def record_of(status: Status = "completed", **fields: Any) -> ResponseRecord:
    return ResponseRecord(
        id="resp_1",
        session_id="conv_1",
        status=status,
        model="auto",
        agent="gpt",
        created_at=100.0,
        item_id="msg_1",
        text="Hello",
        cuts=[2, 3],
        first_seq=2,
        last_seq=5,
        completed_at=101.0,
        **fields,
    )


def test_an_ended_response_says_what_it_cost() -> None:
    shown = response_object(record_of(charges=list(CHARGES)))
    assert shown["troupe"]["cost_usd"] == 0.00009375
    first, second, third = shown["troupe"]["charges"]
    assert first == {
        "agent": "gpt",
        "endpoint": "gpt-1",
        "model": "gpt-5.4-mini",
        "input_tokens": 100,
        "output_tokens": 7,
        "cached_tokens": 30,
        "cost_usd": 0.00008625,
        "estimated": True,
    }
    assert second["cost_usd"] is None
    assert "estimated" not in third
    described = ResponseObject.model_validate(shown)
    assert described.troupe.charges is not None
    assert [charge.estimated for charge in described.troupe.charges] == [True, False, False]


@pytest.mark.parametrize("charges", [[], [CHARGES[1]]])
def test_what_is_not_known_is_left_out(charges: list[Charge]) -> None:
    troupe = response_object(record_of(charges=charges))["troupe"]
    assert "cost_usd" not in troupe
    assert ("charges" in troupe) == bool(charges)
    assert "budget" not in troupe


def test_a_running_response_has_cost_nothing_yet() -> None:
    running = response_object(record_of("in_progress", charges=list(CHARGES)))["troupe"]
    assert running == {"agent": "gpt"}


def test_a_stream_begins_with_the_same_bytes_for_who_comes_later() -> None:
    decision = {"agent": "gpt", "rule": "model", "reason": "Asked.", "budget": ["user_day"]}
    live = record_of("in_progress", decision=decision)
    late = record_of(charges=list(CHARGES), decision={**decision, "budget": ["user_day", "turn"]})
    first, *_, last = events_of(late)
    began = Projector(live).encode([first._replace(data=live)])
    assert b'"budget":["user_day"]' in began
    assert Projector(late).encode([first]) == began
    assert b'"budget":["user_day","turn"]' in Projector(late).encode([last])


def test_the_warning_of_the_turn_alone_leaves_nothing_at_its_beginning() -> None:
    record = record_of(decision={"agent": "gpt", "budget": ["turn"]})
    assert "budget" not in response_object(record, started=True)["troupe"]
    assert response_object(record)["troupe"]["budget"] == ["turn"]
    assert record.decision["budget"] == ["turn"]
