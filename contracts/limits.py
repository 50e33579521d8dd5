"""What hosts and providers tell of an endpoint's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class RateLimits(NamedTuple):
    """A provider's own word on its rate limits, as the head of its answer has it.

    `left` of `limit` remain, and after `reset_s` seconds without a request all of it does. None:
    it does not say.
    """

    requests_left: int | None = None
    requests_limit: int | None = None
    requests_reset_s: float | None = None
    tokens_left: int | None = None
    tokens_limit: int | None = None
    tokens_reset_s: float | None = None


class Word(NamedTuple):
    """What one host tells the others of one endpoint.

    Args:
        requests: Its own in the last minute.
        tokens: Likewise.
        running: Its own now.
        shuts: How often it has closed the endpoint so far; a new number is news.
        shut_s: Seconds for which it leaves the endpoint alone from now on; 0: it does not.
        shut_ago_s: Seconds since it closed it.
        limited: Because of a rate limit, which holds for every host, not of a failure that it saw.
        needs_end: It failed after its first token: only an answer that ends says it is well.
    """

    requests: int = 0
    tokens: int = 0
    running: int = 0
    shuts: int = 0
    shut_s: float = 0.0
    shut_ago_s: float = 0.0
    limited: bool = False
    needs_end: bool = False


class Shared(Protocol):
    """One host's side of what hosts tell each other; endpoints go by their identities.

    `now`: seconds, of a clock that only goes forward.
    """

    def words(self, now: float) -> Mapping[str, Word]:
        """What there is to tell."""
        ...

    def hear(self, now: float, others: Mapping[str, Mapping[str, Word]]) -> None:
        """What every other living host tells, by host."""
        ...

    def apart(self) -> None:
        """The others cannot be heard: each host keeps to its share."""
        ...


class Reports(Protocol):
    """What hosts say of themselves, for people who look after them."""

    async def hosts(self) -> list[dict[str, Any]]:
        """The newest report of each living host. Raises `StoreUnavailable`."""
        ...
