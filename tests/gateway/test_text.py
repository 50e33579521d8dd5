from __future__ import annotations

import re

import pytest

from contracts.errors import InvalidRequest
from gateway.text import CLEAN_PATTERN, check_text, is_clean, printable

FORBIDDEN = [chr(n) for n in range(32) if chr(n) not in "\t\n\r"] + ["\x7f", "\ud800", "\udfff"]


@pytest.mark.parametrize("bad", FORBIDDEN)
def test_control_characters_are_refused(bad: str) -> None:
    assert not is_clean(f"a{bad}b")
    with pytest.raises(InvalidRequest) as caught:
        check_text(f"a{bad}b", "input", 10)
    assert (caught.value.cause_code, caught.value.param) == ("invalid_characters", "input")


@pytest.mark.parametrize("text", ["", "a\tb\r\nc", "é漢字🙂", "\x80\x9f\u200f", "\ufffd"])
def test_all_other_text_is_welcome(text: str) -> None:
    check_text(text, "input", 10)
    assert is_clean(text)
    assert re.search(CLEAN_PATTERN, text)


def test_the_documented_pattern_is_the_rule() -> None:
    for n in range(0x100):
        assert bool(re.search(CLEAN_PATTERN, chr(n))) == is_clean(chr(n)), hex(n)


def test_length_counts_characters() -> None:
    check_text("🙂" * 10, "input", 10)
    with pytest.raises(InvalidRequest) as caught:
        check_text("x" * 11, "input[0].content", 10)
    assert caught.value.cause_code == "message_too_long"
    assert caught.value.param == "input[0].content"
    assert caught.value.details == {"limit": 10}


def test_what_is_quoted_can_always_be_sent() -> None:
    assert printable("a\ud800b").encode() == b"a\\ud800b"
    assert len(printable("x" * 1000)) == 200
    assert printable("short") == "short"
