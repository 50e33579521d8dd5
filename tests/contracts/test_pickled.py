"""What travels between gateways and hosts arrives as it left."""

from __future__ import annotations

import pickle
from dataclasses import fields

from contracts.commands import InputItem, SessionKey, Submit, TurnRequest
from contracts.messages import Leg, ResponseRecord, Usage


def test_a_command_arrives_as_it_left() -> None:
    said = (InputItem("user", "hi"), InputItem("assistant", "ho"))
    turn = TurnRequest("resp_1", "auto", said, metadata={"a": "b"}, stateless=True)
    command = Submit(7, SessionKey("org", "conv_1"), turn)
    data = pickle.dumps([command], protocol=pickle.HIGHEST_PROTOCOL)
    assert pickle.loads(data) == [command]
    assert b"_dataclass_" not in data
    assert b"response_id" not in data, "values alone, no names of fields"


def test_a_record_arrives_whole_and_is_another() -> None:
    record = ResponseRecord(
        "resp_1", "conv_1", "completed", "m", "a", 1.0, "msg_1", "text", [4], 3, usage=Usage(1, 2)
    )
    record.legs.append(Leg(1, 2, "continue", "host_lost", 3, 16))
    for field in fields(ResponseRecord):
        if getattr(record, field.name) is None:
            setattr(record, field.name, f"its {field.name}")
    data = pickle.dumps(record, protocol=pickle.HIGHEST_PROTOCOL)
    arrived = pickle.loads(data)
    assert arrived == record
    assert arrived.cuts is not record.cuts
    assert b"item_id" not in data
