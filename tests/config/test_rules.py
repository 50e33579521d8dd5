"""Rules in settings: where each leads, and what is refused, each with its line."""

from __future__ import annotations

import pickle

import pytest

from config.load import load
from config.resolve import rule_spec
from contracts.decisions import Classifier, Semantic
from routing.targets import Ask, Split

HERE = "config/development.yaml"
ELSE = "- {name: rest, when: else, agent: gpt}\n"
ALL = """\
rules:
- name: vip
  when: user.tier in ["gold"]
  agent: gpt
  sticky: true
  on_failure: restart
- name: canary
  when: >-
    message.length > 10
    && !turn.background
  split: {by: user, agents: {gpt: 90, gemini: 10}}
- name: near
  when: message.language == "de"
  semantic:
    examples: {gemini: [translate this, what does it mean], gpt: [fix my code]}
    else: gpt
- name: sorted
  when: session.failures > 1
  classifier:
    agent: gemini
    answers: {gpt: code, gemini: everything about texts}
    instructions: Look at the last sentence.
    timeout_ms: 300
    else: gemini
- name: rest
  when: else
  agent: gpt
  sticky: false
"""


def test_a_rule_leads_to_one_of_four(overlay):
    specs = tuple(map(rule_spec, load({}, overlay(ALL)).rules))
    assert pickle.loads(pickle.dumps(specs)) == specs
    vip, canary, near, sort, rest = specs
    assert (vip.target, vip.sticky, vip.on_failure) == ("gpt", True, "restart")
    assert canary.when == "message.length > 10 && !turn.background"
    assert canary.target == Split("user", (("gpt", 90), ("gemini", 10)))
    examples = (
        ("gemini", "translate this"),
        ("gemini", "what does it mean"),
        ("gpt", "fix my code"),
    )
    assert near.target == Ask(Semantic("", examples, 0.5, 1.0), "gpt")
    answers = (("gpt", "code"), ("gemini", "everything about texts"))
    instructions = "Look at the last sentence."
    assert sort.target == Ask(Classifier("gemini", answers, instructions, 0.3), "gemini")
    assert (rest.when, rest.sticky, rest.source) == (None, False, "settings")
    assert (canary.sticky, canary.on_failure) == (None, None)


@pytest.mark.parametrize(
    ("rule", "line", "key", "reason"),
    [
        (
            "when: 'message.txt == 1'\n  agent: gpt",
            3,
            "rules[0].when",
            "names `message.txt`, which is no field; did you mean `text`? (rule `a`)",
        ),
        (
            "when: |-\n    user.id == 'a' &&\n    )\n  agent: gpt",
            3,
            "rules[0].when",
            "line 2, column 1: mismatched input ')' (rule `a`)",
        ),
        (
            "when: 'false'\n  agent: gpt",
            3,
            "rules[0].when",
            "can never match: it is false for every message (rule `a`)",
        ),
        (
            "agent: gtp\n  when: user.id == 'a'",
            3,
            "rules[0].agent",
            "names no agent: gtp; there is gemini, gpt; did you mean `gpt`? (rule `a`)",
        ),
        (
            "when: user.id == 'a'",
            2,
            "rules[0]",
            "must lead to one of agent, split, semantic, classifier; has none",
        ),
        (
            "when: user.id == 'a'\n  agent: gpt\n  split: {by: user, agents: {gpt: 1}}",
            2,
            "rules[0]",
            "must lead to one of agent, split, semantic, classifier; has agent, split",
        ),
        (
            "when: user.id == 'a'\n  split:\n    by: user\n    agents: {gpt: 0}",
            6,
            "rules[0].split.agents",
            "has no weight above 0 (rule `a`)",
        ),
        (
            "when: user.id == 'a'\n  split:\n    by: people\n    agents: {gpt: 1}",
            5,
            "rules[0].split.by",
            "must be one of 'user' or 'session', is 'people'",
        ),
        (
            "when: user.id == 'a'\n  split:\n    by: user\n    agents: {gpt: half}",
            6,
            "rules[0].split.agents.gpt",
            "must be a whole number, is 'half'",
        ),
        (
            "when: user.id == 'a'\n  semantic:\n    examples: {}\n    else: gpt",
            5,
            "rules[0].semantic.examples",
            "must have at least 1 entry",
        ),
        (
            "when: user.id == 'a'\n  semantic:\n    examples: {gpt: [x]}",
            4,
            "rules[0].semantic.else",
            "is missing; it must be set",
        ),
        (
            "when: user.id == 'a'\n  semantic:\n    examples: {gpt: [x]}\n    else: gpt\n"
            "    otherwise: gpt",
            7,
            "rules[0].semantic.otherwise",
            "is no setting",
        ),
        (
            "when: user.id == 'a'\n  semantic:\n    examples: {gpt: [x]}\n    else: gtp",
            6,
            "rules[0].semantic.else",
            "names no agent: gtp; there is gemini, gpt; did you mean `gpt`? (rule `a`)",
        ),
        (
            "when: user.id == 'a'\n  classifier:\n    agent: gpt\n    else: gpt\n"
            "    answers: {gpt: x, gemini: y}\n    timeout_ms: 60000",
            8,
            "rules[0].classifier.timeout_ms",
            "must be above 0 and at most 30000 (rule `a`)",
        ),
        (
            "when: user.id == 'a'\n  agent: gpt\n  sticky: sometimes",
            5,
            "rules[0].sticky",
            "must be true or false, is 'sometimes'",
        ),
        (
            "when: user.id == 'a'\n  agent: gpt\n  stiky: true",
            5,
            "rules[0].stiky",
            "is no setting; did you mean `sticky`?",
        ),
    ],
)
def test_a_rule_is_refused_with_its_line(rule, line, key, reason, overlay, problems):
    found = problems({}, overlay(f"rules:\n- name: a\n  {rule}\n{ELSE}"))
    told = [one for one in found if one[1] != "rules"]
    assert told == [(f"{HERE}:{line}", key, reason)]


def test_a_rule_behind_one_that_takes_everything_is_refused_with_its_line(overlay, problems):
    late = "- {name: late, when: user.id == 'a', agent: gpt}\n"
    assert problems({}, overlay(f"rules:\n{ELSE}{late}")) == [
        (
            f"{HERE}:3",
            "rules[1].when",
            "can never match: rule `rest` before it takes everything (rule `late`)",
        )
    ]
