r"""Gemini's `generateContent` and `streamGenerateContent?alt=sse`.

The real service takes both spellings of every field, `systemInstruction` and
`system_instruction`, and the SDK uses both; so does `_field`. Its stream consists of `data: `
lines alone, ended by `\r\n\r\n`: the SDK takes anything else for an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from simulator.asks import (
    Ask,
    Refusal,
    Speaker,
    Turn,
    body_of,
    limit_of,
    speaker_of,
    text_of,
)
from simulator.wire import Outcome, Wire, dumps, quoted, serial

STATUSES = {
    400: ("INVALID_ARGUMENT", "The simulator was told to refuse this."),
    401: ("UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
    404: ("NOT_FOUND", "Not found."),
    405: ("INVALID_ARGUMENT", "Method not allowed."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
}
SPEAKERS: Mapping[str, Speaker] = {
    "user": "user",
    "model": "assistant",
    "function": "system",
}
FINISHES = {"stop": b"STOP", "length": b"MAX_TOKENS", "content_filter": b"SAFETY"}


def error(status: int, refusal: Refusal) -> bytes:
    """Google's error body."""
    word, _ = STATUSES.get(status, ("UNKNOWN", ""))
    return dumps({"error": {"code": status, "message": refusal.message, "status": word}})


def model_object(name: str) -> dict[str, object]:
    """A model as `GET /v1beta/models` shows it."""
    return {
        "name": f"models/{name}",
        "version": "1",
        "displayName": name,
        "inputTokenLimit": 1_000_000,
        "outputTokenLimit": 100_000,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
    }


def words(status: int) -> str:
    """What Google says with a status, roughly."""
    return STATUSES[status][1]


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """The ask in a request's body; the path names the model and whether it streams."""
    body = body_of(raw)
    ask = Ask(model=path["model"], stream=path["verb"] == "streamGenerateContent")
    system = _field(body, "systemInstruction", "system_instruction")
    if system is not None:
        ask.turns.append(Turn("system", text_in(system, "system_instruction")))
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified")
    for n, content in enumerate(cast("list[object]", contents)):
        ask.turns.append(_turn(n, content))
    config = _field(body, "generationConfig", "generation_config")
    if isinstance(config, dict):
        settings = cast("dict[str, Any]", config)
        ask.max_tokens = limit_of(settings, "maxOutputTokens", "max_output_tokens")
    return ask


def _field(body: Mapping[str, Any], camel: str, snake: str) -> object:
    return body[camel] if camel in body else body.get(snake)


def _turn(n: int, content: object) -> Turn:
    where = f"contents[{n}]"
    if not isinstance(content, dict):
        raise Refusal(400, f"Invalid value at '{where}': not an object")
    role = cast("dict[str, Any]", content).get("role", "user")
    speaker = speaker_of(role, SPEAKERS)
    if speaker is None:
        raise Refusal(400, "Please use a valid role: user, model.")
    return Turn(speaker, text_in(cast("dict[str, Any]", content), where))


def text_in(content: object, where: str) -> str:
    """The text of a content: an object with parts, or what stands for one."""
    if not isinstance(content, dict):
        return text_of(content, where)
    parts = cast("dict[str, Any]", content).get("parts")
    if isinstance(parts, dict):
        parts = [cast("dict[str, Any]", parts)]
    return text_of(parts, f"{where}.parts")


class GeminiFrames:
    """A reply as `GenerateContentResponse`s; the last one carries the finish reason."""

    __slots__ = ("_head", "_model", "_prompt", "_sent", "_tail")

    def __init__(self, ask: Ask) -> None:
        self._model = quoted(ask.model)
        self._prompt = ask.input_tokens()
        self._sent = 0
        self._head = b'data: {"candidates":[{"content":{"parts":[{"text":"'
        self._tail = b',"modelVersion":%b,"responseId":"sim%08x"}' % (
            self._model,
            serial(),
        )

    def _usage(self, tokens: int) -> bytes:
        return (
            b'"usageMetadata":{"promptTokenCount":%d,"candidatesTokenCount":%d,'
            b'"totalTokenCount":%d}' % (self._prompt, tokens, self._prompt + tokens)
        )

    def early(self) -> bytes:
        return b""

    def opening(self) -> bytes:
        return b""

    def token(self, text: bytes) -> bytes:
        self._sent += 1
        return b'%b%b"}],"role":"model"},"index":0}],%b%b\r\n\r\n' % (
            self._head,
            text,
            self._usage(self._sent),
            self._tail,
        )

    def broken(self, text: bytes) -> bytes:
        return b"%b%b\r\n\r\n" % (self._head, text)

    def error(self, fault: str) -> bytes:
        return b"data: %b\r\n\r\n" % self.failure(fault)

    def failure(self, fault: str) -> bytes:
        return error(503, Refusal(503, words(503)))

    def closing(self, outcome: Outcome) -> bytes:
        return b"%b%b\r\n\r\n" % (b"data: ", self._last(b"", outcome))

    def whole(self, outcome: Outcome) -> bytes:
        return self._last(outcome.text, outcome)

    def _last(self, text: bytes, outcome: Outcome) -> bytes:
        return (
            b'{"candidates":[{"content":{"parts":[{"text":"%b"}],"role":"model"},'
            b'"finishReason":"%b","index":0}],%b%b'
            % (text, FINISHES[outcome.finish], self._usage(outcome.tokens), self._tail)
        )


WIRE = Wire(read, GeminiFrames, error, words)
