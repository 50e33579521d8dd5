"""The port between a turn and a model: one small interface for every provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from contracts.messages import Message, Usage

EndReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked: the window of the conversation and the settings in force.

    `messages` ends with the user's newest; None means the provider's own default. `said` is how an
    answer to it has begun already: the model is to go on from its last character, and repeats
    nothing of it.
    """

    model: str
    messages: tuple[Message, ...]
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    said: str | None = None


class End(NamedTuple):
    """The one terminal item of a stream."""

    reason: EndReason
    usage: Usage | None


class Agent(Protocol):
    """A provider adapter. One instance serves all turns of one endpoint in a process."""

    def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        """Yield text deltas as they arrive, then exactly one `End`.

        Each str is non-empty; what arrived together may come as one. Closing the iterator drops
        the provider's connection. A stream that stops without its provider's terminal marker
        raises `ProviderInterrupted`; it never yields `End`.

        Raises:
            ProviderError: whatever the provider did, translated; nothing of its SDK leaks.
        """
        ...

    async def aclose(self) -> None:
        """Close pooled connections. Idempotent."""
        ...


class Embedder(Protocol):
    """A provider adapter for what texts are about. One instance serves a process."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order, all of one length; nearness is nearness of meaning.

        Asks once, for all of them.

        Raises:
            InvalidRequest: no text, an empty one, or more than it takes at once; nothing was sent.
            ProviderError: whatever the provider did, translated.
        """
        ...

    async def aclose(self) -> None:
        """Close pooled connections. Idempotent."""
        ...
