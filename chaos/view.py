"""What a client shows: a pure machine that takes the protocol's events and keeps the text.

The rules are few. `response.created` begins an answer anew, a delta is appended,
`response.resumed` cuts the answer to `position`, and at the end the answer must be what the
response object says. A stock client knows no `response.resumed`; it takes over the text of the
response object, as SDKs do. `session.opened` with `recovered: false` brings a snapshot that stands
in place of what was shown.

The numbering is watched as well: a `seq` follows the one before, but a new epoch may begin again
before a place that only the lost host knew; a `sequence_number` follows the one before, but a new
leg begins at its own first number, and what follows that at a fixed place.
"""

from __future__ import annotations

from typing import Any

from chaos.record import DONE, Answer, Message, SessionRecord

LEG_NUMBERS = 1_000_000
"""Each time a response goes on elsewhere, its numbers go on at the next multiple of this."""
_PLACES_AFTER_RESUMED = 3
_ENDS = {f"response.{status}": status for status in DONE}


class View:
    """One client's screen.

    Args:
        record: Where what is shown is kept.
        takes_over: Whether the end replaces what was streamed instead of being compared with it.
    """

    def __init__(self, record: SessionRecord, *, takes_over: bool = False) -> None:
        self.record = record
        self.cursor: tuple[int, int] | None = None
        self._takes_over = takes_over
        self._last = Answer("")
        self._loose = False
        """Whether the next `seq` may be anywhere up to the cursor: after a snapshot."""

    def opened(self, frame: dict[str, Any], now: float) -> list[str]:
        """`session.opened`; the responses whose whole answers a snapshot brought."""
        here = (frame["epoch"], frame["seq"])
        if frame["recovered"]:
            self.cursor = self.cursor or here
            return []
        self.cursor, self._loose = here, True
        return [self._restore(item, now) for item in frame.get("snapshot") or () if _answers(item)]

    def frame(self, frame: dict[str, Any], now: float) -> str | None:
        """An event of the WebSocket; the response that it ended, if any."""
        self._place(frame["epoch"], frame["seq"])
        return self._show(frame, now)

    def event(self, event: dict[str, Any], after: int, now: float) -> tuple[int, str | None]:
        """A server-sent event.

        Args:
            event: As it came.
            after: The last `sequence_number` that was seen; -1: none.
            now: When it came.

        Returns:
            The number that was seen last now, and the response that it ended, if any.
        """
        number: int = event["sequence_number"]
        if not _follows(number, after):
            self.record.gaps.append(f"{event['type']} has number {number} after {after}")
        return number, self._show(event, now)

    def message(self, key: str) -> Message | None:
        """The message that was sent with this key."""
        return next((m for m in reversed(self.record.messages) if m.key == key), None)

    def _place(self, epoch: int, seq: int) -> None:
        if self.cursor is not None:
            last_epoch, last_seq = self.cursor
            again = self._loose or epoch > last_epoch
            if seq != last_seq + 1 and not (again and seq <= last_seq):
                self.record.gaps.append(f"({epoch}, {seq}) after {self.cursor}")
        self.cursor, self._loose = (epoch, seq), False

    def _show(self, event: dict[str, Any], now: float) -> str | None:
        kind: str = event["type"]
        if kind == "response.output_text.delta":
            answer = self._answer(event.get("response_id"))
            answer.text += event["delta"]
            answer.times.append(now)
        elif kind == "response.accepted":
            message = self.message(event["id"]) if event.get("id") else None
            if message is not None:
                message.acknowledged = True
                message.response_id = event["response_id"]
        elif kind == "response.created":
            self._begin(event["response"]["id"])
        elif kind == "response.resumed" and not self._takes_over:
            answer = self._answer(event["response_id"])
            answer.text = answer.text[: event["position"]]
            answer.legs.append(event["policy"])
        elif kind in _ENDS:
            return self._end(event["response"], now)
        return None

    def _begin(self, response_id: str) -> None:
        answer = self.record.answers.setdefault(response_id, Answer(response_id))
        answer.text, answer.status, answer.ended = "", "in_progress", 0.0
        self._last = answer

    def _answer(self, response_id: str | None) -> Answer:
        """The answer that an event is about; server-sent deltas do not name it."""
        if response_id is None:
            return self._last
        if response_id not in self.record.answers:
            self.record.gaps.append(f"{response_id} goes on, and never began")
            self._begin(response_id)
        return self.record.answers[response_id]

    def _end(self, response: dict[str, Any], now: float) -> str:
        answer = self._answer(response["id"])
        text = output_text(response)
        if self._takes_over:
            answer.text = text
        elif answer.text != text:
            answer.differed = True
        answer.status, answer.ended = response["status"], now
        return answer.response_id

    def _restore(self, item: dict[str, Any], now: float) -> str:
        """One answer of a snapshot."""
        response_id: str = item["response_id"]
        answer = self.record.answers.setdefault(response_id, Answer(response_id))
        answer.text, answer.status, answer.ended = _text(item), "restored", now
        return response_id


def _follows(number: int, after: int) -> bool:
    """Whether nothing is missing between two numbers."""
    if number > after and number % LEG_NUMBERS == 0:
        return True
    if after > 0 and after % LEG_NUMBERS == 0:
        # A leg keeps the places that the events at an answer's very beginning would have.
        return after < number <= after + _PLACES_AFTER_RESUMED
    return number == after + 1


def output_text(response: dict[str, Any]) -> str:
    """The text of a response object."""
    items = response.get("output") or ()
    return "".join(_text(item) for item in items if item.get("type") == "message")


def _text(item: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in item.get("content") or ())


def _answers(item: dict[str, Any]) -> bool:
    return item["role"] == "assistant" and item.get("response_id") is not None
