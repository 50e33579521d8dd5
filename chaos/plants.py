"""Defects put into a run's records on purpose: whoever trusts a zero must have seen a one.

Each plants exactly one defect into one session, in the client's record and in what was read from
the store as if Troupe had done it. The name of a plant says what the check must then count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chaos import check
from chaos.record import Item, SessionRecord, Stored, StoredAnswer

Plant = Callable[[SessionRecord, Stored, str], None]


class NothingToPlant(Exception):
    """No session has two whole answers to spoil."""


def plant(name: str, sessions: Iterable[tuple[SessionRecord, Stored]]) -> str:
    """Plant this defect into the first session that can carry it.

    Returns:
        What the check must count once more than it would have.

    Raises:
        NothingToPlant: No session can.
    """
    what, put = PLANTS[name]
    for record, stored in sessions:
        whole = [
            message.response_id
            for message in record.messages
            if message.response_id is not None
            and message.response_id in stored.answers
            and stored.answers[message.response_id].status == "completed"
        ]
        if len(whole) >= 2:
            put(record, stored, whole[0])
            return what
    raise NothingToPlant(f"no session has two whole answers to plant {name} into")


def _lost_message(record: SessionRecord, stored: Stored, response_id: str) -> None:
    stored.items = [item for item in stored.items if item.response_id != response_id]
    del stored.answers[response_id]


def _doubled_answer(record: SessionRecord, stored: Stored, response_id: str) -> None:
    at = next(
        at
        for at, item in enumerate(stored.items)
        if item.response_id == response_id and item.role == "assistant"
    )
    stored.items.insert(at, stored.items[at])


def _swapped_order(record: SessionRecord, stored: Stored, response_id: str) -> None:
    """A turn and the one after it change places."""
    turn = [item for item in stored.items if item.response_id == response_id]
    at = stored.items.index(turn[0])
    rest = [item for item in stored.items if item.response_id != response_id]
    stored.items = [*rest[: at + len(turn)], *turn, *rest[at + len(turn) :]]


def _lost_token(record: SessionRecord, stored: Stored, response_id: str) -> None:
    _rewrite(record, stored, response_id, lambda words: [*words[:1], *words[2:]])


def _doubled_token(record: SessionRecord, stored: Stored, response_id: str) -> None:
    _rewrite(record, stored, response_id, lambda words: [*words[:2], *words[1:]])


def _differing_view(record: SessionRecord, stored: Stored, response_id: str) -> None:
    """The client never heard the end of an answer."""
    answer = record.answers[response_id]
    words = answer.text.split()
    answer.text, answer.status = _joined(words[: len(words) // 2]), "in_progress"


def _failed_turn(record: SessionRecord, stored: Stored, response_id: str) -> None:
    answer = stored.answers[response_id]
    stored.answers[response_id] = StoredAnswer("failed", answer.text, "planted")
    record.answers[response_id].status = "failed"


def _rewrite(
    record: SessionRecord,
    stored: Stored,
    response_id: str,
    change: Callable[[list[str]], list[str]],
) -> None:
    """Change an answer's tokens everywhere."""
    old = stored.answers[response_id]
    text = _joined(change(old.text.split()))
    stored.answers[response_id] = StoredAnswer(old.status, text)
    record.answers[response_id].text = text
    for at, item in enumerate(stored.items):
        if item.response_id == response_id and item.role == "assistant":
            stored.items[at] = Item(item.role, text, response_id)


def _joined(words: Iterable[str]) -> str:
    return "".join(f"{word} " for word in words)


PLANTS: dict[str, tuple[str, Plant]] = {
    "lost-message": (check.LOST, _lost_message),
    "doubled-answer": (check.TWICE, _doubled_answer),
    "swapped-order": (check.ORDER, _swapped_order),
    "lost-token": (check.TOKENS_LOST, _lost_token),
    "doubled-token": (check.TOKENS_DOUBLED, _doubled_token),
    "differing-view": (check.VIEW, _differing_view),
    "failed-turn": (check.FAILED, _failed_turn),
}
