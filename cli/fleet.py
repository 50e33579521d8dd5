"""`troupe endpoints` and `troupe spend`: how providers stand, and what was spent."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from cli.api import Api
from cli.screen import Screen


def endpoints(api: Api, given: Namespace, out: Screen) -> None:
    found = api.get("endpoints")
    if given.json:
        out.json(found)
        return
    out.table(
        (
            "AGENT",
            "ENDPOINT",
            "MODEL",
            "REGION",
            "STATE",
            "EXPECTED MS",
            "RUNNING",
            "ASKED",
            "FAILED",
        ),
        [
            (
                row.get("agent"),
                row.get("endpoint"),
                row.get("model"),
                row.get("region"),
                row.get("state"),
                row.get("expected_ms"),
                row.get("running"),
                row.get("asked"),
                row.get("failed"),
            )
            for row in found["endpoints"]
        ],
    )
    out.line()
    now = time.time()
    out.table(
        ("HOST", "REVISION", "SECONDS AGO"),
        [
            (host.get("host"), host.get("revision"), round(max(0.0, now - host["at"]), 1))
            for host in found["hosts"]
        ],
    )
    for host in found["hosts"]:
        for problem in host.get("policy_errors", ()):
            out.line(f"{host['host']}: {problem}", "bad")


def spend(api: Api, given: Namespace, out: Screen) -> None:
    found = api.get("spend", org=given.org)
    if given.json:
        out.json(found)
        return
    out.line(
        f"{found['org']}: today {_usd(found['today_usd'])}, month {_usd(found['month_usd'])}",
        "strong",
    )
    budgets: Mapping[str, Mapping[str, Any]] = found.get("budgets", {})
    if budgets:
        rows = [
            (name, _usd(one.get("soft_usd")), _usd(one.get("hard_usd")))
            for name, one in budgets.items()
        ]
        out.table(("BUDGET", "SOFT", "HARD"), rows)
    users = found.get("users", [])
    if users:
        out.line()
        out.table(
            ("USER", "TODAY", "MONTH"),
            [(row["user"], _usd(row["today_usd"]), _usd(row["month_usd"])) for row in users],
        )


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.4f}"
