"""One message in, one decision out: the caller's own choice of agent, or the first rule."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection
from typing import Any, NamedTuple

from contracts.decisions import Decision, Found, Oracle, RoutingInput, Semantic
from contracts.errors import TroupeError, UnknownModel
from routing.rules import Rule, RuleSet
from routing.targets import Ask, Split
from routing.wording import LISTED, shown

AUTO = "auto"
BY_MODEL = "model"


class Question(NamedTuple):
    """A decision that a model has to make: of this rule, which matched for this reason."""

    rule: Rule
    matched: str
    ask: Ask
    version: str

    def answered(self, found: Found | None, problem: str = "") -> Decision:
        """The decision by what was found; None: nobody could tell, for this reason."""
        asked: dict[str, Any] = {"kind": self.ask.kind}
        agent = self.ask.otherwise
        if found is not None:
            if found.score is not None:
                asked["score"] = round(found.score, 4)
            if found.label is None:
                problem = "nothing fits"
            elif found.label not in self.ask.labels:
                problem = "the answer is none of those"
            else:
                agent = asked["label"] = found.label
        if problem:
            asked["fallback"] = problem
            why = f"{problem}, so {agent} answers"
        elif self.ask.kind == "semantic":
            why = f"it is nearest to the examples of {agent}"
        else:
            why = f"{self.ask.question[0]} says {agent}"
        return _decision(self.rule, agent, f"{self.matched}; {why}", self.version, asked=asked)


async def decide(
    rules: RuleSet,
    agents: Collection[str],
    model: str,
    given: RoutingInput,
    oracle: Oracle | None = None,
) -> Decision:
    """Choose the agent for one message. Waits only where the rule that matches asks a model.

    Args:
        rules: What `auto` goes through.
        agents: The names of all agents.
        model: An agent's name, or `auto`.
        given: What the rules may look at.
        oracle: Who asks models; None: nobody, and such a rule takes its `else`.

    Raises:
        UnknownModel: `model` is neither; `details["models"]` lists what it may be.
    """
    if model != AUTO:
        return named(agents, model)
    rule, matched = rules.first_match(given)
    led = lead(rule, matched, agents, given, rules.version)
    return led if isinstance(led, Decision) else await _ask(led, given.text, oracle)


def named(agents: Collection[str], model: str) -> Decision:
    """The decision where the caller made it. Raises `UnknownModel`."""
    if model in agents:
        return Decision(model, BY_MODEL, f"The request asks for {model}.")
    raise _unknown(model, agents)


def lead(
    rule: Rule, matched: str, agents: Collection[str], given: RoutingInput, version: str
) -> Decision | Question:
    """Where a rule that matched leads, as far as it can be told without a model."""
    target, now = rule.target, given.agent
    if rule.sticky and now is not None and now in agents and now != target:
        stays = f"{matched}; the conversation stays with {now}"
        return _decision(rule, now, stays, version, kept=True)
    if isinstance(target, str):
        return _decision(rule, target, matched, version)
    if isinstance(target, Split):
        agent = target.agent(rule.name, given)
        return _decision(rule, agent, f"{matched}; its split by {target.by} gives {agent}", version)
    return Question(rule, matched, target, version)


def _decision(
    rule: Rule,
    agent: str,
    why: str,
    version: str,
    *,
    kept: bool = False,
    asked: dict[str, Any] | None = None,
) -> Decision:
    return Decision(
        agent,
        rule.name,
        f"Rule {rule.name}: {why}.",
        version=version,
        on_failure=rule.on_failure,
        kept=kept,
        asked=asked,
    )


async def _ask(question: Question, text: str, oracle: Oracle | None) -> Decision:
    if oracle is None:
        return question.answered(None, "no model can be asked here")
    asked = question.ask.question
    try:
        async with asyncio.timeout(asked.timeout_s):
            if isinstance(asked, Semantic):
                found = await oracle.nearest(asked, text)
            else:
                found = await oracle.classify(asked, text)
    except TimeoutError:
        return question.answered(None, f"no answer within {asked.timeout_s * 1000:.0f} ms")
    except TroupeError as error:
        return question.answered(None, f"no answer ({error.cause_code})")
    return question.answered(found)


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
