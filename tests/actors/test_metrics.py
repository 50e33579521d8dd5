"""Totals become Ray's counters, levels its gauges; what nobody named is no metric."""

from __future__ import annotations

from typing import Any

import pytest
from ray.util.metrics import Metric

from actors.metrics import (
    COUNTERS,
    ENDPOINT_COUNTERS,
    ENDPOINT_GAUGES,
    GAUGES,
    HostMetrics,
)

Recorded = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """What Ray's own library was given to export."""
    seen: Recorded = []
    record = Metric._record

    def spy(self: Any, value: float, tags: dict[str, str] | None = None) -> None:
        seen.append((self.info["name"], value, self._get_final_tags(tags)))
        record(self, value, tags)

    monkeypatch.setattr(Metric, "_record", spy)
    return seen


def test_a_counter_grows_by_what_is_new_and_a_gauge_says_what_is(recorded: Recorded) -> None:
    metrics = HostMetrics("host-7-1")
    metrics.show({"sessions": 3, "activations": 5})
    metrics.show({"sessions": 2, "activations": 9})
    metrics.show({"sessions": 2, "activations": 9, "hits": 1})
    tags = {"host": "host-7-1"}
    assert [entry for entry in recorded if entry[0] == "troupe_activations"] == [
        ("troupe_activations", 5, tags),
        ("troupe_activations", 4, tags),
    ]
    assert [value for name, value, _ in recorded if name == "troupe_sessions"] == [3, 2, 2]
    assert {name for name, _, _ in recorded} == {"troupe_sessions", "troupe_activations"}


def test_endpoints_are_told_apart_and_one_that_begins_anew_counts_on(recorded: Recorded) -> None:
    metrics = HostMetrics("host-7-1")
    row = {"agent": "gpt", "endpoint": "gpt-1", "state": "closed", "asked": 5, "failed": 0}
    metrics.show_endpoints([row, {**row, "endpoint": "gpt-2", "state": "open"}])
    metrics.show_endpoints([{**row, "state": "probing", "asked": 9, "failed": 1}])
    metrics.show_endpoints([{**row, "asked": 2}])
    tags = {"host": "host-7-1", "agent": "gpt", "endpoint": "gpt-1"}
    mine = [(name, value) for name, value, seen in recorded if seen == tags]
    assert [value for name, value in mine if name == "troupe_endpoint_state"] == [0, 1, 0]
    assert [value for name, value in mine if name == "troupe_endpoint_asked"] == [5, 4, 2]
    assert [value for name, value in mine if name == "troupe_endpoint_failed"] == [1]
    other = [value for _, value, seen in recorded if seen == {**tags, "endpoint": "gpt-2"}]
    assert other == [2, 5]


def test_every_metric_is_in_the_operators_page() -> None:
    from tests.house.paths import ROOT

    page = (ROOT / "docs" / "operations.md").read_text()
    every = (*GAUGES, *COUNTERS, *ENDPOINT_GAUGES, *ENDPOINT_COUNTERS)
    missing = [name for name in every if f"`troupe_{name}`" not in page]
    assert missing == []
