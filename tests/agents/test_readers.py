"""The readers alone: whatever the pieces, whatever the faults."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any, get_args

import orjson
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion_chunk import Choice
from openai.types.responses.response import IncompleteDetails

from agents import wire_gemini, wire_openai
from agents.events import EventReader
from agents.translate import Translator
from agents.wire_gemini import GeminiReader
from agents.wire_openai import ChatReader, ResponsesReader
from contracts.agents import End
from contracts.errors import (
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from tests.agents.samples import ENDED, SAID, STREAMS

READERS: dict[str, type[EventReader]] = {
    "openai": ChatReader,
    "openai-responses": ResponsesReader,
    "gemini": GeminiReader,
}


SOURCES = inspect.getsource(wire_openai) + inspect.getsource(wire_gemini)


def make(kind: str) -> EventReader:
    return READERS[kind](Translator("a", kind), 1 << 20)


def read(kind: str, *pieces: bytes | str) -> tuple[str, End | ProviderError | None]:
    """What a reader makes of these pieces and the end of the body."""
    reader = make(kind)
    text = ""
    for piece in pieces:
        text += reader.feed(piece.encode() if isinstance(piece, str) else piece)
        if reader.outcome is not None:
            return text, reader.outcome
    text += reader.close()
    return text, reader.outcome


def event(value: Any) -> str:
    return f"data: {orjson.dumps(value).decode()}\n\n"


@pytest.mark.parametrize("kind", STREAMS)
def test_the_sample(kind: str) -> None:
    assert read(kind, STREAMS[kind]) == (SAID, ENDED)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(min_value=0), max_size=40))
def test_the_sample_in_any_pieces(kind: str, places: list[int]) -> None:
    raw = STREAMS[kind]
    marks = sorted({0, len(raw), *(place % len(raw) for place in places)})
    pieces = [raw[a:b] for a, b in itertools.pairwise(marks)]
    assert read(kind, *pieces) == (SAID, ENDED)


@pytest.mark.parametrize("kind", STREAMS)
def test_the_sample_byte_by_byte(kind: str) -> None:
    raw = STREAMS[kind]
    assert read(kind, *(raw[n : n + 1] for n in range(len(raw)))) == (SAID, ENDED)


@given(st.sampled_from(sorted(STREAMS)), st.integers(min_value=0))
def test_cut_off_anywhere(kind: str, place: int) -> None:
    """A prefix of the text, and an end only if the model had said why it stopped."""
    raw = STREAMS[kind]
    text, outcome = read(kind, raw[: place % len(raw)])
    assert SAID.startswith(text)
    if outcome is not None:
        assert isinstance(outcome, End)
        assert (text, outcome.reason) == (SAID, "length")


@given(st.sampled_from(sorted(STREAMS)), st.binary(max_size=60), st.integers(min_value=0))
def test_garbage_is_an_error_of_the_tree(kind: str, noise: bytes, place: int) -> None:
    raw = STREAMS[kind]
    at = place % len(raw)
    _, outcome = read(kind, raw[:at] + noise + raw[at:])
    assert outcome is None or isinstance(outcome, End | ProviderError)


FIELDS = sorted(set(re.findall(r'\.get\(\s*"(\w+)"', SOURCES)))
"""Every field that the readers look at."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(STREAMS)), JSON)
def test_json_of_any_shape_is_text_an_end_or_an_error(kind: str, value: Any) -> None:
    text, outcome = read(kind, event(value), event({"type": value, "response": value}))
    assert isinstance(text, str)
    assert outcome is None or isinstance(outcome, End | ProviderError)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("openai", []),
        ("openai", "text"),
        ("openai", {"choices": {}}),
        ("openai", {"choices": {"a": 1}}),
        ("openai", {"choices": [1]}),
        ("openai", {"choices": [{"delta": 1}]}),
        ("openai", {"choices": [{"delta": {"content": 1}}]}),
        ("openai", {"choices": [{"delta": {"content": [{"text": "a"}]}}]}),
        ("openai", {"choices": [], "usage": 1}),
        ("openai-responses", []),
        ("openai-responses", {"type": "response.output_text.delta", "delta": 1}),
        ("openai-responses", {"type": "response.completed"}),
        ("openai-responses", {"type": "response.completed", "response": []}),
        ("openai-responses", {"type": "response.incomplete", "response": {}}),
        ("gemini", []),
        ("gemini", {"candidates": {"a": 1}}),
        ("gemini", {"candidates": [1]}),
        ("gemini", {"candidates": [{"content": 1}]}),
        ("gemini", {"candidates": [{"content": {"parts": {"a": 1}}}]}),
        ("gemini", {"candidates": [{"content": {"parts": [1]}}]}),
        ("gemini", {"candidates": [{"content": {"parts": [{"text": 1}]}}]}),
        ("gemini", {"promptFeedback": 1}),
    ],
)
def test_another_shape_is_a_protocol_error(kind: str, shape: Any) -> None:
    if shape == {"choices": {}}:
        assert read(kind, event(shape)) == ("", None)
    else:
        assert type(read(kind, event(shape))[1]) is ProviderProtocol


