"""What rules say of messages, for people: the way of one, and what would change for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.decisions import RoutingInput
from contracts.errors import UnknownModel
from gateway.options import AUTO
from gateway.ports import RoutedMessage
from gateway.rulebook import Listing, Standing

SHOWN_CHARS = 80
_NOT_A_TARGET = ("name", "from", "when", "sticky", "on_failure")


def explained(standing: Standing, model: str, given: RoutingInput) -> dict[str, Any]:
    """The way of one message through the rules. Raises `UnknownModel`."""
    listing = standing.of(given.org_id)
    told: dict[str, Any] = {"version": listing.version, "path": [], "candidates": []}
    if model != AUTO:
        if model not in standing.agents:
            raise UnknownModel(f"There is no agent called {model!r}.", param="model")
        leads_to = {"agent": model}
        return {
            **told,
            "agent": model,
            "reason": f"The request asks for {model}.",
            "leads_to": leads_to,
        }
    leads_to, agent, reason = {}, None, ""
    for row, rule in zip(listing.rows, listing.rules.rules, strict=True):
        why = None if agent else rule.match(given)
        outcome = "skipped" if agent else "no" if why is None else "match"
        told["path"].append(_step(row, outcome, why or ""))
        if why is not None:
            leads_to, agent, reason = _target(row), rule.agent, f"Rule {rule.name}: {why}."
    return {**told, "agent": agent, "reason": reason, "leads_to": leads_to}


def compared(standing: Standing, org_id: str, stored: Sequence[RoutedMessage]) -> dict[str, Any]:
    """Which of these messages would go elsewhere by these rules."""
    listing = standing.of(org_id)
    changes: list[dict[str, Any]] = []
    for message in stored:
        rule, why = listing.rules.first_match(message.given)
        before = message.decision
        if rule.agent != before.get("agent"):
            changes.append(_change(message, listing, rule.agent, rule.name, why))
    return {
        "version": listing.version,
        "compared": len(stored),
        "same": len(stored) - len(changes),
        "undecided": 0,
        "changes": changes,
    }


def _step(row: Mapping[str, Any], outcome: str, why: str) -> dict[str, Any]:
    return {
        "rule": row["name"],
        "from": row["from"],
        "when": row["when"],
        "outcome": outcome,
        "why": why,
    }


def _target(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _NOT_A_TARGET}


def _change(
    message: RoutedMessage, listing: Listing, agent: str | None, rule: str, why: str
) -> dict[str, Any]:
    before = message.decision
    return {
        "response_id": message.response_id,
        "conversation": message.given.session_id,
        "text": message.given.text[:SHOWN_CHARS],
        "before": {name: before.get(name) for name in ("agent", "rule", "version")},
        "after": {"agent": agent, "rule": rule, "version": listing.version},
        "reason": why,
    }
