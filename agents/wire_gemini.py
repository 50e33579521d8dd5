"""Gemini's `streamGenerateContent?alt=sse` on the wire: what is posted, how it is read. No I/O.

There is no event that ends a stream: the model's `finishReason` and then the end of the body do.
Usage counts up with every event, so the last one holds.

A message of role system or developer inside the conversation joins the system instruction, the
only place Gemini has for one. Messages without text are left out: it refuses empty parts.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from agents.events import EventReader, count_of, list_of, object_of, text_of
from agents.pool import Ask
from agents.sdk import MODEL, Template
from agents.translate import Translator
from contracts.agents import EndReason, ModelRequest
from contracts.messages import Usage

FINISH: dict[str, EndReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
"""`finishReason`s that are an end. The others say that something failed, and are errors."""

FAILED = frozenset(
    {
        "FINISH_REASON_UNSPECIFIED",
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "IMAGE_OTHER",
        "NO_IMAGE",
    }
)
"""Known, and no end: kept so that a test can tell a reason we decided on from one that is new."""


class GeminiWire:
    """`POST …/models/{model}:streamGenerateContent?alt=sse`.

    Args:
        template: Address, with `MODEL` in it, and headers.
        errors: Speaks for the agent.
        max_event_bytes: The largest event.
    """

    media_type = "text/event-stream"

    def __init__(self, template: Template, errors: Translator, max_event_bytes: int) -> None:
        self._template = template
        self._errors = errors
        self._max_event_bytes = max_event_bytes
        self._model = ""
        self._url = ""

    def ask(self, request: ModelRequest) -> Ask:
        system = [request.instructions] if request.instructions else []
        contents: list[dict[str, Any]] = []
        for said in request.messages:
            if not said.text:
                continue
            if said.role == "user" or said.role == "assistant":
                role = "user" if said.role == "user" else "model"
                contents.append({"role": role, "parts": [{"text": said.text}]})
            else:
                system.append(said.text)
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"role": "user", "parts": [{"text": "\n\n".join(system)}]}
        config = {
            "temperature": request.temperature,
            "topP": request.top_p,
            "maxOutputTokens": request.max_output_tokens,
        }
        if config := {name: value for name, value in config.items() if value is not None}:
            body["generationConfig"] = config
        return Ask(self._url_of(request.model), orjson.dumps(body))

    def reader(self) -> GeminiReader:
        return GeminiReader(self._errors, self._max_event_bytes)

    def _url_of(self, model: str) -> str:
        # An agent has one model, so the last address is nearly always the next one too.
        if model != self._model:
            path = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
            url = self._template.url.replace(f"models/{MODEL}", quote(path))
            self._model, self._url = model, url
        return self._url


class GeminiReader(EventReader):
    """One answer; the first candidate is the only one asked for."""

    __slots__ = ()

    def take(self, payload: bytes, parts: list[str]) -> None:
        event = object_of(orjson.loads(payload), "an event")
        if candidates := event.get("candidates"):
            candidate = object_of(list_of(candidates, "candidates")[0], "a candidate")
            if content := candidate.get("content"):
                self._read(object_of(content, "content"), parts)
            if reason := candidate.get("finishReason"):
                self.stopped(reason, FINISH)
        elif event.get("error"):
            self.outcome = self._errors.in_band(event)
            return
        elif (feedback := event.get("promptFeedback")) and object_of(
            feedback, "promptFeedback"
        ).get("blockReason"):
            self._reason = "content_filter"  # the prompt itself is refused: no candidates
        if usage := event.get("usageMetadata"):
            counts = object_of(usage, "usageMetadata")
            self._usage = Usage(
                count_of(counts, "promptTokenCount"),
                # Thoughts are billed as output; OpenAI counts them there too.
                count_of(counts, "candidatesTokenCount", "thoughtsTokenCount"),
                count_of(counts, "cachedContentTokenCount"),
            )

    def _read(self, content: dict[str, Any], parts: list[str]) -> None:
        for item in list_of(content.get("parts") or [], "parts"):
            part = object_of(item, "a part")
            # A thought is the model's own; it is no part of the answer.
            if (text := part.get("text")) and not part.get("thought"):
                parts.append(text_of(text, "text"))
