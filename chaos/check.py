"""Compares what clients were told and show with what the store holds, and counts what is wrong.

Each defect is counted once, under what it is first: a message that is not there is lost, and its
answer is not looked for; a message that is there twice was answered twice, and so on. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from bench.stats import TokenCheck, check_tokens, numbered
from chaos.record import DONE, Answer, Message, SessionRecord, Stored, StoredAnswer

LOST = "acknowledged messages lost"
TWICE = "answered twice"
ORDER = "order broken"
TOKENS_LOST = "tokens lost"
TOKENS_DOUBLED = "tokens doubled"
VIEW = "client view ≠ store"
FAILED = "turns failed"
COUNTED: tuple[str, ...] = (LOST, TWICE, ORDER, TOKENS_LOST, TOKENS_DOUBLED, VIEW, FAILED)
RESTORED = "restored"
"""An answer from a snapshot, which says nothing of how it ended."""


class Finding(NamedTuple):
    """One defect, with what a person needs to look for it."""

    what: str
    many: int
    session_id: str
    response_id: str | None
    detail: str


def check(record: SessionRecord, stored: Stored, tokens: int) -> list[Finding]:
    """Everything that is wrong with one session.

    Args:
        record: What its client was told and shows.
        stored: What the store holds.
        tokens: How many numbered tokens a whole answer has.
    """
    return list(_Session(record, stored, tokens).findings())


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """How much there is of each kind; all kinds are named."""
    counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
    for finding in findings:
        counts[finding.what] += finding.many
    return counts


class _Session:
    def __init__(self, record: SessionRecord, stored: Stored, tokens: int) -> None:
        self._record = record
        self._stored = stored
        self._tokens = tokens
        self._said = Counter(item.text for item in stored.items if item.role == "user")
        self._answers = Counter(
            item.response_id for item in stored.items if item.role == "assistant"
        )

    def findings(self) -> Iterator[Finding]:
        yield from self._order()
        for message in self._record.messages:
            if message.refused is not None:
                yield self._finding(FAILED, message, f"refused: {message.refused}")
            elif self._said[message.text] > 1:
                detail = f"{message.text!r} is there {self._said[message.text]} times"
                yield self._finding(TWICE, message, detail, self._said[message.text] - 1)
            elif message.acknowledged:
                yield from self._acknowledged(message)
        yield from self._foreign()

    def _acknowledged(self, message: Message) -> Iterator[Finding]:
        stored = self._stored.answers.get(message.response_id or "")
        if self._said[message.text] == 0:
            yield self._finding(LOST, message, f"{message.text!r} is not there")
        elif stored is None or stored.status not in DONE:
            status = stored.status if stored else "nowhere"
            yield self._finding(LOST, message, f"never answered: its response is {status}")
        elif (many := self._answers[message.response_id]) > 1:
            yield self._finding(TWICE, message, f"{many} answers", many - 1)
        else:
            yield from self._answered(message, stored)

    def _answered(self, message: Message, stored: StoredAnswer) -> Iterator[Finding]:
        shown = self._record.answers.get(message.response_id or "")
        if stored.status != "completed":
            yield self._finding(FAILED, message, f"{stored.status}: {stored.error}")
        looks = [self._tokens_of(stored.text, whole=stored.status == "completed")]
        if shown is not None:
            looks.append(self._tokens_of(shown.text, whole=shown.status == "completed"))
        lost, doubled = max(x.lost for x in looks), max(x.doubled for x in looks)
        if lost:
            yield self._finding(TOKENS_LOST, message, _excerpt(stored, shown), lost)
        if doubled:
            yield self._finding(TOKENS_DOUBLED, message, _excerpt(stored, shown), doubled)
        if any(look.disordered for look in looks):
            yield self._finding(ORDER, message, f"tokens: {_excerpt(stored, shown)}")
        if differs := self._differs(stored, shown):
            yield self._finding(VIEW, message, differs)

    def _tokens_of(self, text: str, *, whole: bool) -> TokenCheck:
        if whole:
            return check_tokens(text, self._tokens)
        numbers = [int(word[1:]) for word in text.split() if word[1:].isdigit()]
        return check_tokens(text, max(numbers, default=-1) + 1)

    def _differs(self, stored: StoredAnswer, shown: Answer | None) -> str | None:
        if shown is None:
            return "the client shows no answer"
        if shown.status not in (stored.status, RESTORED):
            return f"shown as {shown.status}, stored as {stored.status}"
        if shown.text != stored.text:
            return _excerpt(stored, shown)
        if shown.differed:
            return "what was streamed was not what the end said"
        item = next((i for i in self._stored.items if _is_answer(i, shown.response_id)), None)
        if item is None:
            return "the answer is no item" if stored.text else None
        return None if item.text == stored.text else "the item is not the answer"

    def _order(self) -> Iterator[Finding]:
        """Messages in the order in which they were said, each answer right after its own."""
        for gap in self._record.gaps:
            yield Finding(ORDER, 1, self._record.session_id, None, gap)
        numbers = {message.text: message.number for message in self._record.messages}
        items = self._stored.items
        said = [numbers[i.text] for i in items if i.role == "user" and i.text in numbers]
        for before, after in pairwise(said):
            if after < before:
                detail = f"message {after} comes after message {before}"
                yield Finding(ORDER, 1, self._record.session_id, None, detail)
        for at, item in enumerate(items):
            if item.role != "assistant":
                continue
            before = items[at - 1] if at else None
            # A second answer to one message is no matter of order; it is counted for itself.
            if before is None or before.response_id != item.response_id:
                detail = "the answer does not follow its message"
                yield Finding(ORDER, 1, self._record.session_id, item.response_id, detail)

    def _foreign(self) -> Iterator[Finding]:
        """What is there and was never said here."""
        ours = {message.text for message in self._record.messages}
        for text in self._said:
            if text not in ours:
                detail = f"nobody said {text[:60]!r}"
                yield Finding(VIEW, 1, self._record.session_id, None, detail)

    def _finding(self, what: str, message: Message, detail: str, many: int = 1) -> Finding:
        return Finding(what, many, self._record.session_id, message.response_id, detail)


def _is_answer(item: object, response_id: str) -> bool:
    return getattr(item, "role", "") == "assistant" and (
        getattr(item, "response_id", None) == response_id
    )


def _excerpt(stored: StoredAnswer, shown: Answer | None) -> str:
    """Where the texts first leave the right way."""
    parts = [f"stored {_odd(stored.text)}"]
    if shown is not None:
        legs = f" (legs: {', '.join(shown.legs)})" if shown.legs else ""
        parts.append(f"shown {_odd(shown.text)}{legs}")
    return ", ".join(parts)


def _odd(text: str) -> str:
    words = text.split()
    right = numbered(len(words)).split()
    at = next((k for k, word in enumerate(words) if word != right[k]), len(words))
    if at == len(words):
        return f"t0…t{at - 1}" if words else "nothing"
    return f"…{' '.join(words[max(0, at - 2) : at + 3])}… (of {len(words)})"


def verdict(counts: Mapping[str, int], answers: int) -> bool:
    """Whether all is well: nothing was wrong, and something was there to be wrong."""
    return answers > 0 and not any(counts.values())
