"""A session's events as the Responses API shows them. Pure functions of the log.

`contracts.events` says how many API events each event unfolds into and which `sequence_number`
the first of them has; here is what they look like. A `Projector` writes them as server-sent
events. It MUST stay a function of the event and the record alone: a reader that comes back, on
another gateway, is sent the very bytes it missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from contracts.errors import TroupeError
from contracts.events import Event, opens, unfolds_to
from contracts.messages import ENDED, Leg, Message, ResponseRecord, Usage
from gateway.costs import troupe_object

JsonObject = dict[str, Any]

_ENDINGS = {
    "completed": "response.completed",
    "failed": "response.failed",
    "incomplete": "response.incomplete",
    "cancelled": "response.cancelled",
}


def error_body(error: TroupeError, request_id: str) -> JsonObject:
    """The error object in OpenAI's shape, with the request's id."""
    return {"error": {**error.as_dict(), "request_id": request_id}}


def item_object(message: Message) -> JsonObject:
    """A conversation item. `response_id` is Troupe's own: the turn that it was said in, if any."""
    return {
        "id": message.id,
        "type": "message",
        "status": "completed",
        "role": message.role,
        "content": [_part(message.role, message.text)],
        "response_id": message.response_id,
    }


def _part(role: str, text: str) -> JsonObject:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def output_item(record: ResponseRecord, status: str, text: str | None) -> JsonObject:
    """The answer as an output item; `text` None: before its first word."""
    return {
        "id": record.item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [_part("assistant", text)],
    }


