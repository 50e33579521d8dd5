"""Each count is shown to count: a clean session has none, one planted defect exactly one."""

from __future__ import annotations

import pytest

from bench.stats import numbered
from chaos import check
from chaos.plants import PLANTS, NothingToPlant, plant
from chaos.record import Item, Message, StoredAnswer
from tests.chaos.samples import TOKENS, clean


def counts(record: object, stored: object) -> dict[str, int]:
    return check.count(check.check(record, stored, TOKENS))  # type: ignore[arg-type]


def only(what: str, many: int = 1) -> dict[str, int]:
    return {**dict.fromkeys(check.COUNTED, 0), what: many}


def test_a_clean_session_has_no_finding() -> None:
    record, stored = clean()
    assert counts(record, stored) == dict.fromkeys(check.COUNTED, 0)


@pytest.mark.parametrize("name", sorted(PLANTS))
def test_each_plant_is_counted_once_and_as_nothing_else(name: str) -> None:
    sessions = [clean()]
    what = plant(name, sessions)
    assert counts(*sessions[0]) == only(what)


def test_every_count_has_a_plant() -> None:
    assert {what for what, _ in PLANTS.values()} == set(check.COUNTED)


def test_nothing_can_be_planted_into_nothing() -> None:
    with pytest.raises(NothingToPlant):
        plant("lost-token", [clean(turns=1)])


def test_a_message_that_is_stored_twice_was_answered_twice() -> None:
    record, stored = clean()
    again = [Item(i.role, i.text, "resp_9") for i in stored.items[2:4]]
    stored.items[4:4] = again
    stored.answers["resp_9"] = StoredAnswer("completed", numbered(TOKENS))
    assert counts(record, stored) == only(check.TWICE)


def test_an_acknowledged_message_without_an_end_is_lost() -> None:
    record, stored = clean()
    stored.answers["resp_2"] = StoredAnswer("in_progress", "")
    assert counts(record, stored) == only(check.LOST)


def test_a_message_that_nobody_acknowledged_may_be_gone() -> None:
    record, stored = clean()
    record.messages.append(Message(4, "k4", "Message 4.", sent=2))
    assert counts(record, stored) == dict.fromkeys(check.COUNTED, 0)


def test_a_message_that_nobody_said_is_a_difference() -> None:
    record, stored = clean()
    stored.items.append(Item("user", "Who said this?", "resp_9"))
    assert counts(record, stored) == only(check.VIEW)


def test_an_answer_before_its_message_breaks_the_order() -> None:
    record, stored = clean()
    stored.items[0], stored.items[1] = stored.items[1], stored.items[0]
    assert counts(record, stored) == only(check.ORDER)


def test_tokens_that_changed_places_break_the_order() -> None:
    record, stored = clean()
    text = "t0 t2 t1 t3 t4 t5 t6 t7 "
    record.answers["resp_1"].text = text
    stored.answers["resp_1"] = StoredAnswer("completed", text)
    stored.items[1] = Item("assistant", text, "resp_1")
    assert counts(record, stored) == only(check.ORDER)


def test_a_gap_in_the_numbering_breaks_the_order() -> None:
    record, stored = clean()
    record.gaps.append("(1, 9) after (1, 7)")
    assert counts(record, stored) == only(check.ORDER)


def test_what_was_streamed_must_be_what_the_end_says() -> None:
    record, stored = clean()
    record.answers["resp_1"].differed = True
    assert counts(record, stored) == only(check.VIEW)


def test_the_item_must_be_the_answer() -> None:
    record, stored = clean()
    stored.items[1] = Item("assistant", numbered(TOKENS - 1), "resp_1")
    assert counts(record, stored) == only(check.VIEW)


def test_a_token_that_only_the_client_lost_is_lost_and_a_difference() -> None:
    record, stored = clean()
    record.answers["resp_1"].text = "t0 t2 t3 t4 t5 t6 t7 "
    assert counts(record, stored) == {**only(check.TOKENS_LOST), check.VIEW: 1}


def test_a_failed_turn_with_a_hole_has_lost_a_token_too() -> None:
    record, stored = clean()
    record.answers["resp_1"].text, record.answers["resp_1"].status = "t0 t2 ", "failed"
    stored.answers["resp_1"] = StoredAnswer("failed", "t0 t2 ", "host_lost")
    stored.items[1] = Item("assistant", "t0 t2 ", "resp_1")
    assert counts(record, stored) == {**only(check.TOKENS_LOST), check.FAILED: 1}


def test_a_refused_message_is_a_failure() -> None:
    record, stored = clean()
    record.messages.append(Message(4, "k4", "Message 4.", sent=1, refused="invalid_request"))
    assert counts(record, stored) == only(check.FAILED)


def test_nothing_counted_is_no_success() -> None:
    none = dict.fromkeys(check.COUNTED, 0)
    assert not check.verdict(none, answers=0)
    assert check.verdict(none, answers=1)
    assert not check.verdict(only(check.LOST), answers=1)
