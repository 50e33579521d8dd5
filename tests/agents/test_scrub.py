from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.scrub import scrub

SECRET = "AbC-0123456789-xyz"


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdef123. You can find yours at the site.",
        "Incorrect API key provided: abcdef123.",
        "Authorization: Bearer abcdef123 was refused",
        "basic abcdef123, no",
        "API key AIzaabcdef123 is not valid",
        "token ya29.abcdef123 has expired",
        "https://host/v1?key=abcdef123&alt=sse",
        "secret: abcdef123",
        "your password is = abcdef123",
        "x abcdef123abcdef123abcdef123abcdef123 y",
        "sk-*****abcdef123",
    ],
)
def test_what_looks_like_a_key_goes(text: str) -> None:
    assert "abcdef123" not in scrub(text)
    assert "[redacted]" in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-5.4-mini` does not exist or you do not have access to it.",
        "This model's maximum context length is 8192 tokens. Please reduce the messages.",
        "models/gemini-3.8-flash is not found for API version v1.",
        "Unsupported value: 'temperature' does not support 0.5 with this model.",
    ],
)
def test_what_a_person_needs_stays(text: str) -> None:
    assert scrub(text) == text


@given(st.text(), st.text(), st.integers(5, 300))
def test_the_secret_never_comes_out(before: str, after: str, length: int) -> None:
    out = scrub(before + SECRET + after, (SECRET,), length)
    assert SECRET not in out
    assert len(out) <= length
    assert out.isprintable()


def test_half_a_secret_at_the_cut() -> None:
    out = scrub("x" * 10 + " " + SECRET, (SECRET,), 20)
    assert SECRET[:6] not in out


def test_blanks_do_not_carry_a_secret_past_the_eye() -> None:
    out = scrub(" " * 70_000 + SECRET + " " * 70_000, (SECRET,))
    assert SECRET not in out


def test_a_secret_far_behind() -> None:
    assert scrub("a. " * 5000 + SECRET, (SECRET,)).startswith("a. a.")
