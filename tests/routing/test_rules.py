"""A list of rules: what is wrong with it, each fault with its rule and field; what matches."""

from __future__ import annotations

import pickle

import pytest

from contracts.decisions import RoutingInput
from contracts.errors import InvalidRequest
from routing.conditions import Conditions
from routing.rules import MAX_RULES, Fault, RuleSpec, compile_rules, faults_in
from routing.wording import shown

AGENTS = ("gpt", "gemini")
ELSE = RuleSpec("rest", "gpt")


def matched(when: Conditions, given: RoutingInput) -> str | None:
    """What the conditions matched, None if the message went on to the last rule."""
    rules = compile_rules([RuleSpec("first", "gemini", when), ELSE], AGENTS)
    rule, reason = rules.first_match(given)
    return reason if rule.name == "first" else None


def message(text: str = "", user: str | None = None, **metadata: str) -> RoutingInput:
    return RoutingInput(text, metadata, user)


@pytest.mark.parametrize(
    ("when", "given", "reason"),
    [
        (Conditions(keywords=("sql", "code")), message("some Code"), 'the message says "Code"'),
        (Conditions(keywords=("code",)), message("codec"), None),
        (Conditions(regex=("^x", "y$")), message("my"), 'the message has "y", which fits "y$"'),
        (Conditions(regex=("^x",)), message("yx"), None),
        (Conditions(user=("u1", "b-*")), message(user="u1"), 'the user is "u1"'),
        (Conditions(user=("b-*",)), message(user="b-2"), 'the user is "b-2", which is like "b-*"'),
        (Conditions(user=("*",)), message(), None),
        (Conditions(user=("u1",)), message(user="u2"), None),
        (Conditions(metadata=(("t", ("a", "b")),)), message(t="b"), 'metadata "t" is "b"'),
        (Conditions(metadata=(("t", ("a",)),)), message(t="A"), None),
        (Conditions(metadata=(("t", ("a",)),)), message(), None),
        (Conditions(metadata=(("t", ("a",)), ("u", ("b",)))), message(t="a"), None),
        (
            Conditions(metadata=(("t", ("a",)), ("u", ("b",)))),
            message(t="a", u="b"),
            'metadata "t" is "a" and metadata "u" is "b"',
        ),
        (
            Conditions(("x+",), ("hi",), (("t", ("a",)),), ("u?",)),
            message("hi xx", "u1", t="a"),
            'metadata "t" is "a" and the user is "u1", which is like "u?" '
            'and the message says "hi" and the message has "xx", which fits "x+"',
        ),
        (Conditions(("x+",), ("hi",)), message("hi"), None),
        (Conditions(("x+",), ("hi",)), message("xx"), None),
    ],
)
def test_all_conditions_must_hold_and_one_entry_of_each(when, given, reason):
    assert matched(when, given) == reason


def test_the_last_rule_takes_the_rest():
    rule, reason = compile_rules([ELSE], AGENTS).first_match(message("anything"))
    assert (rule.target, reason) == ("gpt", "no rule before it matched")


def test_a_good_list_has_no_fault():
    assert faults_in([RuleSpec("a", "gpt", Conditions(user=("x",))), ELSE], AGENTS) == []


