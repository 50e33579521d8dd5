"""The projection is a function of the log: widths, numbers, and what a late reader is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from contracts.errors import HostUnavailable
from contracts.events import LEG_NUMBERS, Event, events_of, unfolds_to
from contracts.messages import Leg, Message, ResponseRecord, Usage
from gateway.answers import Item, ResponseObject
from gateway.projection import (
    Projector,
    error_body,
    item_object,
    last_number,
    response_object,
    sse_error,
)

SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
STATUSES = ["completed", "failed", "incomplete", "cancelled"]


def ended(cuts: list[str], status: str = "completed", **fields: Any) -> ResponseRecord:
    return ResponseRecord(
        id="resp_1",
        session_id="conv_1",
        status=status,  # type: ignore[arg-type]
        model="auto",
        agent="gpt",
        created_at=100.7,
        item_id="msg_1",
        text="".join(cuts),
        cuts=[len(cut) for cut in cuts],
        completed_at=200.9,
        **fields,
    )


def parse(stream: bytes) -> list[dict[str, Any]]:
    """Server-sent events as a client reads them; id and event lines must agree with the data."""
    events: list[dict[str, Any]] = []
    for block in stream.decode().split("\n\n"):
        if not block:
            continue
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        data = json.loads(lines["data"])
        assert lines["event"] == data["type"]
        if data["type"] != "error":
            assert int(lines["id"]) == data["sequence_number"]
        events.append(data)
    return events


def project(record: ResponseRecord, after: int = -1) -> list[dict[str, Any]]:
    return parse(Projector(record, after).encode(events_of(record)))


texts = st.lists(st.text(min_size=1), max_size=5)
records = st.builds(ended, texts, st.sampled_from(STATUSES))


@given(records)
def test_numbers_have_no_gap_and_widths_are_those_of_the_contract(record: ResponseRecord) -> None:
    whole = project(record)
    assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
    for event in events_of(record):
        projector = Projector(record, event.number - 1)
        shown = parse(projector.encode([event]))
        opens = event.number == 2 if event.kind == "delta" else bool(record.cuts)
        assert len(shown) == unfolds_to(event.kind, opens=opens)
        assert shown[0]["sequence_number"] == event.number
        assert shown[-1]["sequence_number"] == last_number(event) == projector.last


@given(records)
@settings(max_examples=50)
def test_a_reader_from_any_place_gets_exactly_the_rest(record: ResponseRecord) -> None:
    whole = project(record)
    for after in range(-1, len(whole)):
        assert project(record, after) == whole[after + 1 :]


@given(texts)
def test_the_text_is_the_same_in_every_form(cuts: list[str]) -> None:
    record = ended(cuts)
    whole = project(record)
    deltas = [event["delta"] for event in whole if event["type"] == "response.output_text.delta"]
    assert deltas == cuts
    done = [event["text"] for event in whole if event["type"] == "response.output_text.done"]
    assert done == (["".join(cuts)] if cuts else [])
    output = whole[-1]["response"]["output"]
    assert [item["content"][0]["text"] for item in output] == done


def test_what_comes_live_and_what_is_rebuilt_later_are_the_same_bytes() -> None:
    chosen = {"agent": "gpt", "rule": "rest", "reason": "No rule before it matched."}
    final = ended(["Hel", "lo ", "%d"], usage=Usage(3, 4, 1))
    # An endpoint was waited for, and another agent stood in for this one.
    final.decision, final.agent = {**chosen, "endpoint": "gpt-1"}, "gemini"
    running = ResponseRecord(
        "resp_1",
        "conv_1",
        "in_progress",
        "auto",
        "gpt",
        100.7,
        "msg_1",
        user=final.user,
        decision=chosen,
    )
    live = [Event(1, "started", "resp_1", 0, running), *events_of(final)[1:]]
    assert Projector(running).encode(live) == Projector(final).encode(events_of(final))
    troupe = response_object(final)["troupe"]
    assert (troupe["agent"], troupe["chosen"]) == ("gemini", "gpt")


def test_events_in_one_batch_or_one_by_one_are_the_same_bytes() -> None:
    record = ended(["a", "b", "c"])
    one_by_one = Projector(record)
    pieces = b"".join(one_by_one.encode([event]) for event in events_of(record))
    assert pieces == Projector(record).encode(events_of(record))


def test_events_that_the_responses_api_does_not_show_are_left_out() -> None:
    record = ended(["a"])
    message = Message("msg_9", 1, "user", "hi", 1.0, "resp_1")
    accepted = Event(1, "accepted", "resp_1", -1, {"input": [message], "client_id": None})
    item = Event(2, "item", None, -1, {"items": [message]})
    projector = Projector(record)
    assert projector.encode([accepted, item]) == b""
    assert projector.last == -1
    assert last_number(accepted) == -1


@pytest.mark.parametrize("status", STATUSES)
def test_each_ending_has_its_event(status: str) -> None:
    last = project(ended(["x"], status))[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["status"] == status
    assert last["response"]["output"][0]["status"] == (
        "completed" if status == "completed" else "incomplete"
    )


LOST = Leg(2, 5, "continue", "host_lost", 2, 1)


def test_a_new_leg_says_where_to_cut_and_numbers_from_its_own_place() -> None:
    record = ended(["Hel", "lo", " there"], legs=[LOST])
    whole = project(record)
    resumed = next(event for event in whole if event["type"] == "response.resumed")
    assert resumed == {
        "type": "response.resumed",
        "sequence_number": LEG_NUMBERS,
        "response_id": "resp_1",
        "policy": "continue",
        "position": 5,
        "reason": "host_lost",
        "from": None,
        "to": None,
    }
    numbers = [event["sequence_number"] for event in whole]
    assert numbers == [*range(6), LEG_NUMBERS, *range(LEG_NUMBERS + 3, LEG_NUMBERS + 8)]
    for event in events_of(record):
        shown = parse(Projector(record, event.number - 1).encode([event]))
        assert shown[-1]["sequence_number"] == last_number(event)


@given(st.integers(0, 20))
def test_a_client_that_was_shown_more_than_stands_gets_the_next_leg_whole(more: int) -> None:
    record = ended(["Hel", "lo", " there"], legs=[LOST])
    rest = project(record, 5 + more)
    assert rest == [event for event in project(record) if event["sequence_number"] > 5]
    assert rest[0]["type"] == "response.resumed"
    assert rest[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    "record",
    [
        ended(["", ""], "failed", legs=[Leg(2, 0, "restart", "host_lost", 2, 1)]),
        ended(["", "", "Hi"], legs=[Leg(2, 0, "restart", "host_lost", 2, 1)]),
        ended(["Hi"], legs=[Leg(0, 0, "continue", "host_lost", 2, 1)]),
        ended([], "failed", legs=[Leg(0, 0, "stop", "host_lost", 2, 1)]),
    ],
)
def test_whoever_obeys_the_stream_shows_what_the_record_holds(record: ResponseRecord) -> None:
    """From the start, and from every place on with what was shown until there."""
    whole = project(record)
    for cut in range(len(whole)):
        text = ""
        after = whole[cut]["sequence_number"]
        for event in [*whole[: cut + 1], *project(record, after)]:
            if event["type"] == "response.output_text.delta":
                text += event["delta"]
            elif event["type"] == "response.resumed":
                text = text[: event["position"]]
        assert text == record.text
    opened = [event for event in whole if event["type"] == "response.output_item.added"]
    closed = [event for event in whole if event["type"] == "response.output_item.done"]
    assert len(opened) == len(closed) == bool(record.cuts)


def test_every_event_is_one_that_the_sdk_knows() -> None:
    for status in ["completed", "failed", "incomplete"]:
        record = ended(
            ["Hel", "lo"],
            status,
            usage=Usage(3, 4, 1),
            error={"code": "server_error", "message": "no"} if status == "failed" else None,
            incomplete_reason="max_output_tokens" if status == "incomplete" else None,
        )
        for event in project(record):
            parsed = SDK_EVENT.validate_python(event)
            assert parsed.type == event["type"]


def test_the_response_object_is_the_sdks_and_the_documents() -> None:
    record = ended(
        ["Hello"],
        usage=Usage(3, 4, 1),
        metadata={"a": "b"},
        user="u",
        previous_response_id="resp_0",
        decision={"agent": "gpt", "rule": "maths", "reason": "because"},
    )
    shown = response_object(record)
    sdk = SdkResponse.model_validate(shown)
    assert sdk.output_text == "Hello"
    assert sdk.created_at == 100
    assert sdk.completed_at == 200
    assert sdk.usage is not None
    assert (sdk.usage.total_tokens, sdk.usage.input_tokens_details.cached_tokens) == (7, 1)
    assert sdk.conversation is not None
    assert sdk.conversation.id == "conv_1"
    described = ResponseObject.model_validate(shown)
    assert described.troupe.rule == "maths"


def test_a_running_response_shows_nothing_of_its_end() -> None:
    record = ended(["Hello"], usage=Usage(1, 1), error={"code": "x", "message": "y"})
    shown = response_object(record, started=True)
    assert shown["status"] == "in_progress"
    assert shown["output"] == []
    assert (shown["usage"], shown["error"], shown["completed_at"]) == (None, None, None)
    queued = ended([])
    queued.status = "queued"
    assert response_object(queued)["completed_at"] is None


def test_items_are_input_or_output_by_role() -> None:
    user = item_object(Message("msg_1", 1, "user", "hi", 1.0))
    answer = item_object(Message("msg_2", 2, "assistant", "ho", 1.0))
    assert user["content"] == [{"type": "input_text", "text": "hi"}]
    assert answer["content"][0]["type"] == "output_text"
    for shown in (user, answer):
        assert Item.model_validate(shown).id == shown["id"]


def test_an_error_in_the_stream_keeps_the_place_of_whoever_resumes_after_it() -> None:
    error = HostUnavailable("Gone.", retry_after=1)
    block = sse_error(error, "req_1", 7)
    assert b"\nid:" not in block
    [event] = parse(block)
    assert event["sequence_number"] == 7
    assert SDK_EVENT.validate_python(event).code == "host_unavailable"


def test_the_error_body_carries_the_request_id() -> None:
    error = HostUnavailable("Gone.", details={"limit": 3})
    assert error_body(error, "req_1") == {
        "error": {
            "message": "Gone.",
            "type": "server_error",
            "param": None,
            "code": "host_unavailable",
            "limit": 3,
            "request_id": "req_1",
        }
    }
