"""What Troupe says of a response beside OpenAI's fields: who was chosen and why, and the cost."""

from __future__ import annotations

from typing import Any

from contracts.messages import ENDED, ResponseRecord
from contracts.money import Charge, usd


def troupe_object(record: ResponseRecord, *, started: bool = False) -> dict[str, Any]:
    """The `troupe` of a response. What says nothing is left out.

    A function of the record, as all of `gateway.projection`. `agent` is who answered; where that is
    not who was `chosen`, both are named. `started`: as it was when the turn began, so without what
    only its end could tell.
    """
    said: dict[str, Any] = {"agent": record.agent, **record.decision}
    if started or record.status not in ENDED:
        _forget_later(said)
        return said
    if record.agent != said["agent"]:
        said["chosen"], said["agent"] = said["agent"], record.agent
    if record.charges:
        said["charges"] = [charge_object(charge) for charge in record.charges]
    if any(charge.nano is not None for charge in record.charges):
        said["cost_usd"] = usd(record.nano)
    return said


def charge_object(charge: Charge) -> dict[str, Any]:
    """One request to a provider. `cost_usd` None: its model has no price."""
    shown: dict[str, Any] = {
        "agent": charge.agent,
        "endpoint": charge.endpoint,
        "model": charge.model,
        "input_tokens": charge.input_tokens,
        "output_tokens": charge.output_tokens,
        "cached_tokens": charge.cached_tokens,
        "cost_usd": None if charge.nano is None else usd(charge.nano),
    }
    if charge.estimated:
        shown["estimated"] = True
    return shown


def _forget_later(said: dict[str, Any]) -> None:
    """What is known only after the beginning: an endpoint may have been waited for, and that a turn
    is beyond its own soft limit only its end tells.
    """
    said.pop("endpoint", None)
    warnings = [name for name in said.pop("budget", ()) if name != "turn"]
    if warnings:
        said["budget"] = warnings
