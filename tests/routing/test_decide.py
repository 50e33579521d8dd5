"""Decisions: the caller's choice, the first match, and laws that hold for any list of rules."""

from __future__ import annotations

import copy
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decisions import Decision, RoutingInput
from contracts.errors import UnknownModel
from routing.conditions import Conditions
from routing.decide import decide as decide_async
from routing.rules import RuleSpec, compile_rules, faults_in


def decide(rules, agents, model, given, oracle=None) -> Decision:
    """The decision of rules that ask no model, which wait for nothing."""
    waiting = decide_async(rules, agents, model, given, oracle)
    with pytest.raises(StopIteration) as ended:
        waiting.send(None)
    return ended.value.value


AGENTS = ("gpt", "gemini", "local")
RULES = compile_rules(
    [RuleSpec("code", "local", Conditions(keywords=("code",))), RuleSpec("rest", "gpt")], AGENTS
)

WORDS = ("red", "green", "blue")


def some(*entries: str) -> st.SearchStrategy[tuple[str, ...]]:
    """None, one or two of the entries."""
    return st.sampled_from([(), *permutations(entries, 1), *permutations(entries, 2)])


conditions = st.builds(
    Conditions,
    regex=some("^r", "e+n$", "(?i)B"),
    keywords=some(*WORDS),
    metadata=st.dictionaries(
        st.sampled_from(("k", "l")), some(*WORDS).filter(bool), max_size=2
    ).map(lambda pairs: tuple(pairs.items())),
    user=some("u1", "u*", "?2"),
).filter(lambda when: when != Conditions())


expressions = st.sampled_from(
    (
        'message.text.words("red")',
        'message.text.matches("^g")',
        'message.text.contains("e") && message.words > 1',
        'message.metadata.k == "red"',
        'message.metadata.get("l") != ""',
        'user.id.glob("u*") || user.id == "x2"',
        'user.id == "u1" ? message.length > 5 : message.length > 9',
    )
)


@st.composite
def rule_lists(draw) -> list[RuleSpec]:
    whens = draw(st.lists(conditions | expressions, max_size=5, unique=True))
    agents = draw(
        st.lists(st.sampled_from(AGENTS), min_size=len(whens) + 1, max_size=len(whens) + 1)
    )
    specs = [RuleSpec(f"r{n}", agents[n], when) for n, when in enumerate(whens)]
    rest = RuleSpec("rest", agents[-1])
    refused = {fault.index for fault in faults_in([*specs, rest], AGENTS)}
    return [*(spec for n, spec in enumerate(specs) if n not in refused), rest]


likely_text = st.lists(st.sampled_from((*WORDS, "reddish", "Blue")), max_size=4).map(" ".join)
inputs = st.builds(
    RoutingInput,
    text=likely_text | st.text(st.characters(codec=None), max_size=30),
    metadata=st.dictionaries(st.sampled_from(("k", "l", "m")), st.sampled_from(WORDS), max_size=3),
    user=st.none() | st.sampled_from(("u1", "u2", "x2", "\ud800")),
)


@settings(deadline=None)
@given(rule_lists(), inputs)
def test_the_first_rule_that_matches_by_itself_wins(specs, given_input):
    decision = decide(compile_rules(specs, AGENTS), AGENTS, "auto", given_input)
    alone = [
        spec
        for spec in specs[:-1]
        if decide(
            compile_rules([spec, RuleSpec("other", "gpt")], AGENTS), AGENTS, "auto", given_input
        ).rule
        == spec.name
    ]
    expected = alone[0] if alone else specs[-1]
    assert (decision.rule, decision.agent) == (expected.name, expected.target)


@settings(deadline=None)
@given(conditions, conditions, inputs)
def test_what_is_said_to_be_taken_whole_is_taken(first, second, given_input):
    specs = [RuleSpec("first", "gpt", first), RuleSpec("second", "gpt", second)]
    rest = RuleSpec("rest", "gpt")
    if faults_in([*specs, rest], AGENTS):
        alone = (compile_rules([spec, rest], AGENTS).first_match(given_input) for spec in specs)
        by_first, by_second = (rule.name for rule, _ in alone)
        assert by_first == "first" or by_second == "rest"


@settings(deadline=None)
@given(rule_lists(), inputs)
def test_every_message_gets_one_of_the_agents_and_a_bounded_sentence(specs, given_input):
    decision = decide(compile_rules(specs, AGENTS), AGENTS, "auto", given_input)
    assert decision.agent in AGENTS
    assert decision.reason.startswith(f"Rule {decision.rule}: ")
    assert decision.reason.endswith(".")
    assert decision.reason.isprintable()
    assert len(decision.reason) < 1_000


@settings(deadline=None)
@given(rule_lists(), inputs)
def test_a_decision_depends_on_nothing_but_its_input_and_changes_nothing(specs, given_input):
    before = copy.deepcopy(given_input)
    rules = compile_rules(specs, AGENTS)
    first = decide(rules, AGENTS, "auto", given_input)
    decide(rules, AGENTS, "auto", RoutingInput("red green blue", {"k": "red"}, "u1"))
    assert decide(rules, AGENTS, "auto", given_input) == first
    assert decide(compile_rules(specs, AGENTS), AGENTS, "auto", before) == first
    assert given_input == before


@given(st.sampled_from(AGENTS), inputs)
def test_an_agent_named_by_the_caller_answers_whatever_the_rules_say(agent, given_input):
    decision = decide(RULES, AGENTS, agent, given_input)
    assert decision == Decision(agent, "model", f"The request asks for {agent}.")


def test_auto_goes_through_the_rules():
    decision = decide(RULES, AGENTS, "auto", RoutingInput("Fix my code", {}, None))
    assert decision == Decision("local", "code", 'Rule code: the message says "code".', version="0")


@pytest.mark.parametrize(("model", "hint"), [("gtp", "gpt"), ("GPT-4", None), ("autom", "auto")])
def test_an_unknown_model_is_told_what_there_is(model, hint):
    with pytest.raises(UnknownModel) as caught:
        decide(RULES, AGENTS, model, RoutingInput("", {}, None))
    error = caught.value
    assert (error.param, error.status) == ("model", 404)
    assert error.details["models"] == ["auto", "gemini", "gpt", "local"]
    assert f'There is no model "{model}".' in error.message
    assert ("Did you mean" in error.message) is (hint is not None)
    assert hint is None or f"Did you mean {hint}?" in error.message


def test_an_unknown_models_answer_is_bounded_whatever_was_asked():
    agents = [f"agent-{n}" for n in range(1_000)]
    with pytest.raises(UnknownModel) as caught:
        decide(RULES, agents, "x\x00" * 100_000, RoutingInput("", {}, None))
    assert len(caught.value.message) < 500
    assert len(caught.value.details["models"]) == 20
    assert caught.value.message.isprintable()
