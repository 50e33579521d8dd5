"""What rules say of one message, and what other rules would make of many."""

from __future__ import annotations

import json

import pytest

from contracts.decisions import Decision, RoutingInput, Semantic
from contracts.errors import UnknownModel
from routing.conditions import Conditions
from routing.explain import explain
from routing.replay import MAX_CHANGES, StoredMessage, compare
from routing.rules import RuleSpec, compile_rules
from routing.targets import Ask

AGENTS = ("gpt", "gemini", "local")
NEAREST = Ask(Semantic("", (("gemini", "translate"),), 0.5, 1.0), "gpt")
SPECS = [
    RuleSpec("vip", "local", 'user.tier == "gold" && message.length < 5', source="org_a"),
    RuleSpec("age", "local", 'int(message.metadata.get("age")) > 20', source="base"),
    RuleSpec("team", "local", Conditions(user=("dev-*",), metadata=(("plan", ("pro",)),))),
    RuleSpec("code", "local", Conditions(keywords=("code",), regex=("x+",))),
    RuleSpec("near", NEAREST, 'message.text.contains("translate")'),
    RuleSpec("long", "gemini", 'message.length > 20 || message.text == "long"'),
    RuleSpec("rest", "gpt", sticky=True),
]
RULES = compile_rules(SPECS, AGENTS, version="base.3+org_a.7")


def path(text: str, **facts) -> dict[str, tuple[str, str]]:
    found = explain(RULES, AGENTS, "auto", RoutingInput(text, **facts))
    return {step.rule: (step.outcome, step.why) for step in found.steps}


def test_every_rule_says_what_it_made_of_the_message_and_why():
    facts = {"metadata": {"tier": "gold"}, "user": "dev-1"}
    found = explain(RULES, AGENTS, "auto", RoutingInput("no xx cod", **facts))
    assert [step.rule for step in found.steps] == [spec.name for spec in SPECS]
    assert [step.source for step in found.steps][:3] == ["org_a", "base", "settings"]
    told = path("no xx cod", **facts)
    assert told["vip"] == ("not", '"message.length < 5" is false')
    assert told["age"][0] == "failed"
    assert told["age"][1].startswith("Function 'int' error")
    assert told["team"] == ("not", 'metadata "plan" is missing')
    assert told["code"] == ("not", "the message says none of the words")
    assert told["long"] == ("not", '"message.length > 20 || message.text == "long"" is false')
    assert told["rest"] == ("matched", "no rule before it matched")
    assert [step.rule for step in found.steps if step.chosen] == ["rest"]
    assert (found.leads_to, found.version) == ("gpt", "base.3+org_a.7")
    assert found.decision is not None
    assert found.decision.version == "base.3+org_a.7"


def test_why_a_rule_did_not_match():
    pro = {"metadata": {"plan": "pro"}}
    assert path("", metadata={"plan": "x"})["team"] == ("not", 'metadata "plan" is "x"')
    assert path("", **pro)["team"] == ("not", "the user is not given")
    assert path("", **pro, user="ops-1")["team"] == ("not", 'the user is "ops-1"')
    assert path("code")["code"] == ("not", "the message has nothing that fits the expression")
    assert path("hi")["vip"] == ("not", '"user.tier == "gold"" is false')


def test_rules_after_the_one_that_matched_are_asked_as_well_and_nothing_is_counted():
    before = RULES.report()
    told = path("some code xx that is longer than that")
    assert (told["code"][0], told["long"][0], told["rest"][0]) == ("matched",) * 3
    found = explain(RULES, AGENTS, "auto", RoutingInput("code xx"))
    assert [step.rule for step in found.steps if step.chosen] == ["code"]
    assert RULES.report() == before


def test_where_a_model_would_be_asked_nobody_is():
    found = explain(RULES, AGENTS, "auto", RoutingInput("translate"))
    assert (found.decision, found.asks) == (None, "semantic")
    assert found.leads_to == "a semantic between gemini, else gpt"
    assert json.loads(json.dumps(found.as_dict()))["asks"] == "semantic"


def test_a_conversation_that_stays_and_an_agent_that_is_named():
    found = explain(RULES, AGENTS, "auto", RoutingInput("hi", agent="gemini"))
    assert found.decision is not None
    assert (found.leads_to, found.decision.kept) == ("gemini", True)
    named = explain(RULES, AGENTS, "local", RoutingInput("code xx"))
    assert named.leads_to == "local"
    assert not any(step.chosen for step in named.steps)
    assert named.as_dict()["decision"]["rule"] == "model"
    with pytest.raises(UnknownModel):
        explain(RULES, AGENTS, "locl", RoutingInput("x"))


def stored(number: int, text: str, before: str, rule: str = "old", **facts) -> StoredMessage:
    given = RoutingInput(text, session_id=f"conv_{number}", **facts)
    return StoredMessage(f"resp_{number}", f"conv_{number}", given, Decision(before, rule, "then"))


def test_what_other_rules_would_change():
    rules = compile_rules(SPECS, AGENTS, version="base.4")
    found = compare(
        rules,
        AGENTS,
        iter(
            [
                stored(1, "code xx", "gpt"),
                stored(2, "code xx", "local"),
                stored(3, "long", "gpt"),
                stored(4, "hi", "gone", agent="gone"),
                stored(5, "code xxx", "gpt"),
                stored(6, "code xx", "gpt", rule="model"),
                stored(7, "translate", "gemini"),
                stored(8, "hi", "gemini", agent="gemini"),
            ]
        ),
    )
    assert (found.messages, found.same, found.changed) == (8, 2, 4)
    assert (found.would_ask, found.named, found.version) == (1, 1, "base.4")
    assert found.moves == {("gpt", "local"): 2, ("gpt", "gemini"): 1, ("gone", "gpt"): 1}
    assert found.rules == {"code": 3, "long": 1, "rest": 2, "near": 1}
    assert [change.response_id for change in found.changes] == [
        "resp_1",
        "resp_3",
        "resp_4",
        "resp_5",
    ]
    first = found.changes[0]
    assert (first.before, first.after) == ("gpt", "local")
    assert (first.rule_before, first.rule_after) == ("old", "code")
    assert first.reason.startswith("Rule code: the message says")
    told = json.loads(json.dumps(found.as_dict()))
    assert told["moves"][0] == {"before": "gpt", "after": "local", "count": 2}
    (fault,) = told["faults"]
    assert (fault["rule"], fault["source"], fault["count"]) == ("age", "base", 7)


def test_another_contract_is_a_change():
    when = Conditions(keywords=("code",))
    specs = [RuleSpec("code", "gpt", when, on_failure="stop"), RuleSpec("rest", "gpt")]
    messages = [stored(1, "code", "gpt", "code"), stored(2, "hi", "gpt", "rest")]
    found = compare(compile_rules(specs, AGENTS), AGENTS, messages)
    assert (found.same, found.changed, dict(found.moves)) == (1, 1, {})
    [change] = found.changes
    assert (change.response_id, change.after) == ("resp_1", "gpt")
    assert (change.on_failure_before, change.on_failure_after) == (None, "stop")


def test_changes_are_counted_all_and_listed_up_to_a_bound():
    rules = compile_rules(SPECS, AGENTS)
    many = (stored(number, "long", "gpt") for number in range(MAX_CHANGES + 5))
    found = compare(rules, AGENTS, many)
    assert (found.changed, len(found.changes)) == (MAX_CHANGES + 5, MAX_CHANGES)
    assert compare(compile_rules(SPECS, AGENTS), AGENTS, []).as_dict()["messages"] == 0
