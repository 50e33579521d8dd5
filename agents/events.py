"""EventReader: what readers of JSON in server-sent events share.

A subclass looks at one event at a time and says what it holds; this class cuts the stream into
events, keeps the text that came before a fault in the same read (it is delivered, then the fault
is raised), and turns JSON of another shape than the protocol's into an error of the tree.
"""

from __future__ import annotations

from typing import Any, cast

import orjson

from agents.sse import SseReader
from agents.translate import Translator
from contracts.agents import End, EndReason
from contracts.errors import ProviderError, ProviderProtocol
from contracts.messages import Usage


class Malformed(Exception):
    """JSON that is not of the protocol's shape; the text says where, in our words."""


class EventReader:
    """See `agents.streaming.Reader`.

    Args:
        errors: Speaks for the agent.
        max_event_bytes: The largest event.
    """

    __slots__ = ("_errors", "_reason", "_sse", "_usage", "outcome")

    def __init__(self, errors: Translator, max_event_bytes: int) -> None:
        self.outcome: End | ProviderError | None = None
        self._errors = errors
        self._sse = SseReader(max_event_bytes)
        self._reason: EndReason | None = None
        self._usage: Usage | None = None

    def take(self, payload: bytes, parts: list[str]) -> None:
        """Read one event: its text into `parts`, why the model stopped into `_reason`.

        Raises:
            Malformed: it is not of the protocol's shape.
        """
        raise NotImplementedError

    def feed(self, data: bytes) -> str:
        """The text in this read."""
        parts: list[str] = []
        try:
            for payload in self._sse.feed(data):
                if payload:
                    self.take(payload, parts)
                    if self.outcome is not None:
                        break
        except ProviderError as error:
            self.outcome = self._errors.error(ProviderProtocol, error.message)
        except (orjson.JSONDecodeError, Malformed) as error:
            why = str(error) if isinstance(error, Malformed) else "an event that is not JSON"
            self.outcome = self._errors.error(ProviderProtocol, why)
        return parts[0] if len(parts) == 1 else "".join(parts)

    def close(self) -> str:
        """The bytes have stopped: the text of a last event without its blank line, if any.

        Sets `outcome` if the model had said why it stopped; a torn last event is no fault of its
        own, as whoever calls this says already that the stream broke.
        """
        parts: list[str] = []
        if self.outcome is None:
            for payload in self._sse.close():
                try:
                    self.take(payload, parts)
                except (orjson.JSONDecodeError, Malformed):
                    break
        if self.outcome is None and self._reason is not None:
            self.outcome = End(self._reason, self._usage)
        return "".join(parts)

    def stopped(self, word: object, table: dict[str, EndReason]) -> None:
        """The model says why it stopped."""
        reason = table.get(word) if isinstance(word, str) else None
        if reason is None:
            # What is not in the table may be a failure. An answer wrongly called complete can be
            # noticed by nobody; this names the word, and the table can learn it.
            why = f"a reason to stop that is unknown here, {str(word)[:40]!r}"
            self.outcome = self._errors.error(ProviderProtocol, why)
        else:
            self._reason = reason


def object_of(value: Any, what: str) -> dict[str, Any]:
    """`value` as a JSON object. Raises `Malformed`."""
    if type(value) is not dict:
        raise Malformed(f"{what} is not an object")
    return cast("dict[str, Any]", value)


def list_of(value: Any, what: str) -> list[Any]:
    """`value` as a JSON array. Raises `Malformed`."""
    if type(value) is not list:
        raise Malformed(f"{what} is not an array")
    return cast("list[Any]", value)


def text_of(value: Any, what: str) -> str:
    """`value` as a JSON string. Raises `Malformed`."""
    if type(value) is not str:
        raise Malformed(f"{what} is not a string")
    return value


def count_of(counts: dict[str, Any], *names: str) -> int:
    """The sum of these counters; one that is absent or null counts nothing."""
    total = 0
    for name in names:
        value = counts.get(name)
        if type(value) is int:
            total += value
    return total
