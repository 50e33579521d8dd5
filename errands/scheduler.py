"""The scheduler begins the turns of schedules: each due time once, whoever's scheduler it is.

A schedule is claimed by lease and its turn submitted under an id of the caller's that names the
due time; of two turns with one such id a session takes the first. So it does not matter where a
scheduler dies: whoever claims the schedule next submits again and learns that it was done, or does
it. Times that passed while nobody was there are made up for once, by the latest, unless that is
too long ago.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from contracts.errands import Outcome, Schedule
from contracts.errors import Conflict, InvalidRequest, NotFound, TroupeError
from contracts.ids import RESPONSE, new_id
from errands.ports import Sessions, Timetable
from errands.rounds import together
from errands.times import Cron

log = logging.getLogger("troupe.errands.scheduler")

TOO_LATE = {
    "code": "too_late",
    "message": "Nobody could begin the turn before it was too late for it.",
}


def client_id(schedule: Schedule, due_at: float) -> str:
    """Names a due time within its session, for good."""
    return f"schedule:{schedule.id}:{due_at:.0f}"


class Scheduler:
    """See the module.

    Args:
        timetable: The schedules.
        sessions: Where their turns run.
        late_s: How late a turn may begin; then its time is skipped.
        retry_s: Seconds to wait where a session cannot take the turn now.
        lease_s: Longer than a submission takes, or two schedulers submit one turn in vain.
        limit: Turns begun at once.
        clock: Unix seconds.
    """

    def __init__(
        self,
        timetable: Timetable,
        sessions: Sessions,
        *,
        late_s: float,
        retry_s: float,
        lease_s: float,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self._timetable = timetable
        self._sessions = sessions
        self._late_s = late_s
        self._retry_s = retry_s
        self._lease_s = lease_s
        self._limit = limit
        self._clock = clock

    async def round(self) -> bool:
        """Begin what is due; True: there may be more."""
        claimed = await self._timetable.claim(
            now=self._clock(), lease_s=self._lease_s, limit=self._limit
        )
        await together(self._run(schedule) for schedule in claimed)
        return len(claimed) == self._limit

    async def _run(self, schedule: Schedule) -> None:
        now = self._clock()
        due = first = schedule.due_at
        assert due is not None and first is not None, "only what is due is claimed"
        following, passed = None, 0
        if schedule.cron is not None:
            try:
                cron = Cron(schedule.cron, schedule.timezone)
            except InvalidRequest as error:  # its zone is known no more
                await self._timetable.settle(schedule, self._failed(schedule, due, error), None, 0)
                return
            due = cron.latest(first, now)
            following = cron.after(max(due, now))
            passed = cron.count(first, due)
        outcome = await self._begin(schedule, due, now)
        if outcome is not None:
            skipped = passed + (outcome.kind == "skipped")
            await self._timetable.settle(schedule, outcome, following, skipped)

    async def _begin(self, schedule: Schedule, due: float, now: float) -> Outcome | None:
        """What became of the due time; None where that is not said yet."""
        if now - due > self._late_s:
            log.warning("%s: %.0f is %.0f s ago and skipped", schedule.id, due, now - due)
            return Outcome(due, "skipped", None, TOO_LATE)
        turn = replace(
            schedule.turn,
            response_id=new_id(RESPONSE),
            client_id=client_id(schedule, due),
            background=True,
        )
        try:
            await self._sessions.submit(schedule.key, turn)
            return Outcome(due, "ran", turn.response_id)
        except NotFound:
            # The conversation is gone, and with it all that was to be said there.
            await self._timetable.forget(schedule)
            return None
        except Conflict as error:
            if error.cause_code == "duplicate_id":
                return Outcome(due, "ran", error.details.get("response_id"))
            return self._failed(schedule, due, error)
        except TroupeError as error:
            again = self._clock() + self._retry_s
            if not error.retryable or again - due > self._late_s:
                return self._failed(schedule, due, error)
            log.info("%s waits: %s", schedule.id, error.message)
            await self._timetable.postpone(schedule, again)
            return None

    def _failed(self, schedule: Schedule, due: float, error: TroupeError) -> Outcome:
        log.warning("%s: %.0f fails: %s", schedule.id, due, error.message)
        said = {"code": error.cause_code, "message": error.message}
        return Outcome(due, "failed", None, said)
