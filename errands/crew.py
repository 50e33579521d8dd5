"""The crew: everybody who runs errands in one process, started and stopped together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from errands.courier import Courier, Endpoint, Patience
from errands.janitor import PAGE, Janitor, Keeping
from errands.ports import Archive, Outbox, Sessions, Timetable
from errands.rounds import Rounds
from errands.scheduler import Scheduler
from errands.sender import HttpSender

GRACE_S = 30.0
"""What a lease lasts beyond what the work under it may take."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a crew is told; the settings of errands as plain values.

    Args:
        endpoints: Whom to tell of turns' ends.
        timeout_s: For one request to an endpoint.
        deliveries: To one endpoint at once.
        patience: How often an endpoint is tried.
        private: Whether endpoints may have private addresses.
        late_s: How late a schedule's turn may begin.
        begun: Scheduled turns begun at once.
        submit_s: How long the submission of a turn may take.
        webhooks_poll_s, schedules_poll_s: Seconds between two looks for work.
        keeping: How long things are kept.
        sweep_s: Seconds between two looks for what is over.
        per_second: Conversations deleted per second at most.
    """

    endpoints: Sequence[Endpoint] = ()
    timeout_s: float = 10.0
    deliveries: int = 16
    patience: Patience = field(default_factory=lambda: Patience(14, 5.0, 14_400.0))
    private: bool = False
    late_s: float = 3600.0
    begun: int = 32
    submit_s: float = 15.0
    webhooks_poll_s: float = 1.0
    schedules_poll_s: float = 1.0
    keeping: Keeping = field(default_factory=lambda: Keeping(None))
    sweep_s: float = 3600.0
    per_second: float = 5.0


class Crew:
    """See the module. `name` is unique among crews."""

    def __init__(
        self,
        name: str,
        orders: Orders,
        *,
        outbox: Outbox,
        timetable: Timetable,
        archive: Archive,
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._orders = orders
        self._outbox = outbox
        self._clock = clock
        self._sender: HttpSender | None = None
        scheduler = Scheduler(
            timetable,
            sessions,
            late_s=orders.late_s,
            retry_s=min(10.0, orders.late_s / 2),
            lease_s=orders.submit_s + GRACE_S,
            limit=orders.begun,
            clock=clock,
        )
        janitor = Janitor(
            name,
            archive,
            outbox,
            timetable,
            sessions,
            orders.keeping,
            per_second=orders.per_second,
            lease_s=PAGE * (orders.submit_s + 1 / orders.per_second) + GRACE_S,
            clock=clock,
        )
        self._rounds = [
            Rounds("errands-scheduler", scheduler.round, orders.schedules_poll_s),
            Rounds("errands-janitor", janitor.round, orders.sweep_s),
        ]

    def start(self) -> None:
        """Begin, on the running event loop. Once."""
        orders = self._orders
        if orders.endpoints:
            connections = orders.deliveries * len(orders.endpoints)
            self._sender = sender = HttpSender(
                timeout_s=orders.timeout_s, connections=connections, private=orders.private
            )
            for endpoint in orders.endpoints:
                courier = Courier(
                    endpoint,
                    self._outbox,
                    sender,
                    orders.patience,
                    lease_s=orders.timeout_s + GRACE_S,
                    limit=orders.deliveries,
                    clock=self._clock,
                )
                name = f"errands-courier-{endpoint.name}"
                self._rounds.append(Rounds(name, courier.round, orders.webhooks_poll_s))
        for rounds in self._rounds:
            rounds.start()

    async def close(self) -> None:
        """Stop; what was claimed comes to another once its lease is over."""
        await asyncio.gather(*(rounds.close() for rounds in self._rounds))
        if self._sender is not None:
            await self._sender.close()
