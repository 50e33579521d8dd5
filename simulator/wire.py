"""The port between a protocol and the playback of a reply.

Texts of tokens are bytes already escaped for the inside of a JSON string: they are pasted
between precomputed pieces, because encoding JSON per token is what a busy simulator would
otherwise spend its time on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple, Protocol

import orjson

from simulator.asks import Ask, Refusal

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
_serials = count(1)


def serial() -> int:
    """A number that no other reply of this process has: what makes ids different."""
    return next(_serials)


def quoted(text: str) -> bytes:
    """`text` as JSON, with its quotes."""
    return orjson.dumps(text)


def plain(escaped: bytes) -> str:
    """The text behind JSON-escaped bytes."""
    return orjson.loads(b'"%b"' % escaped)


class Outcome(NamedTuple):
    """How a reply ends: all of its text, its tokens, and why it stopped (OpenAI's chat words)."""

    text: bytes
    tokens: int
    finish: str


class Frames(Protocol):
    """One reply, in pieces, in one protocol."""

    def early(self) -> bytes:
        """What is sent with the response's head, long before the first token. May be empty."""
        ...

    def opening(self) -> bytes:
        """What goes right before the first token. May be empty."""
        ...

    def token(self, text: bytes) -> bytes:
        """One token."""
        ...

    def broken(self, text: bytes) -> bytes:
        """A token whose JSON is cut off."""
        ...

    def error(self, fault: str) -> bytes:
        """What ends a stream with an error in its middle: `in_band_error` or `failed`."""
        ...

    def failure(self, fault: str) -> bytes:
        """The same for an answer that is not streamed: a body that comes with status 200."""
        ...

    def closing(self, outcome: Outcome) -> bytes:
        """The end, with the terminal marker."""
        ...

    def whole(self, outcome: Outcome) -> bytes:
        """The body of the answer that is not streamed."""
        ...


class Wire(NamedTuple):
    """One endpoint of one provider."""

    read: Callable[[bytes, Mapping[str, str]], Ask]
    """The ask in a body and in what the path said. Raises `Refusal`."""
    frames: Callable[[Ask], Frames]
    error: Callable[[int, Refusal], bytes]
    """A provider's error body."""
    words: Callable[[int], str]
    """What this provider says with a status."""
    limits: Callable[[int | None], bytes] = lambda _: b""
    """Its header lines on rate limits: how many requests are left, None: plenty."""


def dumps(value: Any) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)
