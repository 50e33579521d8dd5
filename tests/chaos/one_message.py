"""A talk of one message, for tests that script what is answered to it."""

from __future__ import annotations

from chaos.record import Message
from chaos.talk import Talk


class OneMessage(Talk):
    """Stops with its first message, so that there is never a second one, however slow it goes."""

    def say(self) -> Message:
        self.stopped = True
        return super().say()
