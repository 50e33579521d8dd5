"""The event log: no gap, nothing twice, nothing before its time."""

from __future__ import annotations

from actors.log import EventLog
from contracts.events import Event, events_of, unfolds_to
from contracts.messages import ResponseRecord


def filled(count: int, seq: int = 0) -> EventLog:
    log = EventLog(1, seq)
    for n in range(count):
        log.append("delta", "resp_1", n, str(n))
    return log


def test_seqs_continue_where_the_activation_before_stopped() -> None:
    log = filled(3, seq=41)
    assert [event.seq for event in log.unshipped()] == [42, 43, 44]
    assert log.seq == log.shipped_seq == 44


def test_each_event_is_shipped_once() -> None:
    log = filled(2)
    assert len(log.unshipped()) == 2
    assert log.unshipped() == ()
    log.append("delta", "resp_1", 9, "x")
    assert [event.data for event in log.unshipped()] == ["x"]


def test_a_reserved_place_holds_back_all_that_follows() -> None:
    log = filled(1)
    seq = log.reserve()
    log.append("accepted", "resp_2", -1, {})
    assert [event.seq for event in log.unshipped()] == [1]
    assert log.shipped_seq == 1
    log.fill(Event(seq, "ended", "resp_1", 1, None))
    assert [(event.seq, event.kind) for event in log.unshipped()] == [(2, "ended"), (3, "accepted")]


def test_since_gives_every_suffix_and_nothing_it_does_not_hold() -> None:
    log = filled(4, seq=10)
    log.unshipped()
    for seq in range(10, 15):
        assert [event.seq for event in log.since(seq) or ()] == list(range(seq + 1, 15))
    assert log.since(9) is None
    assert log.since(15) is None


def test_what_was_not_shipped_is_not_replayed() -> None:
    log = filled(2)
    log.unshipped()
    log.append("delta", "resp_1", 2, "not yet")
    assert [event.seq for event in log.since(0) or ()] == [1, 2]


def test_trim_forgets_only_what_was_shipped() -> None:
    log = filled(3)
    log.unshipped()
    log.append("delta", "resp_1", 3, "new")
    log.trim()
    assert log.since(2) is None
    assert [event.data for event in log.unshipped()] == ["new"]
    assert [event.seq for event in log.since(3) or ()] == [4]


def answered(text: str, cuts: list[int]) -> tuple[EventLog, ResponseRecord]:
    log = EventLog(3, 0)
    record = ResponseRecord("resp_1", "conv_1", "completed", "m", "a", 0.0, "msg_1")
    record.text, record.cuts = text, cuts
    record.first_seq = 2
    log.append("accepted", "resp_1", -1, {})
    log.append("started", "resp_1", 0, record)
    number, start = 2, 0
    for index, length in enumerate(cuts):
        log.append("delta", "resp_1", number, text[start : start + length])
        number += unfolds_to("delta", opens=index == 0)
        start += length
    log.append("ended", "resp_1", number, record)
    log.unshipped()
    return log, record


def test_a_response_is_replayed_from_any_number() -> None:
    log, _ = answered("abcdef", [1, 2, 3])
    numbers = [event.number for event in log.of("resp_1", -1) or ()]
    assert numbers == [0, 2, 5, 6, 7]
    assert [event.number for event in log.of("resp_1", 4) or ()] == [5, 6, 7]
    # The first delta unfolds to 2, 3 and 4: a reader at 3 still needs a part of it.
    assert [event.number for event in log.of("resp_1", 3) or ()] == [2, 5, 6, 7]
    assert log.of("resp_unknown", -1) is None


def test_a_response_whose_start_was_trimmed_is_left_to_the_store() -> None:
    log, _ = answered("ab", [2])
    log.trim()
    assert log.of("resp_1", -1) is None


def test_the_record_gives_back_the_very_events() -> None:
    log, record = answered("abcdef", [1, 2, 3])
    assert events_of(record) == list(log.of("resp_1", -1) or ())


def test_the_record_steps_over_what_others_said_meanwhile() -> None:
    record = ResponseRecord("resp_1", "conv_1", "completed", "m", "a", 0.0, "msg_1")
    record.text, record.cuts, record.first_seq = "abc", [1, 2], 5
    assert [event.seq for event in events_of(record, taken={6, 8})] == [5, 7, 9, 10]