@pytest.mark.parametrize("kind", STREAMS)
def test_what_is_no_json_or_no_utf8(kind: str) -> None:
    for payload in (b"{", b"nonsense", b'{"a":"\xff"}', b"{}}"):
        assert type(read(kind, b"data: " + payload + b"\n\n")[1]) is ProviderProtocol


@pytest.mark.parametrize("kind", STREAMS)
def test_too_large_an_event(kind: str) -> None:
    reader = READERS[kind](Translator("a", kind), 100)
    reader.feed(b"data: " + b"x" * 101)
    assert type(reader.outcome) is ProviderProtocol
    assert "more than 100 bytes" in reader.outcome.message


@pytest.mark.parametrize("kind", STREAMS)
def test_empty_events_say_nothing(kind: str) -> None:
    assert read(kind, "data:\n\ndata: \n\n: hello\n\n", STREAMS[kind]) == (SAID, ENDED)


@pytest.mark.parametrize("kind", STREAMS)
def test_text_before_a_fault_in_the_same_read_is_kept(kind: str) -> None:
    upto = STREAMS[kind].index("日本".encode())
    head = STREAMS[kind][: STREAMS[kind].rindex(b"data: ", 0, upto)]
    text, outcome = read(kind, head + b"data: {broken\n\n")
    assert text == "Grüße, "
    assert type(outcome) is ProviderProtocol


def chat(reason: Any = None, **delta: Any) -> str:
    return event({"choices": [{"delta": delta, "finish_reason": reason}]})


def test_chat_done_without_a_reason_is_no_end() -> None:
    text, outcome = read("openai", chat(content="a"), "data: [DONE]\n\n")
    assert text == "a"
    assert type(outcome) is ProviderInterrupted


def test_chat_a_reason_without_done_is_an_end() -> None:
    assert read("openai", chat(content="a"), chat("stop")) == ("a", End("stop", None))


def test_chat_a_refusal_is_text() -> None:
    stream = chat(refusal="I cannot ", content=None), chat(refusal="do that."), chat("stop")
    assert read("openai", *stream) == ("I cannot do that.", End("stop", None))


def test_chat_nothing_after_done_is_read() -> None:
    stream = chat("stop", content="a") + "data: [DONE]\n\n" + chat(content="b")
    assert read("openai", stream) == ("a", End("stop", None))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"message": "x", "code": 429}}, ProviderRateLimited),
        ({"error": {"message": "x"}, "choices": []}, ProviderUnavailable),
        (
            {"object": "error", "message": "x", "type": "BadRequestError", "code": 400},
            ProviderRejected,
        ),
    ],
)
def test_chat_errors_inside(value: Any, kind: type[ProviderError]) -> None:
    text, outcome = read("openai", chat(content="a"), event(value))
    assert (text, type(outcome)) == ("a", kind)


