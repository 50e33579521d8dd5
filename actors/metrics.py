"""What a host counts, as Ray's metrics, which Ray's own agent exports to Prometheus.

Everything is counted where it happens, as plain integers, and shown here once a report: nothing of
this is on the way of a token.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        self._seen: dict[str, int] = {}
        for metric in (*self._gauges.values(), *self._counters.values()):
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
