"""What every client does, whatever it speaks: think, say the next message, and stop when told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from chaos.backoff import Backoff
from chaos.record import Message, SessionRecord

now = time.monotonic
_LONGEST_THINK = 3.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How all clients of a run behave.

    Args:
        url: Where Troupe answers.
        model: The agent that is asked.
        think_s: Pause between an answer and the next message, on average.
        stall_s: A running answer silent for this long is taken for a dead connection.
    """

    url: str
    model: str
    think_s: float
    stall_s: float


class Talk:
    """One session's side of the conversation.

    Args:
        record: Where it is kept.
        manner: How it goes.
        random: Of pauses.
    """

    def __init__(self, record: SessionRecord, manner: Manner, random: Random) -> None:
        self.record = record
        self.manner = manner
        self.backoff = Backoff(random)
        self.stopped = False
        self._random = random

    def think_s(self) -> float:
        """How long this pause is."""
        pause_s = self._random.expovariate(1 / self.manner.think_s)
        return min(pause_s, self.manner.think_s * _LONGEST_THINK)

    def say(self) -> Message:
        """The next message. Its key stays the same however often it has to be sent."""
        number = len(self.record.messages) + 1
        session = self.record.session_id
        message = Message(number, f"{session}-{number}", f"Message {number} of {session}.")
        self.record.messages.append(message)
        return message
