"""`troupe routes`: the rules in order, the way of one message, what new rules would change."""

from __future__ import annotations

import json
import re
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cli.api import Api
from cli.policies import read
from cli.screen import Screen

_PAGE = 500
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_COUNTS = ("messages", "same", "changed", "would_ask", "named")
_APART = ("name", "from", "when", "sticky", "on_failure")


def since(text: str) -> float:
    """Unix seconds, of `2h` as time that has passed or of a date as ISO 8601 has it."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return time.time() - int(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        reason = f"{text!r} is neither a span as 30m, 2h, 7d nor a date as 2026-01-31T12:00"
        raise ArgumentTypeError(reason) from None


def pair(text: str) -> tuple[str, str]:
    """`key=value`."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ArgumentTypeError(f"{text!r} is no key=value")
    return key, value


def listing(api: Api, given: Namespace, out: Screen) -> None:
    found = api.get("routes", org=given.org)
    if given.json:
        out.json(found)
        return
    out.line(f"version {found['version']}", "strong")
    out.table(
        ("#", "RULE", "FROM", "WHEN", "LEADS TO"),
        [
            (number, row["name"], row["from"], _short(row["when"]), _target(row))
            for number, row in enumerate(found["rules"], start=1)
        ],
    )


def explain(api: Api, given: Namespace, out: Screen) -> None:
    session = {
        "id": given.session,
        "agent": given.agent,
        "turns": given.turns,
        "messages": given.messages,
        "failures": given.failures,
    }
    found = api.post(
        "routes/explain",
        {
            "text": given.text,
            "org": given.org,
            "user": given.user,
            "model": given.model,
            "metadata": dict(given.metadata) or None,
            "session": {name: one for name, one in session.items() if one is not None},
            "background": given.background,
            "regenerate": given.regenerate,
        },
    )
    if given.json:
        out.json(found)
        return
    if found["path"]:
        out.table(
            ("#", "RULE", "FROM", "OUTCOME", "WHY"),
            [
                (number, step["rule"], step["from"], step["outcome"], step["why"] or None)
                for number, step in enumerate(found["path"], start=1)
            ],
        )
        out.line()
    agent = found["agent"] or f"only a model can tell: {_short(found['leads_to'])}"
    out.line(f"{agent}  (version {found['version']})", "strong")
    out.line(found["reason"])
    for one in found["candidates"] or ():
        first = f"{one['expected_ms']} ms, " if one["expected_ms"] is not None else ""
        out.line(f"  {one['endpoint']}: {one['state']}, {first}{one['running']} running")


def replay(api: Api, given: Namespace, out: Screen) -> None:
    body: dict[str, Any] = {
        "since": given.since,
        "scope": given.scope,
        "org": given.org,
        "text": read(given.file) if given.file else None,
    }
    total: dict[str, Any] = dict.fromkeys(_COUNTS, 0) | {"changes": [], "faults": []}
    more, before = True, None
    while more and total["messages"] < given.limit:
        page = min(_PAGE, given.limit - total["messages"])
        found = api.post("routes/replay", {**body, "limit": page, "before": before})
        for name in (*_COUNTS, "changes", "faults"):
            total[name] += found[name]
        total |= {"org": found["org"], "version": found["version"]}
        more, before = found["has_more"], found["last_id"]
    total["has_more"] = more
    out.json(total) if given.json else _told(total, out)


def _after(change: dict[str, Any]) -> str:
    """Who would answer, and under which contract where that is what changes."""
    before, after = change["on_failure_before"], change["on_failure_after"]
    contract = "" if before == after else f" (on_failure {before or '-'} to {after or '-'})"
    return f"{change['after']}{contract}"


def _told(total: dict[str, Any], out: Screen) -> None:
    if total["changes"]:
        out.table(
            ("RESPONSE", "BEFORE", "AFTER", "RULE", "MESSAGE"),
            [
                (
                    change["response_id"],
                    change["before"],
                    _after(change),
                    change["rule_after"],
                    change["text"],
                )
                for change in total["changes"]
            ],
        )
        out.line()
    for fault in total["faults"]:
        out.line(f"{fault['source']}: {fault['rule']}: {fault['reason']} ({fault['count']})", "bad")
    undecided = f", {total['would_ask']} need a model to tell" if total["would_ask"] else ""
    out.line(
        f"{total['messages']} messages of {total['org']} by version {total['version']}: "
        f"{total['changed']} would change, {total['same']} would not{undecided}",
        "strong",
    )
    if total["has_more"]:
        out.line("there are more; --limit takes a larger number", "warn")


def _target(row: Mapping[str, Any]) -> str:
    target = {name: value for name, value in row.items() if name not in _APART}
    return str(target["agent"]) if list(target) == ["agent"] else _short(target)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