def test_every_fault_is_told_with_its_rule_and_field():
    specs = [
        RuleSpec("model", "gtp", Conditions(regex=("ok", "(", "["))),
        RuleSpec("a", "gpt", Conditions(keywords=("",))),
        RuleSpec("a", "gpt", Conditions()),
        RuleSpec("b", "gpt", Conditions(user=("x" * 3_000,))),
        RuleSpec("c", "gpt", Conditions(metadata=(("k", ()),))),
        RuleSpec("d", "gpt", Conditions(regex=("fine",))),
        RuleSpec("e", "gpt", Conditions(regex=("fine",))),
        RuleSpec("f", "gpt"),
        RuleSpec("g", "gpt", Conditions(regex=("late",))),
        RuleSpec("h", "gpt"),
    ]
    faults = faults_in(specs, AGENTS)
    assert [(fault.index, fault.name, fault.field) for fault in faults] == [
        (0, "model", "name"),
        (0, "model", "agent"),
        (0, "model", "when.regex"),
        (0, "model", "when.regex"),
        (1, "a", "when.keywords"),
        (2, "a", "name"),
        (2, "a", "when"),
        (3, "b", "when.user"),
        (4, "c", "when.metadata.k"),
        (6, "e", "when"),
        (8, "g", "when"),
        (9, "h", "when"),
    ]
    assert faults[1].reason == "names no agent: gtp; there is gemini, gpt; did you mean `gpt`?"
    assert faults[9].reason == "can never match: rule `d` asks the same"
    assert faults[10].reason == "can never match: rule `f` before it takes everything"


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        ([], "must have at least one rule, whose `when` is `else`"),
        (
            [RuleSpec("a", "gpt", Conditions(user=("x",)))],
            "must end with a rule whose `when` is `else`, so that every message has an agent",
        ),
        ([ELSE] * (MAX_RULES + 1), f"has more than {MAX_RULES} rules"),
    ],
)
def test_a_list_that_leaves_a_message_without_an_agent(specs, reason):
    assert faults_in(specs, AGENTS) == [Fault(None, "", "rules", reason)]


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("true", "is true for every message; write `else` to take the rest"),
        ("1 < 2 || user.id == 'a' && false", None),
        ("1 > 2", "can never match: it is false for every message"),
        ("user.id  ==\n'u'", "can never match: rule `first` asks the same"),
        ("user.id == 'u' // again", "can never match: rule `first` asks the same"),
        ("user.id == 'v'", None),
    ],
)
def test_an_expression_that_can_never_match_or_always_does(when, reason):
    specs = [RuleSpec("first", "gpt", "user.id == 'u'"), RuleSpec("second", "gpt", when), ELSE]
    faults = faults_in(specs, AGENTS)
    assert [(fault.name, fault.reason) for fault in faults][:1] == (
        [("second", reason)] if reason else []
    )


WIDE = Conditions(keywords=("refund", "money back", "Rückgabe"))


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        (WIDE, Conditions(keywords=("REFUND", "money  back")), False),
        (WIDE, Conditions(keywords=("refund", "invoice")), True),
        (WIDE, Conditions(keywords=("refunds",)), True),
        (WIDE, Conditions(keywords=("RÜCKGABE",)), True),
        (WIDE, Conditions(keywords=("refund",), user=("ada",)), False),
        (WIDE, 'message.text.words(["refund"])', False),
        (WIDE, ' message.text.words("money back")\n', False),
        (WIDE, '!message.text.words("refund")', True),
        (WIDE, 'message.text.words("refund") || turn.background', True),
        (WIDE, 'user.id.words("refund")', True),
        ('message.text.words(["a", "b"])', Conditions(keywords=("b",)), False),
        ('message.text.words(["a", "b", "c"])', 'message.text.words(["b", "a"])', False),
        (WIDE._replace(user=("ada",)), Conditions(keywords=("refund",)), True),
        (
            WIDE._replace(user=("ada", "bob")),
            Conditions(keywords=("refund",), user=("bob",)),
            False,
        ),
        (Conditions(user=("a*",)), Conditions(user=("a*",), regex=("x",)), False),
        (Conditions(regex=("x", "y")), Conditions(regex=("y",)), False),
        (
            Conditions(metadata=(("plan", ("a", "b")),)),
            Conditions(metadata=(("tier", ("x",)), ("plan", ("b",)))),
            False,
        ),
        (
            Conditions(metadata=(("plan", ("a", "")),)),
            Conditions(metadata=(("tier", ("a",)),)),
            True,
        ),
    ],
)
def test_what_an_earlier_rule_takes_whole_cannot_be_reached(first, second, reached):
    specs = [RuleSpec("first", "gpt", first), RuleSpec("second", "gemini", second), ELSE]
    reason = "can never match: rule `first` before it takes all that it asks for"
    assert faults_in(specs, AGENTS) == ([] if reached else [Fault(1, "second", "when", reason)])
    assert faults_in([specs[1], specs[0], ELSE], AGENTS) == [], "the narrower one first is fine"
    elsewhere = [specs[0]._replace(source="org_a"), specs[1]._replace(source="base"), ELSE]
    assert faults_in(elsewhere, AGENTS) == [], "for other organizations it may be reached"


