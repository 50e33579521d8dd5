"""Conditions in CEL: what they mean, what is refused before it is in force, what fails later."""

from __future__ import annotations

import logging
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decisions import RoutingInput
from routing.expressions import BadExpression, Failed, expression
from routing.facts import Facts
from routing.languages import LOOKED_AT_CHARS, language
from routing.library import Library
from routing.rules import MAX_REASONS, OTHERS, RuleSpec, compile_rules

MONDAY_2230_UTC = 1_750_717_800.0  # In Berlin it is half past midnight on Tuesday.
GIVEN = RoutingInput(
    "Where is my Invoice? Über 20 cafe\u0301s",
    {"tier": "gold", "plan": "yearly"},
    "beta-7",
    now=MONDAY_2230_UTC,
    org_id="org_a",
    org_tier="internal",
    session_id="conv_1",
    turn=3,
    messages=4,
    agent="small",
    failures=2,
    attachments=({"type": "image", "size": 3}, {"type": "file", "data": {"nested": 1}}),
    background=True,
)


def holds(source: str, message: RoutingInput = GIVEN) -> bool:
    made = expression(source)
    library = Library(made.patterns)
    library.close()
    return made.match(Facts(message, library)) is not None


def refused(source: str) -> tuple[str, ...]:
    with pytest.raises(BadExpression) as caught:
        expression(source)
    return caught.value.reasons


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('message.text.contains("Invoice")', True),
        ('message["text"].startsWith("Where")', True),
        ("message.length == 35 && message.words == 7", True),
        ('message.text.matches(r"(?i)\\binvoice\\b")', True),
        ('message.text.matches("(?i)^invoice")', False),
        ('matches(message.text, "Invo.ce")', True),
        ('message.text.words("invoice")', True),
        ('message.text.words(["bill", "CAFÉS"])', True),
        ('words(message.text, ["voice", "bill"])', False),
        ('lower(message.text).matches("invoice") && lower(message.text).words(["über"])', True),
        ('message.attachments.exists(one, one.type == "image")', True),
        ("message.attachments.all(one, has(one.size))", False),
        ('message.attachments.map(one, one.type) == ["image", "file"]', True),
        ('message.metadata.plan == "yearly" && session.metadata["plan"] == "yearly"', True),
        ('message.metadata.get("plan") == "yearly" && message.metadata.get("x") == ""', True),
        ('get(message.metadata, "plan").startsWith("year")', True),
        ('has(message.metadata.x) || "y" in message.metadata', False),
        ("message.metadata.exists(key, key == 'plan' && message.metadata[key] == 'yearly')", True),
        ('session.id == "conv_1" && session.turns == 2 && session.messages == 4', True),
        ('session.agent == "small" && session.failures > 1', True),
        ('user.id.glob("beta-*") && !user.id.glob("beta")', True),
        ('glob(session.agent, "s*")', True),
        ('user.tier == "gold" && org.id == "org_a" && org.tier in ["internal"]', True),
        ("turn.number == 3 && turn.background && !turn.regenerate", True),
        ("hour(now) == 22 && now.getHours() == 22", True),
        ('hour(now, "Europe/Berlin") == 0', True),
        ('weekday(now) == "mon" && now.weekday("Europe/Berlin") == "tue"', True),
        ('now > timestamp("2025-01-01T00:00:00Z")', True),
        ("message.text == \"message.nothing\" || user.id == 'b' // mesage.text\n", False),
        ("size(message.attachments) > 1 ? user.tier == r'gold' : false", True),
    ],
)
def test_what_an_expression_says(source, expected):
    assert holds(source) is expected


