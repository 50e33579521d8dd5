"""Patterns: whole words in any script, globs, expressions that cannot run away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import patterns
from routing.patterns import (
    MAX_KEYWORDS,
    MAX_PATTERN_CHARS,
    BadPattern,
    encodable,
    fold,
    glob,
    keywords,
    regex,
)

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)  # lone surrogates included


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("code", "my CODE.", True),
        ("code", "codec", False),
        ("code", "barcode", False),
        ("code", "co_de", False),
        ("code", "my_code", False),
        ("code", "code2", False),
        ("stack trace", "a stack \n  trace!", True),
        ("stack trace", "stack\u00a0trace", True),
        ("stack trace", "stacktrace", False),
        ("c++", "write C++ now", True),
        ("c++", "c+", False),
        (".net", "in .NET, please", True),
        ("über", "ganz ÜBER allem", True),
        ("über", "darüber", False),
        ("café", "un cafe\u0301 noir", True),
        ("cafe", "un cafe\u0301 noir", False),
        ("код", "Мой КОД тут", True),
        ("код", "кодекс", False),
        ("a", "a", True),
        ("q", "q\u0301", False),
        ("क", "कि", False),
        ("a.c", "abc", False),
    ],
)
def test_a_keyword_is_found_whole_and_in_any_case(word, text, found):
    assert (keywords([word]).search(fold(text)) is not None) is found


@given(st.text("abc .é_", max_size=8), st.lists(st.text("abc .é_", max_size=3), max_size=3))
@settings(deadline=None)
def test_what_has_a_word_has_what_is_looked_for_first(text, words):
    if not words or not all(word.split() for word in words):
        return
    pattern = keywords(words)
    whole = patterns._whole(pattern._phrases).search(fold(text))
    assert (pattern.search(fold(text)) is None) == (whole is None)


def test_a_match_says_which_keyword_it_was():
    match = keywords(["sql", "stack trace"]).search("the Stack  Trace says")
    assert match is not None
    assert match.group(1) == "Stack  Trace"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("u1", "u1", True),
        ("u1", "u12", False),
        ("u1", "U1", False),
        ("beta-*", "beta-", True),
        ("beta-*", "beta-7\n", True),
        ("beta-*", "a beta-7", False),
        ("u?", "u1", True),
        ("u?", "u", False),
        ("a.b", "axb", False),
        ("[ab]", "a", False),
        ("*@example.com", "jo@example.com", True),
        ("*@example.com", "jo@example.com.evil", False),
    ],
)
def test_a_glob_matches_the_whole_id(pattern, text, found):
    assert (glob(pattern).search(text) is not None) is found


@pytest.mark.parametrize("pattern", ["(", "[a", "(?=x)", r"(a)\1", "a{1001}", "*", ""])
def test_an_expression_that_cannot_be_compiled_says_why(pattern, capfd):
    with pytest.raises(BadPattern) as caught:
        regex(pattern)
    assert str(caught.value)
    assert capfd.readouterr().err == "", "the engine must not log"


@pytest.mark.parametrize(
    ("compiler", "argument"),
    [
        (regex, "x" * (MAX_PATTERN_CHARS + 1)),
        (glob, "x" * (MAX_PATTERN_CHARS + 1)),
        (keywords, ["x" * (MAX_PATTERN_CHARS + 1)]),
        (keywords, ["x"] * (MAX_KEYWORDS + 1)),
        (keywords, [" "]),
    ],
)
def test_patterns_are_bounded(compiler, argument):
    with pytest.raises(BadPattern):
        compiler(argument)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}$", r"^(\w+\s?)*$"])
@pytest.mark.timeout(20)
def test_no_expression_runs_away(pattern):
    assert regex(pattern).search("a" * 50_000 + "!") is None


@given(ANY_TEXT)
def test_any_text_can_be_searched(text):
    clean = encodable(text)
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert regex("(?s).*").search(clean) is not None
    keywords(["code"]).search(fold(clean))


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_word_is_found_in_itself(word):
    if not word.split():
        with pytest.raises(BadPattern):
            keywords([word])
    else:
        assert keywords([word]).search(fold(word.strip())) is not None


@given(st.text(st.characters(codec="utf-8", exclude_characters="*?"), max_size=20))
def test_a_glob_without_jokers_is_the_id_itself(text):
    assert glob(text).search(text) is not None
    assert glob(text).search(text + "x") is None
