"""Reading requests: whatever JSON comes, it is an ask or a refusal, never an accident."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import gemini_wire, openai_chat, openai_responses
from simulator.asks import Ask, Refusal, Turn
from simulator.wire import Wire
from tests.simulator.clock import PATIENT

FIELDS = """
    model messages input contents role content parts text type stream system_instruction
    instructions generationConfig maxOutputTokens max_tokens stream_options include_usage
"""
NAMES = st.sampled_from(FIELDS.split())
VALUES = st.sampled_from(["user", "assistant", "model", "message", "m", "input_text", ""])
trees: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 1) | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=14,
)
PATH = {"model": "m", "verb": "streamGenerateContent"}


@pytest.mark.parametrize("wire", [openai_chat.WIRE, openai_responses.WIRE, gemini_wire.WIRE])
@PATIENT
@given(body=st.dictionaries(NAMES, trees, max_size=6))
def test_any_object_is_an_ask_or_a_refusal(wire: Wire, body: dict[str, Any]) -> None:
    try:
        ask = wire.read(orjson.dumps(body), PATH)
    except Refusal as refusal:
        assert refusal.status == 400
        assert wire.error(refusal.status, refusal)
    else:
        assert isinstance(ask, Ask)
        assert ask.input_tokens() >= 0
        assert all(isinstance(turn.text, str) for turn in ask.turns)


def test_three_protocols_one_ask() -> None:
    expected = [Turn("system", "Be brief."), Turn("user", "a"), Turn("assistant", "b")]
    chat = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "b"},
        ],
    }
    responses = {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        ],
    }
    gemini = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}],
    }
    assert openai_chat.WIRE.read(orjson.dumps(chat), {}).turns == expected
    assert openai_responses.WIRE.read(orjson.dumps(responses), {}).turns == expected
    assert gemini_wire.WIRE.read(orjson.dumps(gemini), PATH).turns == expected


def test_what_is_not_text_is_left_out_and_what_is_no_message_counts_for_nothing() -> None:
    chat = {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "x"}],
            },
            {"role": "assistant", "content": None, "tool_calls": []},
        ],
    }
    turns = openai_chat.WIRE.read(orjson.dumps(chat), {}).turns
    assert turns == [Turn("user", "x"), Turn("assistant", "")]
    responses = {
        "model": "m",
        "input": [{"type": "reasoning", "summary": []}, {"role": "user", "content": "x"}],
    }
    turns = openai_responses.WIRE.read(orjson.dumps(responses), {}).turns
    assert turns == [Turn("system", ""), Turn("user", "x")]
