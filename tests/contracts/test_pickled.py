"""What travels between gateways and hosts arrives as it left."""

from __future__ import annotations

import pickle
from dataclasses import fields

from contracts.commands import InputItem, SessionKey, Submit, TurnRequest
from contracts.errors import Busy, ProviderTimeout
from contracts.messages import Leg, ResponseRecord, Usage
from contracts.money import Charge


def test_a_command_arrives_as_it_left() -> None:
    said = (InputItem("user", "hi"), InputItem("assistant", "ho"))
    turn = TurnRequest("resp_1", "auto", said, metadata={"a": "b"}, stateless=True)
    command = Submit(7, SessionKey("org", "conv_1"), turn)
    data = pickle.dumps([command], protocol=pickle.HIGHEST_PROTOCOL)
    assert pickle.loads(data) == [command]
    assert b"_dataclass_" not in data
    assert b"response_id" not in data, "values alone, no names of fields"


def test_an_error_arrives_as_it_left() -> None:
    charge = Charge("a", "e", "m", 1, 2, 0, 30, estimated=True)
    for error in (
        Busy("full", param="p", code="c", retry_after=2.0, details={"a": 1}),
        ProviderTimeout("slow", charges=(charge,)),
    ):
        arrived = pickle.loads(pickle.dumps(error))
        assert type(arrived) is type(error)
        assert vars(arrived) == vars(error)
    # The release before knows an error's fields, and no charges among them.
    assert len(error.__reduce__()[1]) == 6


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
