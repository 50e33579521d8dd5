"""OpenAI's two APIs on the wire: what is posted, and how its streams are read. No I/O.

Chat completions is the lean one and what compatible servers (Ollama, vLLM) speak; responses is
OpenAI's own, newer one. Both readers take each event's JSON as it comes and look at nothing but
what the port needs: text, why it stopped, usage.

What ends a stream is that the model said why it stopped: `finish_reason` in chat, the terminal
event in responses. Chat's `[DONE]` alone does not count, as gateways are known to add it to
whatever they got, and a `finish_reason` without it does, as the answer is whole then.

A reason that is in no table is an error, not a `stop`: see `EventReader.stopped`.
"""

from __future__ import annotations

from typing import Any

import orjson

from agents.events import EventReader, count_of, list_of, object_of, text_of
from agents.pool import Ask
from agents.sdk import Template
from agents.translate import Translator
from contracts.agents import End, EndReason, ModelRequest
from contracts.errors import ProviderInterrupted
from contracts.messages import Usage

FINISH: dict[str, EndReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}
"""Chat's `finish_reason`s: OpenAI's own and what compatible servers say instead.

Left out on purpose: `tool_calls` and `function_call`, since no tools are offered.
"""

INCOMPLETE: dict[str, EndReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}
"""`incomplete_details.reason` of the Responses API.

Left out on purpose: `steered`, since nothing here sends what would steer it.
"""


class ChatWire:
    """`POST /chat/completions`.

    Args:
        template: Address and headers.
        errors: Speaks for the agent.
        max_event_bytes: The largest event.
        own: Whether this is OpenAI itself. It wants `max_completion_tokens`; other servers may
            know only the older `max_tokens`, and an unknown field would silently lift the limit.
    """

    media_type = "text/event-stream"

    def __init__(
        self, template: Template, errors: Translator, max_event_bytes: int, *, own: bool
    ) -> None:
        self._url = template.url
        self._errors = errors
        self._max_event_bytes = max_event_bytes
        self._limit = "max_completion_tokens" if own else "max_tokens"

    def ask(self, request: ModelRequest) -> Ask:
        messages: list[dict[str, str]] = []
        if request.instructions:
            messages.append({"role": "system", "content": request.instructions})
        for said in request.messages:
            # `developer` is OpenAI's newer word for the same thing, which others may not know.
            role = "system" if said.role == "developer" else said.role
            messages.append({"role": role, "content": said.text})
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **_sampling(request),
        }
        if request.max_output_tokens is not None:
            body[self._limit] = request.max_output_tokens
        return Ask(self._url, orjson.dumps(body))

    def reader(self) -> ChatReader:
        return ChatReader(self._errors, self._max_event_bytes)


class ResponsesWire:
    """`POST /responses`. Nothing is stored at OpenAI's: the conversation's truth is here."""

    media_type = "text/event-stream"

    def __init__(self, template: Template, errors: Translator, max_event_bytes: int) -> None:
        self._url = template.url
        self._errors = errors
        self._max_event_bytes = max_event_bytes

    def ask(self, request: ModelRequest) -> Ask:
        body: dict[str, Any] = {
            "model": request.model,
            "input": [{"role": said.role, "content": said.text} for said in request.messages],
            "stream": True,
            "store": False,
            **_sampling(request),
        }
        if request.instructions:
            body["instructions"] = request.instructions
        if request.max_output_tokens is not None:
            body["max_output_tokens"] = request.max_output_tokens
        return Ask(self._url, orjson.dumps(body))

    def reader(self) -> ResponsesReader:
        return ResponsesReader(self._errors, self._max_event_bytes)


def _sampling(request: ModelRequest) -> dict[str, float]:
    settings: dict[str, float] = {}
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.top_p is not None:
        settings["top_p"] = request.top_p
    return settings


class ChatReader(EventReader):
    """One chat completion: text, `finish_reason`, a last event with usage, `[DONE]`."""

    __slots__ = ()

    def take(self, payload: bytes, parts: list[str]) -> None:
        if payload == b"[DONE]":
            self.outcome = (
                self._errors.error(ProviderInterrupted, "it ended without saying why")
                if self._reason is None
                else End(self._reason, self._usage)
            )
            return
        event = object_of(orjson.loads(payload), "an event")
        if choices := event.get("choices"):
            choice = object_of(list_of(choices, "choices")[0], "a choice")
            if delta := choice.get("delta"):
                said = object_of(delta, "delta")
                # A refusal is what the model says in place of an answer.
                if text := said.get("content") or said.get("refusal"):
                    parts.append(text_of(text, "content"))
            if reason := choice.get("finish_reason"):
                self.stopped(reason, FINISH)
        elif event.get("error") or event.get("object") == "error":
            self.outcome = self._errors.in_band(event)
            return
        if usage := event.get("usage"):
            self._usage = _usage(usage, "prompt_tokens", "completion_tokens")


class ResponsesReader(EventReader):
    """One response: deltas among some fifty kinds of event, then a terminal one."""

    __slots__ = ()

    def take(self, payload: bytes, parts: list[str]) -> None:
        event = object_of(orjson.loads(payload), "an event")
        kind = event.get("type")
        if kind == "response.output_text.delta" or kind == "response.refusal.delta":
            if delta := event.get("delta"):
                parts.append(text_of(delta, "delta"))
        elif kind == "response.completed" or kind == "response.incomplete":
            response = object_of(event.get("response"), "response")
            if usage := response.get("usage"):
                self._usage = _usage(usage, "input_tokens", "output_tokens")
            if kind == "response.completed":
                self._reason = "stop"
            else:
                details = object_of(response.get("incomplete_details"), "incomplete_details")
                self.stopped(details.get("reason"), INCOMPLETE)
            if self._reason is not None:
                self.outcome = End(self._reason, self._usage)
        elif kind == "response.failed":
            self.outcome = self._errors.in_band(object_of(event.get("response"), "response"))
        elif kind == "error" or event.get("error"):
            self.outcome = self._errors.in_band(event)


def _usage(value: Any, given: str, made: str) -> Usage:
    counts = object_of(value, "usage")
    details = counts.get(f"{given}_details")
    cached = count_of(object_of(details, "usage's details"), "cached_tokens") if details else 0
    return Usage(count_of(counts, given), count_of(counts, made), cached)