def usage_object(usage: Usage | None) -> JsonObject | None:
    """Tokens in the shape of the Responses API."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def response_object(record: ResponseRecord, *, started: bool = False) -> JsonObject:
    """A response.

    Args:
        record: The turn, at any stage.
        started: Show it as it was when it began, whatever became of it since. What a stream says
            first is then the same for the reader who was there and the one who comes later.
    """
    status = "in_progress" if started else record.status
    ended = status in ENDED
    output: list[JsonObject] = []
    if ended and (record.text or record.cuts):
        item_status = "completed" if status == "completed" else "incomplete"
        output.append(output_item(record, item_status, record.text))
    incomplete = record.incomplete_reason if ended else None
    return {
        "id": record.id,
        "object": "response",
        "created_at": int(record.created_at),
        "status": status,
        "background": record.background,
        "completed_at": int(record.completed_at) if ended and record.completed_at else None,
        "error": _failure(record.error) if ended else None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": record.instructions,
        "max_output_tokens": record.max_output_tokens,
        "max_tool_calls": None,
        "model": _answering(record, started=started),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": record.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": record.temperature,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": record.top_p,
        "truncation": "auto",
        "usage": usage_object(record.usage) if ended else None,
        "user": record.user,
        "safety_identifier": record.user,
        "metadata": record.metadata,
        "conversation": {"id": record.session_id},
        "troupe": troupe_object(record, started=started),
    }


def _answering(record: ResponseRecord, *, started: bool) -> str:
    """The agent: at the beginning the one that was chosen, later the one that answered last."""
    chosen: str | None = record.decision.get("agent") if started else None
    return chosen or record.agent or record.model


def _failure(error: JsonObject | None) -> JsonObject | None:
    if error is None:
        return None
    return {"code": error.get("code", "server_error"), "message": error.get("message", "")}


def last_number(event: Event) -> int:
    """The `sequence_number` of the last API event that `event` unfolds into; -1 for none."""
    if event.number < 0:
        return -1
    opening = bool(event.data.cuts) if event.kind == "ended" else opens(event)
    return event.number + unfolds_to(event.kind, opens=opening) - 1


def resumed_object(response_id: str | None, leg: Leg) -> JsonObject:
    """A turn goes on elsewhere; `position` characters of what was shown stand.

    `from` and `to` are endpoints, where a provider was lost and another one goes on.
    """
    return {
        "response_id": response_id,
        "policy": leg.policy,
        "position": leg.position,
        "reason": leg.reason,
        "from": leg.source,
        "to": leg.target,
    }


class Projector:
    """Writes one response's events as server-sent events, from a place on.

    Args:
        record: The response, at any stage.
        after: The last `sequence_number` the client has; -1: none.
    """

    def __init__(self, record: ResponseRecord, after: int = -1) -> None:
        self.last = after
        self._record = record
        place = orjson.dumps(
            {"item_id": record.item_id, "output_index": 0, "content_index": 0, "logprobs": []}
        )[1:-1]
        # Two holes for numbers and one for text: a token costs one formatting, no dictionary.
        self._delta = (
            b"event: response.output_text.delta\nid: %d\n"
            b'data: {"type":"response.output_text.delta","sequence_number":%d,'
            + place.replace(b"%", b"%%")
            + b',"delta":%b}\n\n'
        )

    def encode(self, events: Iterable[Event]) -> bytes:
        """The API events of `events` that the client has not seen; may be empty."""
        return b"".join([chunk for event in events for chunk in self._unfold(event)])

    def _unfold(self, event: Event) -> list[bytes]:
        if event.kind == "delta":
            if not opens(event):
                if event.number <= self.last:
                    return []
                self.last = event.number
                return [self._delta % (event.number, event.number, orjson.dumps(event.data))]
            return self._numbered(event.number, self._opening(event.data))
        if event.kind == "started":
            begun = {"response": response_object(event.data, started=True)}
            return self._numbered(
                event.number, [("response.created", begun), ("response.in_progress", begun)]
            )
        if event.kind == "resumed":
            resumed = resumed_object(event.response_id, event.data)
            return self._numbered(event.number, [("response.resumed", resumed)])
        if event.kind == "ended":
            return self._ending(event)
        return []

    def _opening(self, text: str) -> list[tuple[str, JsonObject]]:
        item = output_item(self._record, "in_progress", None)
        at = {"item_id": self._record.item_id, "output_index": 0, "content_index": 0}
        return [
            ("response.output_item.added", {"output_index": 0, "item": item}),
            ("response.content_part.added", {**at, "part": _part("assistant", "")}),
            ("response.output_text.delta", {**at, "logprobs": [], "delta": text}),
        ]

    def _ending(self, event: Event) -> list[bytes]:
        record: ResponseRecord = event.data
        whole = response_object(record)
        terminal = (_ENDINGS[record.status], {"response": whole})
        at = {"item_id": record.item_id, "output_index": 0, "content_index": 0}
        shown: list[tuple[str, JsonObject]] = []
        if record.cuts:
            item: JsonObject = whole["output"][0]
            shown = [
                ("response.output_text.done", {**at, "text": record.text, "logprobs": []}),
                ("response.content_part.done", {**at, "part": item["content"][0]}),
                ("response.output_item.done", {"output_index": 0, "item": item}),
            ]
        return self._numbered(event.number, [*shown, terminal])

    def _numbered(self, number: int, events: list[tuple[str, JsonObject]]) -> list[bytes]:
        chunks = [
            sse_event(name, data, at)
            for at, (name, data) in enumerate(events, number)
            if at > self.last
        ]
        self.last = max(self.last, number + len(events) - 1)
        return chunks


def sse_event(name: str, data: JsonObject, number: int) -> bytes:
    """One API event as a server-sent event."""
    body = orjson.dumps({"type": name, "sequence_number": number, **data})
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), number, body)


def sse_error(error: TroupeError, request_id: str, number: int) -> bytes:
    """The Responses API's `error` event.

    It repeats the number of the last event that was sent and has no `id:`, so whoever resumes
    after it, by whichever of the two, misses nothing.
    """
    body = orjson.dumps(
        {
            "type": "error",
            "sequence_number": number,
            "code": error.cause_code,
            "message": error.message,
            "param": error.param,
            "request_id": request_id,
        }
    )
    return b"event: error\ndata: %b\n\n" % body
