"""What a turn asks of a model: the window of the conversation, and the settings in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.desk import Place, Seat
from context.history import window
from context.tokens import estimate
from contracts.agents import ModelRequest
from contracts.memory import Summary
from contracts.messages import Message, ResponseRecord


class Composer:
    """Makes one turn's requests; the newest is kept, since several endpoints may be asked it.

    Args:
        record: What was asked for.
        seat: The agent, under whose prompt others answer as well.
        messages: The conversation up to and including the question.
        summary: Of its beginning.
    """

    def __init__(
        self,
        record: ResponseRecord,
        seat: Seat,
        messages: Sequence[Message],
        summary: Summary | None,
    ) -> None:
        self._record = record
        self._instructions = record.instructions or seat.instructions
        self._messages = messages
        self._summary = summary
        self._made: ModelRequest | None = None
        self._made_for: tuple[str, str | None] | None = None

    def __call__(self, seat: Seat, place: Place, said: str | None) -> ModelRequest:
        made = self._made
        if made is None or self._made_for != (seat.name, said):
            made = self._make(seat, place.model, said)
        elif made.model != place.model:
            made = replace(made, model=place.model)
        self._made, self._made_for = made, (seat.name, said)
        return made

    def _make(self, seat: Seat, model: str, said: str | None) -> ModelRequest:
        record = self._record
        budget = seat.context_tokens - (estimate(said) if said else 0)
        shown = window(self._messages, budget, self._instructions, self._summary)
        return ModelRequest(
            model=model,
            messages=tuple(shown),
            instructions=self._instructions,
            temperature=record.temperature if record.temperature is not None else seat.temperature,
            top_p=record.top_p,
            max_output_tokens=record.max_output_tokens or seat.max_output_tokens,
            said=said,
        )
