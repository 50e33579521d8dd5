"""Many patterns in one pass say what each says by itself, or nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decisions import RoutingInput
from routing.conditions import Conditions
from routing.patterns import glob, keywords, regex
from routing.rules import RuleSpec, compile_rules
from routing.sieve import Sieve

PATTERNS = [
    regex("^a+$"),
    regex("(?i)b|c"),
    regex("(?s).*"),
    regex(r"\bab\b"),
    regex("é"),
    keywords(["ab", "é c"]),
    keywords(["b"]),
    glob("a*"),
    glob("?"),
]


def closed(patterns) -> Sieve:
    sieve = Sieve()
    for number, pattern in enumerate(patterns):
        sieve.add(number, pattern)
    sieve.close()
    return sieve


ALL = closed(PATTERNS)


@settings(deadline=None)
@given(st.text("abcé \n", max_size=12) | st.text(max_size=30))
def test_a_pass_finds_what_each_pattern_finds(text):
    data = text.encode()
    alone = {number for number, pattern in enumerate(PATTERNS) if pattern.search(text)}
    found = ALL.found(data)
    assert found is not None and found >= alone
    numbers = range(len(PATTERNS))
    assert {number for number in numbers if ALL.has(number, data, found)} == alone
    assert {number for number in numbers if ALL.has(number, data, None)} == alone


def test_what_is_too_much_for_one_pass_is_looked_for_one_by_one():
    many = [regex(rf"w{number}x\pL{{20}}|w{number}y") for number in range(8)]
    sieve = closed(many)
    text = b"here is w3y and w7y"
    assert sieve.found(text) is None
    assert [number for number in range(8) if sieve.has(number, text, None)] == [3, 7]


def test_a_pass_that_was_given_up_is_not_taken_for_one_that_found_nothing(monkeypatch):
    specs = [
        RuleSpec("a", "gpt", Conditions(keywords=("alpha",))),
        RuleSpec("b", "gpt", 'message.text.words(["beta"])'),
        RuleSpec("c", "gpt", Conditions(regex=("gam+a",))),
        RuleSpec("d", "gpt", 'message.text.matches("delta")'),
        RuleSpec("e", "gpt"),
    ]
    rules = compile_rules(specs, ["gpt"])

    class GivenUp:
        def Match(self, text: bytes) -> list[int]:
            return []

    for given_up in (False, True):
        if given_up:
            for sieve in rules.parts[0].library.sieves.values():
                monkeypatch.setattr(sieve, "_set", GivenUp())
        for text, name in [
            ("Alpha", "a"),
            ("a beta", "b"),
            ("gamma", "c"),
            ("delta", "d"),
            ("", "e"),
        ]:
            assert rules.first_match(RoutingInput(text))[0].name == name
