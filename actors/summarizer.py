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
from actors.desk import Desk, Seat
from actors.purse import Purse
from context.history import cost as message_cost
from context.summarize import Portion, portion, request
from contracts.agents import End
from contracts.errors import ProviderInterrupted, TroupeError
from contracts.memory import Memory, SessionState, Summary
from contracts.messages import Usage
from contracts.tasks import spawn, stop
from routing.prices import charge_for, may_have_cost

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
        asked = replace(asked, model=place.model)
        stream = place.agent.stream(asked)
        pieces: list[str] = []

        def pay(usage: Usage | None) -> None:
            """Whatever becomes of the summary."""
            charge = charge_for(writer.name, place, usage, asked, "".join(pieces))
            self._purse.charge(self._state.key.org_id, self._state.user, [charge])

        spoke = False
        try:
            async with aclosing(stream) as items:  # type: ignore[type-var]
                async for item in items:
                    if not spoke:
                        spoke = True
                        ticket.spoke(now())
                    if isinstance(item, End):
                        ticket.done(now(), item.usage)
                        pay(item.usage)
                        return "".join(pieces).strip(), item.usage
                    pieces.append(item)
            raise ProviderInterrupted("The provider's stream stopped without an end.")
        except Exception as error:
            problem = provider_failed(error)
            ticket.failed(now(), problem)
            if may_have_cost(problem, heard=bool(pieces)):
                pay(None)
            raise
        except BaseException:
            ticket.left(now())
            pay(None)
            raise
