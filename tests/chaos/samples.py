"""A session as it should be, for tests that spoil it."""

from __future__ import annotations

from bench.stats import numbered
from chaos.record import Answer, Item, Message, SessionRecord, Stored, StoredAnswer

TOKENS = 8


def clean(turns: int = 3) -> tuple[SessionRecord, Stored]:
    """What a client said and shows, and the same from the store."""
    record, stored = SessionRecord("conv_1", "native"), Stored()
    for number in range(1, turns + 1):
        response_id, text = f"resp_{number}", numbered(TOKENS)
        said = f"Message {number}."
        record.messages.append(Message(number, f"k{number}", said, response_id, True, sent=1))
        record.answers[response_id] = Answer(response_id, text, "completed")
        stored.items += [Item("user", said, response_id), Item("assistant", text, response_id)]
        stored.answers[response_id] = StoredAnswer("completed", text)
    return record, stored
