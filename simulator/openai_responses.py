"""OpenAI's `POST /v1/responses`, streamed and whole.

The simulator stores nothing, so `previous_response_id` and `conversation` name things that do
not exist, and it says so as OpenAI does.
"""

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
from simulator.wire import Outcome, Wire, dumps, plain, serial

SPEAKERS: Mapping[str, Speaker] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """The ask in a request's body."""
    body = body_of(raw)
    ask = Ask(
        model=model_of(body),
        stream=body.get("stream") is True,
        max_tokens=limit_of(body, "max_output_tokens"),
    )
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            raise Refusal(
                400,
                f"{name} '{body[name]}' not found: the simulator stores nothing.",
                param=name,
                code="previous_response_not_found",
            )
    instructions = body.get("instructions")
    if instructions:
        ask.turns.append(Turn("system", text_of(instructions, "instructions")))
    given = body.get("input")
    if isinstance(given, str) and given:
        ask.turns.append(Turn("user", given))
    elif isinstance(given, list) and given:
        ask.turns += [_turn(n, item) for n, item in enumerate(cast("list[object]", given))]
    else:
        raise Refusal(400, "'input' must be a string or a non-empty array.", param="input")
    return ask


def _turn(n: int, item: object) -> Turn:
    if not isinstance(item, dict):
        raise Refusal(400, f"'input[{n}]' must be an object.", param=f"input[{n}]")
    message = cast("dict[str, Any]", item)
    if message.get("type", "message") != "message":
        return Turn("system", "")
    speaker = speaker_of(message.get("role"), SPEAKERS)
    if speaker is None:
        raise Refusal(400, f"'input[{n}].role' is not a role.", param=f"input[{n}].role")
    return Turn(speaker, text_of(message.get("content"), f"input[{n}].content"))


class ResponseFrames:
    """A reply as the Responses API's events, numbered without a gap."""

    __slots__ = ("_ask", "_created", "_delta_head", "_id", "_item_id", "_number")

    def __init__(self, ask: Ask) -> None:
        number = serial()
        self._ask = ask
        self._id = f"resp_sim{number:08x}"
        self._item_id = f"msg_sim{number:08x}"
        self._created = int(time.time())
        self._number = 0
        self._delta_head = (
            b"event: response.output_text.delta\n"
            b'data: {"type":"response.output_text.delta","item_id":"%b","output_index":0,'
            b'"content_index":0,"logprobs":[],"delta":"' % self._item_id.encode()
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps(event))

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": self._ask.max_tokens,
            "model": self._ask.model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "metadata": {},
            **fields,
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _item(self, status: str, *parts: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": list(parts),
        }

    def _ended(self, outcome: Outcome, text: str) -> dict[str, Any]:
        prompt = self._ask.input_tokens()
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": outcome.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + outcome.tokens,
        }
        reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
        reason = reasons.get(outcome.finish)
        status = "completed" if reason is None else "incomplete"
        return self._response(
            status,
            output=[self._item(status, self._part(text))],
            usage=usage,
            incomplete_details=None if reason is None else {"reason": reason},
            completed_at=int(time.time()) if reason is None else None,
        )

    def _failed(self) -> dict[str, Any]:
        error = {"code": "server_error", "message": openai_wire.words(500)}
        return self._response("failed", error=error)

    def early(self) -> bytes:
        response = self._response("in_progress")
        created = self._event("response.created", response=response)
        return created + self._event("response.in_progress", response=response)

    def opening(self) -> bytes:
        item = self._event(
            "response.output_item.added", output_index=0, item=self._item("in_progress")
        )
        return item + self._event(
            "response.content_part.added",
            item_id=self._item_id,
            output_index=0,
            content_index=0,
            part=self._part(""),
        )

    def token(self, text: bytes) -> bytes:
        number = self._number
        self._number = number + 1
        return b'%b%b","sequence_number":%d}\n\n' % (self._delta_head, text, number)

    def broken(self, text: bytes) -> bytes:
        return b"%b%b\n\n" % (self._delta_head, text)

    def error(self, fault: str) -> bytes:
        _, code, message = openai_wire.FAULT_WORDS[503]
        if fault == "failed":
            return self._event("response.failed", response=self._failed())
        return self._event("error", code=code, message=message, param=None)

    def failure(self, fault: str) -> bytes:
        return dumps(self._failed()) if fault == "failed" else openai_wire.overloaded()

    def closing(self, outcome: Outcome) -> bytes:
        text = plain(outcome.text)
        response = self._ended(outcome, text)
        place: dict[str, Any] = {
            "item_id": self._item_id,
            "output_index": 0,
            "content_index": 0,
        }
        return (
            self._event("response.output_text.done", **place, text=text, logprobs=[])
            + self._event("response.content_part.done", **place, part=self._part(text))
            + self._event("response.output_item.done", output_index=0, item=response["output"][0])
            + self._event(f"response.{response['status']}", response=response)
        )

    def whole(self, outcome: Outcome) -> bytes:
        return dumps(self._ended(outcome, plain(outcome.text)))


WIRE = Wire(read, ResponseFrames, openai_wire.error, openai_wire.words, openai_wire.limits)