def test_what_nobody_gave_is_empty_text():
    empty = RoutingInput("")
    for field in ("session.agent", "session.id", "user.id", "user.tier", "org.id", "org.tier"):
        assert holds(f'{field} == ""', empty)
    assert holds('message.language == "" && message.words == 0 && message.length == 0', empty)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 +", "line 1, column 4: mismatched input '<EOF>'"),
        ("user.tier == 'a' ||\n  (", "line 2, column 4: mismatched input '<EOF>'"),
        ("", "is empty; write `else` to take the rest"),
        (" // nothing", "line 1, column 12: mismatched input '<EOF>'"),
        ("message.txt == ''", "names `message.txt`, which is no field; did you mean `text`?"),
        ("message['txt'] == ''", "names `message.txt`, which is no field; did you mean `text`?"),
        ("mesage.text == ''", "names `mesage`, which is no variable; did you mean `message`?"),
        ("user.tier == 'a' || txt", "names `txt`, which is no variable"),
        ("elze", "names `elze`, which is no variable; did you mean `else`?"),
        ("message == 1", "names `message` without one of its fields: text, length, words"),
        ("message.text.word('a')", "calls `word`, which is no function; did you mean `words`?"),
        ("message.text.troupe_in_text(0)", "calls `troupe_in_text`, which is no function"),
        ("message.text", "gives text, not yes or no"),
        ("message.length", "gives a number, not yes or no"),
        ("null", "gives nothing, not yes or no"),
        ("message.length > 'a'", "asks of values what their kinds cannot do"),
        ("message.length.startsWith('a')", "asks of values what their kinds cannot do"),
        ("lower(message.length) == 'a'", "asks of values what their kinds cannot do"),
        ("1 / 0 == 1", "never has an answer: divides by zero"),
        (
            "message.text.matches('(')",
            'calls `matches` with "(", which cannot be compiled: missing',
        ),
        ("message.text.matches('')", 'calls `matches` with "", which is empty'),
        ("message.text.matches('(?=a)')", 'calls `matches` with "(?=a)", which cannot be compiled'),
        ("message.text.words(['a', ' '])", "calls `words` with a list, which has an empty entry"),
        ("message.text.words([])", "calls `words`, whose last value must be text in quotes, or"),
        ("message.text.matches(user.id)", "calls `matches`, whose last value must be text in"),
        ("message.text.words()", "calls `words`, which takes one value after its subject"),
        ("lower(message.text, 'a') == ''", "calls `lower`, which takes nothing after its subject"),
        ("hour(now, 'Europe/Berln') > 3", 'names the time zone "Europe/Berln", which there is not'),
        ("hour(now, '../x') > 3", 'names the time zone "../x", which there is not'),
        ("has(message.text)", "asks whether there is `message.text`, which there always is"),
        ("user{} == 1", "makes a `user`, which rules cannot"),
        ("['a'].exists(w, message.text.contains(w))", "reads `message.text` in a loop; `words`"),
        ("['a'].exists(now, now == 'a')", "uses `now` for an entry, which is a name of its own"),
        ("['a'].exists(user__id, user.id == 'a')", "uses `user__id` for an entry"),
        (
            "message.attachments.exists(a, ['b'].exists(b, a.type == b))",
            "has `exists` within another loop",
        ),
        ("[1].all(a, a > 0) && " * 8 + "[1].all(a, a > 0)", "goes through lists more than 8 times"),
        ("(" * 33 + "user.id == ''" + ")" * 33, "has more than 32 brackets within each other"),
        ("user.id" + " + 'a'" * 9 + " == ''", "has more than 8 times `+`"),
        ("user.id == '" + "a" * 2_000 + "'", "is longer than 2,000 characters"),
    ],
)
def test_what_cannot_be_a_condition_is_refused(source, reason):
    (told,) = refused(source)
    assert told.startswith(reason)


def test_everything_that_is_wrong_is_told_at_once():
    assert refused("mesage.text == '' && user.teir == 'a' && message.text.matches('(')") == (
        "names `mesage`, which is no variable; did you mean `message`?",
        "names `user.teir`, which is no field; did you mean `tier`?",
        'calls `matches` with "(", which cannot be compiled: missing ): (',
    )


@pytest.mark.parametrize(("source", "constant"), [("1 < 2", True), ("false", False), (GIVEN, None)])
def test_what_looks_at_nothing_is_known_before(source, constant):
    text = source if isinstance(source, str) else "user.id == 'a'"
    assert expression(text).constant is constant


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('message.metadata.plan == "a"', 'there is no "plan" in it'),
        ("message.attachments[0].type == 'a'", "index out of bounds"),
        ("10 / (session.failures - 1) > 1", "divides by zero"),
        ("int(message.metadata.get('age')) > 20", "Function 'int' error"),
        ("user.id == 'u' ? user.tier : true", "gives text, not yes or no"),
    ],
)
def test_what_fails_for_a_message_counts_as_no_match(source, reason, caplog):
    rules = compile_rules([RuleSpec("a", "gpt", source), RuleSpec("b", "gpt")], ["gpt"])
    message = RoutingInput("hi", user="u", failures=1, now=5.0)
    with caplog.at_level(logging.WARNING):
        for now in (7.0, 9.0, 8.0):
            rule, _ = rules.first_match(RoutingInput("hi", user="u", failures=1, now=now))
            assert rule.name == "b"
    (fault,) = rules.report()[0]["faults"]
    assert (fault["count"], fault["last"]) == (3, 9.0)
    assert reason in fault["reason"]
    assert [record.name for record in caplog.records] == ["troupe.routing.rules"]
    assert reason in caplog.text
    assert [one["matched"] for one in rules.report()] == [0, 3]
    with pytest.raises(Failed):
        rules.rules[0].match(Facts(message, rules.parts[0].library))
    assert rules.report()[0]["faults"][0]["count"] == 3, "only decisions are counted"


