"""What rules say of messages, for people: the way of one, and what would change for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from contracts.decisions import Decision, RoutingInput
from gateway.options import AUTO
from gateway.ports import RoutedMessage
from gateway.rulebook import Standing
from routing.explain import Step, explain
from routing.replay import StoredMessage, compare

SHOWN_CHARS = 80
_NOT_A_TARGET = ("name", "from", "when", "sticky", "on_failure")
_OUTCOMES = {"matched": "match", "not": "no", "failed": "failed"}


def explained(standing: Standing, model: str, given: RoutingInput) -> dict[str, Any]:
    """The way of one message through the rules. Raises `UnknownModel`."""
    listing = standing.of(given.org_id)
    found = explain(listing.rules, standing.agents, model, given)
    path: list[dict[str, Any]] = []
    leads_to: dict[str, Any] = {"agent": model}
    decided = model != AUTO
    for row, step in zip(listing.rows, found.steps, strict=True):
        path.append(_step(row, step, decided))
        if step.chosen:
            decided = True
            leads_to = {name: value for name, value in row.items() if name not in _NOT_A_TARGET}
    decision = found.decision
    return {
        "version": found.version,
        "path": path if model == AUTO else [],
        "agent": decision.agent if decision else None,
        "reason": decision.reason if decision else f"It is for {found.leads_to}.",
        "leads_to": leads_to,
    }


def compared(standing: Standing, org_id: str, stored: Sequence[RoutedMessage]) -> dict[str, Any]:
    """Which of these messages would go elsewhere by these rules, which nothing else may use."""
    texts = {message.response_id: message.given.text for message in stored}
    tier = standing.tiers.get(org_id, "")
    messages = (_stored(message, tier) for message in stored)
    found = compare(standing.of(org_id).rules, standing.agents, messages).as_dict()
    for change in found["changes"]:
        change["text"] = texts[change["response_id"]][:SHOWN_CHARS]
    return found


def _step(row: Mapping[str, Any], step: Step, decided: bool) -> dict[str, Any]:
    """Of rules after the one that decides only what a person may have meant is of interest."""
    why = step.why if not decided else "would match" if step.outcome == "matched" else ""
    return {
        "rule": step.rule,
        "from": step.source,
        "when": row["when"],
        "outcome": "skipped" if decided else _OUTCOMES[step.outcome],
        "why": why,
    }


def _stored(message: RoutedMessage, tier: str) -> StoredMessage:
    kept, given = message.decision, replace(message.given, org_tier=tier)
    decision = Decision(
        kept["agent"],
        str(kept.get("rule", "")),
        str(kept.get("reason", "")),
        on_failure=kept.get("on_failure"),
    )
    return StoredMessage(message.response_id, given.session_id, given, decision)
