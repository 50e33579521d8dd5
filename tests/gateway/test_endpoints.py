"""How endpoints stand, as operators are told."""

from __future__ import annotations

from context.exchange import Exchange
from gateway.endpoints import together
from tests.gateway.house import House, Stores, eventually
from tests.routing.clockwork import book_of

ROW = {
    "agent": "gpt",
    "endpoint": "gpt-1",
    "model": "m",
    "region": None,
    "state": "closed",
    "expected_ms": None,
    "running": 1,
    "asked": 10,
    "failed": 2,
    "rate_limited_until": None,
}


def test_counts_are_summed_and_the_worst_state_is_told() -> None:
    other = {**ROW, "state": "open", "expected_ms": 120, "asked": 5, "rate_limited_until": 9.5}
    foreign = {**ROW, "agent": "other"}
    probing = {**ROW, "state": "probing", "expected_ms": 80}
    reports = [{"endpoints": rows} for rows in ([ROW, foreign], [other], [probing])]
    summed, alone = together(reports)
    assert alone == foreign
    assert summed == {
        **ROW,
        "state": "open",
        "expected_ms": 120,
        "running": 3,
        "asked": 25,
        "failed": 6,
        "rate_limited_until": 9.5,
    }
    assert together([]) == []


async def test_operators_see_what_hosts_report(house: House, stores: Stores) -> None:
    report = {
        "host": "host_told",
        "at": 5.0,
        "revision": 3,
        "rules": [],
        "policy_errors": ["revision 4: no"],
        "endpoints": [ROW],
    }
    exchange = Exchange(stores.redis_url, "host_told", book_of(), lambda: report)
    exchange.open()

    async def told() -> bool:
        answer = (await house.http.get("/admin/v1/endpoints")).json()
        mine = [host for host in answer["hosts"] if host["host"] == "host_told"]
        expected = {name: value for name, value in report.items() if name != "endpoints"}
        return mine == [expected] and ROW in answer["endpoints"]

    await eventually(told)
    await exchange.aclose()
