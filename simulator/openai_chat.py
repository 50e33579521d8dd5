"""OpenAI's `POST /v1/chat/completions`, streamed and whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from simulator import openai_wire
from simulator.asks import (
    Ask,
    Refusal,
    Speaker,
    Turn,
    body_of,
    limit_of,
    model_of,
    speaker_of,
    text_of,
)
from simulator.wire import Outcome, Wire, dumps, plain, quoted, serial

SPEAKERS: Mapping[str, Speaker] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "system",
    "function": "system",
}


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """The ask in a request's body."""
    body = body_of(raw)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "'messages' must be a non-empty array.", param="messages")
    options = body.get("stream_options")
    return Ask(
        model=model_of(body),
        turns=[_turn(n, item) for n, item in enumerate(cast("list[object]", messages))],
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict)
        and cast("dict[str, Any]", options).get("include_usage") is True,
        max_tokens=limit_of(body, "max_completion_tokens", "max_tokens"),
    )


def _turn(n: int, item: object) -> Turn:
    if not isinstance(item, dict):
        raise Refusal(400, f"'messages[{n}]' must be an object.", param=f"messages[{n}]")
    message = cast("dict[str, Any]", item)
    speaker = speaker_of(message.get("role"), SPEAKERS)
    if speaker is None:
        raise Refusal(400, f"'messages[{n}].role' is not a role.", param=f"messages[{n}].role")
    return Turn(speaker, text_of(message.get("content"), f"messages[{n}].content"))


def _usage(ask: Ask, tokens: int) -> dict[str, Any]:
    prompt = ask.input_tokens()
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


class ChatFrames:
    """A reply as `chat.completion.chunk`s, ended by `data: [DONE]`."""

    __slots__ = (
        "_ask",
        "_created",
        "_head",
        "_id",
        "_null",
        "_token_head",
        "_token_tail",
    )

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._id = b"chatcmpl-sim%08x" % serial()
        self._created = int(time.time())
        self._head = (
            b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,"model":%b'
            % (
                self._id,
                self._created,
                quoted(ask.model),
            )
        )
        self._null = b',"usage":null' if ask.include_usage else b""
        self._token_head = b'%b,"choices":[{"index":0,"delta":{"content":"' % self._head
        self._token_tail = b'"},"finish_reason":null}]%b}\n\n' % self._null

    def early(self) -> bytes:
        return b""

    def opening(self) -> bytes:
        return (
            b'%b,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
            b'"finish_reason":null}]%b}\n\n' % (self._head, self._null)
        )

    def token(self, text: bytes) -> bytes:
        return b"%b%b%b" % (self._token_head, text, self._token_tail)

    def broken(self, text: bytes) -> bytes:
        return b"%b%b\n\n" % (self._token_head, text)

    def error(self, fault: str) -> bytes:
        return b"data: %b\n\n" % openai_wire.overloaded()

    def failure(self, fault: str) -> bytes:
        return openai_wire.overloaded()

    def closing(self, outcome: Outcome) -> bytes:
        end = b'%b,"choices":[{"index":0,"delta":{},"finish_reason":"%b"}]%b}\n\n' % (
            self._head,
            outcome.finish.encode(),
            self._null,
        )
        if self._ask.include_usage:
            usage = dumps(_usage(self._ask, outcome.tokens))
            end += b'%b,"choices":[],"usage":%b}\n\n' % (self._head, usage)
        return end + b"data: [DONE]\n\n"

    def whole(self, outcome: Outcome) -> bytes:
        message = {"role": "assistant", "content": plain(outcome.text), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": outcome.finish}
        return dumps(
            {
                "id": self._id.decode(),
                "object": "chat.completion",
                "created": self._created,
                "model": self._ask.model,
                "choices": [choice],
                "usage": _usage(self._ask, outcome.tokens),
            }
        )


WIRE = Wire(read, ChatFrames, openai_wire.error, openai_wire.words, openai_wire.limits)
