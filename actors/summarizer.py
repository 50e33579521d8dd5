"""Keeps the beginning of a long conversation summed up, behind its turns and never in their way.

After a turn has ended it looks whether the window will soon be too small for what was said. If so
it asks the agent that the settings name for this, in a task of its own; turns go on meanwhile with
the summary there is. A failure costs nothing but a warning: the next turn's end looks again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace

from actors.attempts import provider_failed, unavailable
from actors.desk import Desk, Place, Seat
from actors.purse import Purse
from context.history import cost as message_cost
from context.summarize import Portion, portion, request
from contracts.agents import End
from contracts.errors import ProviderInterrupted, TroupeError
from contracts.memory import Memory, SessionState, Summary
from contracts.messages import Usage
from contracts.money import charged
from contracts.tasks import spawn, stop

log = logging.getLogger("troupe.actors.summarizer")


class Summarizer:
    """One session's. Writes `state.summary`."""

    def __init__(self, state: SessionState, memory: Memory, desk: Desk, purse: Purse) -> None:
        self._state = state
        self._memory = memory
        self._desk = desk
        self._purse = purse
        self._task: asyncio.Task[None] | None = None

    def consider(self, seat: Seat, open_from: int | None) -> None:
        """A turn has ended: sum up if it is time, and nobody is at it.

        Args:
            seat: The agent that answered, whose window it is.
            open_from: Position of the first message of a turn that has not ended.
        """
        writer = self._desk.seat(seat.summarize_with) if seat.summarize_with else None
        if writer is None or (self._task is not None and not self._task.done()):
            return
        state = self._state
        due = portion(state.messages, seat.context_tokens, state.summary, open_from=open_from)
        if due is not None:
            work = self._sum_up(due, writer, seat.summary_tokens)
            self._task = spawn(work, name=f"summary-{state.key.session_id}")

    def forget(self, position: int) -> None:
        """An item is gone: so is the summary that tells of it, and one that is being written."""
        summary = self._state.summary
        if self._task is not None:
            self._task.cancel()
        if summary is not None and summary.covers_to >= position:
            # The store may hold an older one that does not cover it; it comes with the next wake.
            self._state.summary = None

    async def stop(self) -> None:
        await stop(self._task)

    async def _sum_up(self, due: Portion, writer: Seat, summary_tokens: int) -> None:
        state = self._state
        try:
            text, usage = await self._ask(due, writer, summary_tokens)
            if not text:
                log.warning("%s: the summary is empty", state.key.session_id)
                return
            summary = Summary(text, due.covers_to)
            await self._memory.keep_summary(state.key, state.epoch, summary, writer.name, usage)
        except TroupeError as error:
            # Of a deposition the session hears by its own next write.
            log.warning("%s is not summed up: %s", state.key.session_id, error.message)
            return
        state.summary = summary
        log.info("%s is summed up to position %d", state.key.session_id, due.covers_to)

    async def _ask(
        self, due: Portion, writer: Seat, summary_tokens: int
    ) -> tuple[str, Usage | None]:
        """One request at one endpoint; the next turn's end is the next attempt."""
        asked = request(due, writer.first.model, summary_tokens)
        now = asyncio.get_running_loop().time
        tokens = summary_tokens + sum(map(message_cost, asked.messages))
        ticket = writer.endpoints.take(now(), tokens=tokens)
        if ticket is None:
            raise unavailable(writer, writer.endpoints.wait_s(now(), tokens=tokens))
        place = writer.places[ticket.endpoint]
        stream = place.agent.stream(replace(asked, model=place.model))
        pieces: list[str] = []
        spoke = False
        try:
            async with aclosing(stream) as items:  # type: ignore[type-var]
                async for item in items:
                    if not spoke:
                        spoke = True
                        ticket.spoke(now())
                    if isinstance(item, End):
                        ticket.done(now(), item.usage)
                        self._pay(writer, place, item.usage)
                        return "".join(pieces).strip(), item.usage
                    pieces.append(item)
            raise ProviderInterrupted("The provider's stream stopped without an end.")
        except Exception as error:
            ticket.failed(now(), provider_failed(error))
            raise
        except BaseException:
            ticket.left(now())
            raise

    def _pay(self, writer: Seat, place: Place, usage: Usage | None) -> None:
        """Count it, whatever becomes of the summary."""
        if usage is None or place.price is None:
            return
        charge = charged(writer.name, place.name, place.model, place.price, *usage)
        self._purse.charge(self._state.key.org_id, self._state.user, [charge])
