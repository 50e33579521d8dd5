"""A process that asks models and has no sessions shares endpoints' limits like any host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.following import Following
from config.load import load
from context.exchange import Exchange
from contracts.errors import ProviderRateLimited
from contracts.limits import Word
from routing.endpoints import Balanced
from routing.health import Health
from tests.support.stores import PostgresServer, ValkeyServer
from tests.support.waiting import until


class Host:
    """Another host, as far as hosts hear of each other."""

    def __init__(self) -> None:
        self.mine: dict[str, Word] = {}
        self.others: dict[str, Word] = {}

    def words(self, now: float) -> Mapping[str, Word]:
        return dict(self.mine)

    def hear(self, now: float, others: Mapping[str, Mapping[str, Word]]) -> None:
        for words in others.values():
            self.others |= words

    def apart(self) -> None:
        return None


def endpoint(following: Following, agent: str) -> tuple[str, Health]:
    """An agent's first endpoint, by its identity."""
    endpoints = following.seats[agent].endpoints
    assert isinstance(endpoints, Balanced)
    health = endpoints.endpoints[0].health
    known = following.health._known
    return next(key for key, one in known.items() if one is health), health


async def test_what_it_uses_is_told_and_what_hosts_tell_holds_for_it(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    settings = load(
        {
            "TROUPE_SIMULATOR__URL": "http://127.0.0.1:9",
            "TROUPE_CONTEXT__DATABASE_URL": postgres.url(await postgres.create_database()),
            "TROUPE_CONTEXT__REDIS_URL": valkey.url,
        }
    )
    now = asyncio.get_running_loop().time
    following, host = Following(settings), Host()
    exchange = Exchange(valkey.url, "host_beside", host, None)
    exchange.open()
    await following.open()
    try:
        key, health = endpoint(following, "gpt")
        ticket = following.seats["gpt"].endpoints.take(now(), tokens=100)
        assert ticket is not None
        await until(
            lambda: host.others.get(key, Word())[:3] == (1, 100, 1), "its request is heard of"
        )
        ticket.failed(now(), ProviderRateLimited("slow", retry_after=60.0))
        await until(lambda: host.others[key].limited, "the rate limit is heard of")
        other, health = endpoint(following, "gemini")
        assert health.circuit.closed
        host.mine = {other: Word(shuts=1, shut_s=60.0, limited=True)}
        await until(lambda: health.circuit.limited, "a host's rate limit holds here")
        assert following.seats["gemini"].endpoints.wait_s(now(), tokens=1) > 50.0
    finally:
        await following.aclose()
        await exchange.aclose()
