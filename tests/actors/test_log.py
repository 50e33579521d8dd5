"""The event log: no gap, nothing twice, nothing before its time."""

from __future__ import annotations

from actors.log import EventLog
from contracts.events import Cursor, Event, events_of, unfolds_to
from contracts.messages import Leg, ResponseRecord


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
        assert [event.seq for event in log.after(seq) or ()] == list(range(seq + 1, 15))
    assert log.after(9) is None
    assert log.after(15) is None


def test_what_was_not_shipped_is_not_replayed() -> None:
    log = filled(2)
    log.unshipped()
    log.append("delta", "resp_1", 2, "not yet")
    assert [event.seq for event in log.after(0) or ()] == [1, 2]


def test_trim_forgets_only_what_was_shipped() -> None:
    log = filled(3)
    log.unshipped()
    log.append("delta", "resp_1", 3, "new")
    log.trim()
    assert log.after(2) is None
    assert [event.data for event in log.unshipped()] == ["new"]
    assert [event.seq for event in log.after(3) or ()] == [4]


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


def inherited() -> EventLog:
    """Epoch 7 goes on after 12; epoch 4 said 9 and 10, epoch 5 went on with 11 and 12."""
    restored = [
        Event(9, "started", "resp_1", 0, None),
        Event(10, "delta", "resp_1", 2, "a"),
        Event(11, "resumed", "resp_1", 1_000_000, Leg(1, 1, "continue", "host_lost", 5, 1)),
        Event(12, "delta", "resp_1", 1_000_003, "b"),
    ]
    return EventLog(7, 12, 4, restored)


def test_a_cursor_of_an_earlier_epoch_is_led_to_where_that_epoch_was_lost() -> None:
    log = inherited()
    log.append("resumed", "resp_1", 2_000_000, Leg(2, 2, "continue", "host_lost", 7, 2))
    log.unshipped()

    def told(epoch: int, seq: int) -> list[int] | None:
        events = log.since(Cursor(epoch, seq))
        return None if events is None else [event.seq for event in events]

    assert told(4, 9) == [10, 11, 12, 13]
    assert told(4, 10) == told(4, 11) == told(4, 30) == [11, 12, 13]
    assert told(5, 11) == [12, 13]
    assert told(5, 12) == told(6, 40) == [13]
    assert told(7, 13) == []
    assert told(7, 14) is None, "nobody was told that"
    assert told(3, 10) is None, "who knows what that epoch said"
    assert told(0, 0) is None
    assert told(4, 7) is None, "no longer here"


def test_a_session_that_slept_goes_on_for_whoever_had_heard_all() -> None:
    log = EventLog(3, 20, 2)
    assert log.since(Cursor(2, 20)) == ()
    assert log.since(Cursor(2, 19)) is None
    assert log.since(Cursor(1, 20)) is None
