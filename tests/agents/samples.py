"""Streams as providers write them, with all that a reader must look past.

Each says `SAID`, then stops; between the words are thoughts, roles, empty deltas, counters, and
characters of two, three and four bytes.
"""

from __future__ import annotations

from typing import Any

import orjson

from contracts.agents import End
from contracts.messages import Usage

WORDS = ["Grüße, ", "", "日本 ", "🦊🇫🇷", ' "quoted" \\ \u2028\n', "Ende."]
SAID = "".join(WORDS)


def _data(event: Any, end: str = "\n\n") -> str:
    return f"data: {orjson.dumps(event).decode()}{end}"


def _chat() -> str:
    def event(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": None,
        }

    parts = [": OPENROUTER PROCESSING\n\n", _data(event({"role": "assistant", "content": ""}))]
    parts.append(_data(event({"reasoning_content": "let me think", "content": None})))
    parts += [_data(event({"content": word})) for word in WORDS]
    parts.append(_data(event({}, "length")))
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    parts.append(_data({**event({}), "choices": [], "usage": usage}))
    return "".join(parts) + "data: [DONE]\n\n"


def _responses() -> str:
    number = 0

    def event(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        value = {"type": kind, "sequence_number": number, **fields}
        return f"event: {kind}\n{_data(value)}"

    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    parts = [
        event("response.created", response=response),
        event("response.in_progress", response=response),
        event("response.reasoning_summary_text.delta", **place, delta="hmm", summary_index=0),
        event("response.output_item.added", output_index=0, item={**item, "content": []}),
        event("response.content_part.added", **place, part=part),
    ]
    parts += [event("response.output_text.delta", **place, delta=word) for word in WORDS]
    done = {**item, "status": "incomplete", "content": [{**part, "text": SAID}]}
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    ended = {
        **response,
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [done],
        "usage": usage,
    }
    parts += [
        event("response.output_text.done", **place, text=SAID),
        event("response.content_part.done", **place, part={**part, "text": SAID}),
        event("response.output_item.done", output_index=0, item=done),
        event("response.incomplete", response=ended),
    ]
    return "".join(parts)


def _gemini() -> str:
    def event(parts: list[dict[str, Any]], **fields: Any) -> str:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **fields}
        usage = {
            "promptTokenCount": 11,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 2,
            "cachedContentTokenCount": 3,
            "totalTokenCount": 18,
        }
        return _data(
            {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}, "\r\n\r\n"
        )

    parts = [event([{"text": "let me think", "thought": True}])]
    parts.append(event([{"text": "and again", "thought": True}, {"text": WORDS[0]}]))
    parts += [event([{"text": word}]) for word in WORDS[1:-1]]
    parts.append(event([{"text": WORDS[-1]}], finishReason="MAX_TOKENS"))
    return "".join(parts)


STREAMS: dict[str, bytes] = {
    "openai": _chat().encode(),
    "openai-responses": _responses().encode(),
    "gemini": _gemini().encode(),
}
"""Test id, as in `SIMULATED`, → the body of a stream that says `SAID` and ends as `ENDED`."""

ENDED = End("length", Usage(11, 7, 3))
