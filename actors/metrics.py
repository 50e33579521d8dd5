"""What a host counts, as Ray's metrics, which Ray's own agent exports to Prometheus.

Everything is counted where it happens, as plain integers, and shown here once a report: nothing of
this is on the way of a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

GAUGES: Mapping[str, str] = {
    "sessions": "Sessions held.",
    "turns_running": "Sessions in which a turn runs.",
    "turns_waiting": "Turns that wait for another one of their session.",
    "write_queue": "Writes that wait for Postgres.",
    "postgres_up": "1 if Postgres answers.",
    "redis_up": "1 if Redis answers.",
}
COUNTERS: Mapping[str, str] = {
    "activations": "Sessions activated.",
    "wakes_hot": "Activations whose context came from Redis.",
    "wakes_cold": "Activations whose context came from Postgres.",
    "writes": "Writes taken.",
    "write_batches": "Transactions that wrote them.",
    "journal_skipped": "Events that were not recorded outside the host, since Redis was away.",
}
ENDPOINT_STATES = ("closed", "probing", "open")
ENDPOINT_GAUGES: Mapping[str, str] = {
    "endpoint_state": "Circuit of an agent's endpoint: 0 closed, 1 probing, 2 open.",
}
ENDPOINT_COUNTERS: Mapping[str, str] = {
    "endpoint_asked": "Requests to an agent's endpoint.",
    "endpoint_failed": "Of these, those that the endpoint is to blame for.",
}
_ENDPOINT_TAGS = ("host", "agent", "endpoint")


class HostMetrics:
    """The metrics of one host; each is `troupe_` and its name, with the host's name as a tag."""

    def __init__(self, host: str) -> None:
        tags = {"host": host}
        self._gauges = {
            name: Gauge(f"troupe_{name}", text, ("host",)) for name, text in GAUGES.items()
        }
        self._counters = {
            name: Counter(f"troupe_{name}", text, ("host",)) for name, text in COUNTERS.items()
        }
        self._endpoint_gauges = {
            name: Gauge(f"troupe_{name}", text, _ENDPOINT_TAGS)
            for name, text in ENDPOINT_GAUGES.items()
        }
        self._endpoint_counters = {
            name: Counter(f"troupe_{name}", text, _ENDPOINT_TAGS)
            for name, text in ENDPOINT_COUNTERS.items()
        }
        self._seen: dict[str, int] = {}
        self._seen_of: dict[tuple[str, str, str], int] = {}
        for metric in (
            *self._gauges.values(),
            *self._counters.values(),
            *self._endpoint_gauges.values(),
            *self._endpoint_counters.values(),
        ):
            metric.set_default_tags(tags)

    def show(self, facts: Mapping[str, int]) -> None:
        """Show these; counters are given as totals since the host began. What is missing, stays."""
        for name in facts.keys() & self._gauges.keys():
            self._gauges[name].set(facts[name])
        for name in facts.keys() & self._counters.keys():
            more = facts[name] - self._seen.get(name, 0)
            if more > 0:
                self._counters[name].inc(more)
                self._seen[name] = facts[name]

    def show_endpoints(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Show how endpoints stand, as `routing.endpoints` reports them."""
        seen: dict[tuple[str, str, str], int] = {}
        for row in rows:
            agent, endpoint = row["agent"], row["endpoint"]
            tags = {"agent": agent, "endpoint": endpoint}
            state = ENDPOINT_STATES.index(row["state"])
            self._endpoint_gauges["endpoint_state"].set(state, tags=tags)
            for name, total in (
                ("endpoint_asked", row["asked"]),
                ("endpoint_failed", row["failed"]),
            ):
                key = name, agent, endpoint
                before = self._seen_of.get(key, 0)
                # An agent that was replaced counts from nothing.
                more = total - before if total >= before else total
                seen[key] = total
                if more > 0:
                    self._endpoint_counters[name].inc(more, tags=tags)
        self._seen_of = seen