def test_responses_refusal_is_text() -> None:
    delta = {"type": "response.refusal.delta", "delta": "No."}
    done = {"type": "response.completed", "response": {"usage": None}}
    assert read("openai-responses", event(delta), event(done)) == ("No.", End("stop", None))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, ProviderRateLimited),
        ({"type": "error", "code": None, "message": "x"}, ProviderUnavailable),
        ({"type": "error", "error": {"type": "invalid_request_error"}}, ProviderRejected),
        ({"error": {"code": "server_error"}}, ProviderUnavailable),
        (
            {"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}},
            ProviderRejected,
        ),
        ({"type": "response.failed", "response": {"error": None}}, ProviderUnavailable),
    ],
)
def test_responses_errors_inside(value: Any, kind: type[ProviderError]) -> None:
    assert type(read("openai-responses", event(value))[1]) is kind


def gemini(reason: str | None = None, *texts: str) -> str:
    content = {"parts": [{"text": text} for text in texts], "role": "model"}
    return event({"candidates": [{"content": content, "finishReason": reason}]})


def test_gemini_a_blocked_prompt() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}
    assert read("gemini", event(blocked)) == ("", End("content_filter", None))


def test_gemini_a_candidate_without_content() -> None:
    filtered = event({"candidates": [{"finishReason": "SAFETY", "index": 0}]})
    assert read("gemini", gemini(None, "a"), filtered) == ("a", End("content_filter", None))


def test_gemini_text_after_a_reason_still_counts() -> None:
    """Older servers put STOP on every event."""
    assert read("gemini", gemini("STOP", "a"), gemini("STOP", "b")) == ("ab", End("stop", None))


def test_gemini_a_last_event_without_its_blank_line() -> None:
    last = gemini("STOP", "b").rstrip("\n")
    assert read("gemini", gemini(None, "a"), last) == ("ab", End("stop", None))


def test_every_reason_of_gemini_is_decided_upon() -> None:
    assert set(wire_gemini.FINISH) | wire_gemini.FAILED == {r.value for r in types.FinishReason}
    assert not set(wire_gemini.FINISH) & wire_gemini.FAILED


@pytest.mark.parametrize("reason", [*sorted(wire_gemini.FAILED), "SOMETHING_NEW"])
def test_gemini_a_reason_that_is_no_end(reason: str) -> None:
    text, outcome = read("gemini", gemini(reason, "a"))
    assert text == "a"
    assert type(outcome) is ProviderProtocol
    assert reason in outcome.message


@pytest.mark.parametrize(("reason", "end"), sorted(wire_gemini.FINISH.items()))
def test_gemini_reasons(reason: str, end: str) -> None:
    assert read("gemini", gemini(reason, "a")) == ("a", End(end, None))  # type: ignore[arg-type]


def literals(model: Any, field: str) -> set[str]:
    literal, _ = get_args(model.model_fields[field].annotation)
    return set(get_args(literal))


def test_every_reason_of_openai_is_decided_upon() -> None:
    tools = {"tool_calls", "function_call"}
    assert literals(Choice, "finish_reason") - tools <= set(wire_openai.FINISH)
    assert literals(IncompleteDetails, "reason") - {"steered"} <= set(wire_openai.INCOMPLETE)


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "abort", "error", 7, True])
def test_chat_a_reason_that_is_no_end(reason: Any) -> None:
    text, outcome = read("openai", chat(reason, content="a"), "data: [DONE]\n\n")
    assert text == "a"
    assert type(outcome) is ProviderProtocol


@pytest.mark.parametrize(("reason", "end"), sorted(wire_openai.FINISH.items()))
def test_chat_reasons(reason: str, end: str) -> None:
    assert read("openai", chat(reason))[1] == End(end, None)  # type: ignore[arg-type]