def test_reasons_to_fail_are_bounded_whatever_is_sent(caplog):
    source = "message.metadata[user.id] == 'a'"
    rules = compile_rules([RuleSpec("a", "gpt", source), RuleSpec("b", "gpt")], ["gpt"])
    with caplog.at_level(logging.WARNING):
        for number in range(3 * MAX_REASONS):
            rules.first_match(RoutingInput("", user=f"{number}\n" + "x" * 10_000))
    faults = rules.report()[0]["faults"]
    assert len(faults) == MAX_REASONS + 1
    assert (faults[-1]["reason"], faults[-1]["count"]) == (OTHERS, 2 * MAX_REASONS)
    assert len(caplog.records) == MAX_REASONS + 1
    assert all(fault["reason"].isprintable() and len(fault["reason"]) < 200 for fault in faults)


ANY_TEXT = st.text(st.characters(codec=None), max_size=40)
MANY = compile_rules(
    [
        RuleSpec(f"r{number}", "gpt", source)
        for number, source in enumerate(
            [
                'message.text.words(["a", "ß"]) && message.words > 3',
                "message.language == 'de' && message.metadata.plan == 'a'",
                'message.metadata.exists(key, key == "k" && message.metadata[key] > user.tier)',
                "message.attachments.exists(one, one.size > 3 && one.type == user.id)",
                'user.id.glob("*\U0001f600*") || message.text.matches("^[\\u00e0-\\u00ff]")',
                'weekday(now, "Asia/Tokyo") == "sun" && session.agent == org.tier',
                "timestamp(user.id) < now",
                "10 / session.failures == session.turns / turn.number",
            ]
        )
    ]
    + [RuleSpec("rest", "gpt")],
    ["gpt"],
)


@settings(deadline=None)
@given(
    st.builds(
        RoutingInput,
        text=ANY_TEXT,
        metadata=st.dictionaries(st.sampled_from(("k", "plan", "tier")) | ANY_TEXT, ANY_TEXT),
        user=st.none() | ANY_TEXT,
        now=st.floats(0, 4e9),
        org_tier=ANY_TEXT,
        session_id=ANY_TEXT,
        turn=st.integers(1, 10**6),
        agent=st.none() | ANY_TEXT,
        failures=st.integers(0, 3),
        attachments=st.lists(
            st.dictionaries(
                st.sampled_from(("type", "size")) | ANY_TEXT,
                st.none()
                | ANY_TEXT
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.lists(st.none()),
                max_size=3,
            ),
            max_size=2,
        ).map(tuple),
    )
)
def test_no_message_makes_the_rules_raise(message):
    rule, reason = MANY.first_match(message)
    assert rule.name in {one.name for one in MANY.rules}
    assert reason.isprintable()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Wo ist meine Bestellung, und wann kommt sie an?", "de"),
        ("Where is my order, and when will it be here?", "en"),
        ("Où est ma commande et quand arrive-t-elle ?", "fr"),
        ("パスワードをリセットするには", "ja"),
        ("hi", ""),
        ("12 + 34 = 46 \ud800", ""),
        ("", ""),
        ("\x00 \n", ""),
    ],
)
def test_the_language_of_a_message(text, code):
    assert language(text) == code
    assert holds(f'message.language == "{code}"', RoutingInput(text))


def test_only_the_beginning_of_a_message_tells_its_language():
    german = "Wo ist meine Bestellung, und wann kommt sie an? " * 20
    assert language(german[:LOOKED_AT_CHARS] + "Where is my order? " * 1_000) == "de"


def test_nothing_of_a_message_stays_once_it_is_decided():
    when = 'message.text.matches("b") || "x" in message.metadata'
    rules = compile_rules([RuleSpec("a", "gpt", when), RuleSpec("b", "gpt")], ["gpt"])

    class Metadata(dict[str, str]):
        """One that tells when it goes."""

    metadata = Metadata(x="y")
    gone = weakref.ref(metadata)
    assert rules.first_match(RoutingInput("a", metadata))[0].name == "a"
    del metadata
    assert gone() is None


def test_the_language_is_guessed_once_and_only_where_a_rule_looks_at_it(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("routing.facts.language", lambda text: asked.append(text) or "de")
    specs = [
        RuleSpec("a", "gpt", 'user.id == "a"'),
        RuleSpec("b", "gpt", 'message.language == "fr"'),
        RuleSpec("c", "gpt", 'message.language == "de"'),
        RuleSpec("d", "gpt"),
    ]
    rules = compile_rules(specs, ["gpt"])
    asked.clear()
    assert rules.first_match(RoutingInput("x", user="a"))[0].name == "a"
    assert asked == []
    assert rules.first_match(RoutingInput("y", user="b"))[0].name == "c"
    assert asked == ["y"]
