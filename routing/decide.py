"""One message in, one decision out: the caller's own choice of agent, or the first rule."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from contracts.decisions import Decision, RoutingInput
from contracts.errors import UnknownModel
from routing.rules import RuleSet, shown

AUTO = "auto"
BY_MODEL = "model"
LISTED = 20


def decide(rules: RuleSet, agents: Collection[str], model: str, given: RoutingInput) -> Decision:
    """Choose the agent for one message. The same message always gets the same answer.

    Args:
        rules: What `auto` goes through.
        agents: The names of all agents.
        model: An agent's name, or `auto`.
        given: What the rules may look at.

    Raises:
        UnknownModel: `model` is neither; `details["models"]` lists what it may be.
    """
    if model == AUTO:
        rule, matched = rules.first_match(given)
        return Decision(rule.agent, rule.name, f"Rule {rule.name}: {matched}.")
    if model in agents:
        return Decision(model, BY_MODEL, f"The request asks for {model}.")
    raise _unknown(model, agents)


def _unknown(model: str, agents: Collection[str]) -> UnknownModel:
    names = [AUTO, *sorted(agents)]
    close = difflib.get_close_matches(model[:64], names, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    listed = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    return UnknownModel(
        f"There is no model {shown(model)}.{hint} Models: {listed}.",
        param="model",
        details={"models": names[:LISTED]},
    )
