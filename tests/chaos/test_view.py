"""What a client shows is what the protocol says it shows."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.record import Message, SessionRecord
from chaos.view import LEG_NUMBERS, View


def a_view(**options: bool) -> View:
    record = SessionRecord("conv_1", "native")
    record.messages.append(Message(1, "k1", "Hello."))
    return View(record, **options)


def response(text: str, status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    return {
        "id": "resp_1",
        "status": status,
        "output": [{"type": "message", "role": "assistant", "content": content}],
    }


def frames(*kinds: tuple[str, dict[str, Any]], epoch: int = 1, seq: int = 1) -> list[dict]:
    return [
        {"type": f"response.{kind}", "epoch": epoch, "seq": at, "response_id": "resp_1", **body}
        for at, (kind, body) in enumerate(kinds, seq)
    ]


ACCEPTED = ("accepted", {"id": "k1"})
CREATED = ("created", {"response": {"id": "resp_1"}})


def delta(text: str) -> tuple[str, dict[str, Any]]:
    return "output_text.delta", {"delta": text}


def resumed(position: int, policy: str = "continue") -> tuple[str, dict[str, Any]]:
    return "resumed", {"position": position, "policy": policy, "reason": "host_lost"}


def completed(text: str) -> tuple[str, dict[str, Any]]:
    return "completed", {"response": response(text)}


def feed(view: View, items: list[dict]) -> list[str]:
    ended = [view.frame(item, float(at)) for at, item in enumerate(items)]
    return [response_id for response_id in ended if response_id]


def test_deltas_are_appended_and_the_end_agrees() -> None:
    view = a_view()
    ended = feed(view, frames(ACCEPTED, CREATED, delta("t0 "), delta("t1 "), completed("t0 t1 ")))
    answer = view.record.answers["resp_1"]
    assert ended == ["resp_1"]
    assert (answer.text, answer.status, answer.differed) == ("t0 t1 ", "completed", False)
    assert answer.times == [2.0, 3.0]
    assert view.record.messages[0].acknowledged
    assert view.record.messages[0].response_id == "resp_1"
    assert view.record.gaps == []


def test_an_end_that_says_something_else_is_noted_and_what_is_shown_stays() -> None:
    view = a_view()
    feed(view, frames(CREATED, delta("t0 "), completed("t0 t1 ")))
    answer = view.record.answers["resp_1"]
    assert answer.differed
    assert answer.text == "t0 "


def test_a_stock_client_takes_over_what_the_end_says_and_knows_no_cuts() -> None:
    view = a_view(takes_over=True)
    feed(view, frames(CREATED, delta("t0 "), resumed(0), delta("t0 t1 "), completed("t0 t1 ")))
    answer = view.record.answers["resp_1"]
    assert (answer.text, answer.differed, answer.legs) == ("t0 t1 ", False, [])


@pytest.mark.parametrize(("position", "then"), [(3, "t1 "), (0, "t0 t1 "), (6, "")])
def test_resumed_cuts_to_its_position(position: int, then: str) -> None:
    view = a_view()
    feed(view, frames(CREATED, delta("t0 "), delta("t1 ")))
    tail = frames(resumed(position), delta(then), completed("t0 t1 "), epoch=2, seq=4)
    feed(view, tail)
    answer = view.record.answers["resp_1"]
    assert (answer.text, answer.differed) == ("t0 t1 ", False)
    assert answer.legs == ["continue"]


def test_created_begins_anew() -> None:
    view = a_view()
    feed(view, frames(CREATED, delta("t0 ")))
    feed(view, frames(CREATED, delta("t0 t1 "), completed("t0 t1 "), epoch=2))
    assert view.record.answers["resp_1"].text == "t0 t1 "


def test_a_seq_that_leaves_one_out_is_a_gap() -> None:
    view = a_view()
    first, *rest = frames(CREATED, delta("t0 "), delta("t1 "))
    feed(view, [first, rest[1]])
    assert view.record.gaps == ["(1, 3) after (1, 1)"]


def test_a_seq_that_comes_again_in_its_epoch_is_a_gap() -> None:
    view = a_view()
    items = frames(CREATED, delta("t0 "))
    feed(view, [*items, items[1]])
    assert view.record.gaps == ["(1, 2) after (1, 2)"]


def test_a_new_epoch_may_begin_again_before_what_only_the_lost_host_knew() -> None:
    view = a_view()
    feed(view, frames(CREATED, delta("t0 "), delta("t1 ")))
    feed(view, frames(resumed(3), delta("t1 "), epoch=2, seq=3))
    assert view.record.gaps == []
    assert view.cursor == (2, 4)
    feed(view, frames(delta("t9 "), epoch=3, seq=6))
    assert view.record.gaps == ["(3, 6) after (2, 4)"]


def opened(recovered: bool, *snapshot: dict[str, Any]) -> dict[str, Any]:
    frame: dict[str, Any] = {"epoch": 5, "seq": 40, "recovered": recovered}
    return {**frame, "snapshot": list(snapshot)} if snapshot else frame


def test_the_first_opening_sets_the_cursor_and_a_recovered_one_leaves_it() -> None:
    view = a_view()
    assert view.opened(opened(True), 0.0) == []
    assert view.cursor == (5, 40)
    view.cursor = (5, 44)
    view.opened(opened(True), 0.0)
    assert view.cursor == (5, 44)


def test_a_snapshot_stands_in_place_of_what_was_shown() -> None:
    view = a_view()
    feed(view, frames(CREATED, delta("t0 ")))
    part = {"type": "output_text", "text": "t0 t1 "}
    answer = {"role": "assistant", "response_id": "resp_1", "content": [part]}
    question = {"role": "user", "response_id": "resp_1", "content": [{"text": "Hello."}]}
    assert view.opened(opened(False, question, answer), 9.0) == ["resp_1"]
    shown = view.record.answers["resp_1"]
    assert (shown.text, shown.status, shown.ended) == ("t0 t1 ", "restored", 9.0)
    # The running turn's events follow from wherever it began.
    feed(view, frames(CREATED, epoch=5, seq=33))
    assert view.record.gaps == []
    assert view.cursor == (5, 33)


def test_an_answer_that_never_began_is_a_gap() -> None:
    view = a_view()
    feed(view, frames(delta("t4 ")))
    assert view.record.gaps == ["resp_1 goes on, and never began"]


def test_server_sent_events_are_followed_by_their_numbers() -> None:
    view = a_view()
    events = [
        {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}},
        {"type": "response.in_progress", "sequence_number": 1},
        {"type": "response.output_text.delta", "sequence_number": 2, "delta": "t0 "},
    ]
    after = -1
    for event in events:
        after, ended = view.event(event, after, 0.0)
        assert ended is None
    cut = {"type": "response.resumed", "response_id": "resp_1", "position": 0, "policy": "restart"}
    after, _ = view.event({**cut, "sequence_number": LEG_NUMBERS}, after, 0.0)
    again = {"type": "response.output_text.delta", "delta": "t0 t1 "}
    after, _ = view.event({**again, "sequence_number": after + 3}, after, 0.0)
    end = {"type": "response.completed", "response": response("t0 t1 ")}
    after, ended = view.event({**end, "sequence_number": after + 1}, after, 0.0)
    assert ended == "resp_1"
    assert view.record.gaps == []
    assert not view.record.answers["resp_1"].differed


@pytest.mark.parametrize(
    ("after", "number"),
    [(4, 2), (4, 4), (4, 6), (LEG_NUMBERS, LEG_NUMBERS + 4), (LEG_NUMBERS + 3, LEG_NUMBERS + 5)],
)
def test_a_number_that_does_not_follow_is_a_gap(after: int, number: int) -> None:
    view = a_view()
    view.event({"type": "response.in_progress", "sequence_number": number}, after, 0.0)
    assert view.record.gaps == [f"response.in_progress has number {number} after {after}"]
