"""An answer that goes on: how a model is asked to, and what it repeats all the same.

The begun answer is sent as the model's own last message, and after it a short order from the
user. That is two ordinary messages, so it works with every provider and every compatible server.
Leaving the begun answer last, for the model to fill on, does not: most refuse it or answer it, and
a system message at the end is more than some servers' templates take.

A model may begin with the end of what stands there, or with all of it, in spite of the order.
`Joint` takes that out. It would rather leave a repetition standing than lose a word: what is short,
or was said twice in a row before, may well be meant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from contracts.agents import End, ModelRequest
from contracts.errors import ProviderError
from contracts.messages import Message

if TYPE_CHECKING:
    from agents.streaming import Reader

GO_ON = (
    "Your last answer was cut off. Continue it from its very last character, as if it had never"
    " stopped: begin with what comes next, be it the rest of a word, a space or a line break."
    " Repeat nothing of it, and say nothing about the interruption."
)
"""The order that follows a begun answer."""

LOOK_BACK_CHARS = 200
"""How much of the end of what was said is looked for at the beginning of what comes."""
SAFE_CHARS = 12
"""A shorter repetition is taken for chance."""
ANEW_CHARS = 32_000
"""Longer answers are not looked for as a whole."""


def asked_to_go_on(request: ModelRequest) -> ModelRequest:
    """The same request with `said`, if there is any, put into words as its last two messages."""
    if not request.said:
        return request
    begun = Message("", 0, "assistant", request.said, 0.0)
    order = Message("", 0, "user", GO_ON, 0.0)
    return replace(request, messages=(*request.messages, begun, order), said=None)


class Joint:
    """Takes out of a continuation what it repeats of the answer's begun text.

    Text is held back only as long as it may still turn out to be a repetition, which for nearly
    all answers is not beyond the first read.
    """

    __slots__ = ("_held", "_repeats", "_said")

    def __init__(self, said: str) -> None:
        longest = min(LOOK_BACK_CHARS, len(said))
        self._said = said
        self._held = ""
        self._repeats = [said[-length:] for length in range(longest, SAFE_CHARS - 1, -1)]
        if LOOK_BACK_CHARS < len(said) <= ANEW_CHARS:
            self._repeats.insert(0, said)

    def feed(self, text: str) -> str:
        """What of the text so far is new and was not given out yet."""
        if not self._repeats:
            return text
        held = self._held = self._held + text
        self._repeats = [r for r in self._repeats if r.startswith(held) or held.startswith(r)]
        if any(len(repeat) > len(held) for repeat in self._repeats):
            return ""
        return self.close()

    def close(self) -> str:
        """Nothing more comes, or nothing more is waited for: what was held back and is new."""
        held, self._held = self._held, ""
        repeats, self._repeats = self._repeats, []
        for repeat in repeats:
            if held.startswith(repeat):
                # The longest one is the one that was meant, if any was.
                return held if self._may_be_meant(repeat) else held[len(repeat) :]
        return held

    def _may_be_meant(self, repeat: str) -> bool:
        return self._said.endswith(repeat + repeat) or _goes_round(repeat)


class JointReader:
    """A reader of a continuation: what it repeats of `said` is taken out."""

    __slots__ = ("_joint", "_reader")

    def __init__(self, reader: Reader, said: str) -> None:
        self._reader = reader
        self._joint = Joint(said)

    @property
    def outcome(self) -> End | ProviderError | None:
        return self._reader.outcome

    def feed(self, data: bytes) -> str:
        text = self._joint.feed(self._reader.feed(data))
        return text if self._reader.outcome is None else text + self._joint.close()

    def close(self) -> str:
        return self._joint.feed(self._reader.close()) + self._joint.close()


def _goes_round(text: str) -> bool:
    """Whether a text is the same thing at least twice: a rule of dashes, spaces, a refrain."""
    head = text[: len(text) - len(text) // 2]
    at = text.find(head, 1)
    while at != -1:
        if text[at:] == text[:-at]:
            return True
        at = text.find(head, at + 1)
    return False
