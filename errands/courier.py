"""A courier tells one webhook endpoint of turns that have ended: at least once, in the end.

What it owes stands in the outbox since the transaction that ended the turn. A delivery is claimed
by lease, so a courier that dies with it in hand is followed by another; the endpoint may then hear
of one event twice, with the same `webhook-id`. Each endpoint has a courier of its own: one that is
slow or away holds up nobody else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from contracts.errands import Delivery
from errands.ports import Outbox
from errands.rounds import together
from errands.sender import Sender, Unreached
from errands.signing import headers_of

log = logging.getLogger("troupe.errands.courier")

GONE = 410
"""The status by which an endpoint says that it wants no more of this."""

_GROWTH = 3.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to deliver, and the key that signs it."""

    name: str
    url: str
    key: bytes

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r})"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a courier goes on.

    Args:
        attempts: In all; then the delivery is given up.
        first_s: Seconds before the second one; each pause after it is three times as long.
        longest_s: Seconds that a pause lasts at most, whatever the endpoint asks for.
    """

    attempts: int
    first_s: float
    longest_s: float

    def pause(self, attempts: int, asked: str | None, random: Random) -> float:
        """Seconds to wait after so many attempts; spread, so that a crowd does not come back."""
        # The exponent is bounded, for a float is.
        grown = min(self.longest_s, self.first_s * _GROWTH ** min(attempts - 1, 60))
        wanted = float(asked) if asked and asked.isascii() and asked.isdigit() else 0.0
        return max(grown * random.uniform(0.7, 1.3), min(wanted, self.longest_s))


class Courier:
    """See the module.

    Args:
        endpoint: Whom it tells.
        outbox: What is owed.
        sender: The way out.
        patience: How often it tries.
        lease_s: Longer than one attempt can take.
        limit: Deliveries at once.
        clock: Unix seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        outbox: Outbox,
        sender: Sender,
        patience: Patience,
        *,
        lease_s: float,
        limit: int,
        clock: Callable[[], float],
        random: Random | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._outbox = outbox
        self._sender = sender
        self._patience = patience
        self._lease_s = lease_s
        self._limit = limit
        self._clock = clock
        self._random = random or Random()

    async def round(self) -> bool:
        """Deliver what is due; True: there may be more."""
        claimed = await self._outbox.claim(
            self._endpoint.name, now=self._clock(), lease_s=self._lease_s, limit=self._limit
        )
        await together(self._deliver(delivery) for delivery in claimed)
        return len(claimed) == self._limit

    async def _deliver(self, delivery: Delivery) -> None:
        body = _body(delivery)
        headers = headers_of(self._endpoint.key, delivery.id, int(self._clock()), body)
        asked = None
        try:
            status, asked = await self._sender.post(
                self._endpoint.url, {**headers, "content-type": "application/json"}, body
            )
        except Unreached as error:
            why, final = str(error), False
        else:
            if 200 <= status < 300:
                await self._outbox.delivered(delivery)
                return
            why, final = f"status {status}", status == GONE
        if final or delivery.attempts >= self._patience.attempts:
            log.error(
                "%s of %s is given up for endpoint %s after %d attempts: %s",
                delivery.type, delivery.response_id, delivery.endpoint, delivery.attempts, why,
            )  # fmt: skip
            await self._outbox.give_up(delivery, why)
            return
        pause = self._patience.pause(delivery.attempts, asked, self._random)
        log.info("endpoint %s: %s; next try in %.0f s", delivery.endpoint, why, pause)
        await self._outbox.postpone(delivery, self._clock() + pause, why)


def _body(delivery: Delivery) -> bytes:
    """The event in OpenAI's shape. It names the response and holds nothing of it."""
    event = {
        "id": delivery.id,
        "object": "event",
        "type": delivery.type,
        "created_at": int(delivery.created_at),
        "data": {"id": delivery.response_id},
    }
    return json.dumps(event, separators=(",", ":")).encode()