def test_what_follows_an_expression_that_is_always_true_can_never_match():
    specs = [RuleSpec("all", "gpt", "true"), RuleSpec("late", "gpt", "user.id == 'u'"), ELSE]
    assert [(fault.name, fault.reason) for fault in faults_in(specs, AGENTS)][1:] == [
        ("late", "can never match: rule `all` before it takes everything"),
        ("rest", "can never match: rule `all` before it takes everything"),
    ]


def test_each_mistake_in_an_expression_is_a_fault_of_its_own():
    specs = [RuleSpec("a", "gpt", "mesage.text == '' && user.teir == 'a'"), ELSE]
    assert faults_in(specs, AGENTS) == [
        Fault(0, "a", "when", "names `mesage`, which is no variable; did you mean `message`?"),
        Fault(0, "a", "when", "names `user.teir`, which is no field; did you mean `tier`?"),
    ]


def test_a_list_put_together_from_several_sources():
    pro = "user.tier == 'pro'"
    specs = [
        RuleSpec("pro", "gemini", pro, source="org_a"),
        RuleSpec("pro", "gpt", pro, source="base"),
        RuleSpec("short", "gemini", "message.length < 5", source="base"),
        RuleSpec("rest", "gpt", source="base"),
        RuleSpec("pro", "gpt", pro),
        ELSE,
    ]
    rules = compile_rules(specs, AGENTS, version="base.3+org_a.7")
    assert rules.version == "base.3+org_a.7"
    assert [(rule.source, rule.name) for rule in rules.rules] == [
        ("org_a", "pro"),
        ("base", "pro"),
        ("base", "short"),
        ("base", "rest"),
    ]
    rule, _ = rules.first_match(message("a long one", tier="pro"))
    assert (rule.source, rule.target) == ("org_a", "gemini")
    assert rules.report()[0] == {"rule": "pro", "source": "org_a", "matched": 1, "faults": []}
    twice = [*specs[:1], *specs]
    assert [(fault.index, fault.field) for fault in faults_in(twice, AGENTS)] == [
        (1, "name"),
        (1, "when"),
    ]


def test_a_faulty_list_does_not_compile():
    with pytest.raises(InvalidRequest) as caught:
        compile_rules([RuleSpec("a", "nobody", Conditions(regex=("(",)))], AGENTS)
    error = caught.value.as_dict()
    assert (error["code"], error["param"]) == ("invalid_rules", "rules")
    assert [fault["field"] for fault in error["faults"]] == ["agent", "when.regex", "rules"]
    assert "rule 0 (a), agent: names no agent: nobody" in error["message"]


def test_specs_travel_between_processes():
    specs = (RuleSpec("a", "gpt", Conditions(("x",), ("y",), (("k", ("v",)),), ("u",))), ELSE)
    assert pickle.loads(pickle.dumps(specs)) == specs


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a\n  b\tc", '"a b c"'),
        ("\x00\x1b[31m\u202e", '"\ufffd\ufffd[31m\ufffd"'),
        ("x" * 61, f'"{"x" * 60}…"'),
        (None, '""'),
    ],
)
def test_a_quotation_is_one_short_harmless_line(text, quoted):
    assert shown(text) == quoted
