"""The native WebSocket's frames: a session's events as JSON text, and what a client may send."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.commands import Attached
from contracts.errors import InvalidRequest
from contracts.events import Cursor, Event
from gateway.projection import item_object, response_object, resumed_object


def event_frame(epoch: int, event: Event) -> bytes:
    """One event as the text of one frame."""
    kind = event.kind
    body: dict[str, Any] = {"type": "", "epoch": epoch, "seq": event.seq}
    if event.response_id is not None:
        body["response_id"] = event.response_id
    if kind == "delta":
        body["type"] = "response.output_text.delta"
        body["delta"] = event.data
    elif kind == "accepted":
        body["type"] = "response.accepted"
        body["id"] = event.data["client_id"]
        body["input"] = [item_object(message) for message in event.data["input"]]
        if "removed" in event.data:
            body["removed"] = event.data["removed"]
    elif kind == "started":
        body["type"] = "response.created"
        body["response"] = response_object(event.data, started=True)
    elif kind == "resumed":
        body["type"] = "response.resumed"
        body |= resumed_object(event.response_id, event.data)
    elif kind == "ended":
        body["type"] = f"response.{event.data.status}"
        body["response"] = response_object(event.data)
    else:
        body["type"] = "conversation.item.created"
        body["items"] = [item_object(message) for message in event.data["items"]]
    return orjson.dumps(body)


def opened_frame(attached: Attached) -> bytes:
    """The answer to `session.open`. Without `recovered`, show the snapshot in place of all.

    It comes again, without `recovered`, when the session had to be found anew and the place where
    the client was could not be.
    """
    body: dict[str, Any] = {
        "type": "session.opened",
        "epoch": attached.epoch,
        "seq": attached.seq,
        "recovered": attached.recovered,
    }
    if attached.snapshot is not None:
        body["snapshot"] = [item_object(message) for message in attached.snapshot]
    return orjson.dumps(body)


class CursorFrame(BaseModel):
    """Everything up to and including `seq` has been shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epoch: int = Field(ge=0)
    seq: int = Field(ge=0)


class OpenFrame(BaseModel):
    """`session.open`: the first frame of a client."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["session.open"]
    cursor: CursorFrame | None = None

    def after(self) -> Cursor | None:
        return Cursor(self.cursor.epoch, self.cursor.seq) if self.cursor else None


class CancelFrame(BaseModel):
    """`response.cancel`: end the running turn, or the one that is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["response.cancel"]
    response_id: str | None = None


def parse(text: str | None, limit_bytes: int) -> dict[str, Any]:
    """A client's frame as a JSON object with a `type`.

    Raises:
        InvalidRequest: codes `frame_too_large`, `binary_unsupported`, `invalid_json`,
            `invalid_frame`.
    """
    if text is None:
        raise InvalidRequest(
            "Binary frames carry audio, which this socket does not take.", code="binary_unsupported"
        )
    if len(text) > limit_bytes:
        raise InvalidRequest(
            f"The frame is longer than {limit_bytes} bytes.", code="frame_too_large"
        )
    try:
        frame = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise InvalidRequest("The frame is not valid JSON.", code="invalid_json") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise InvalidRequest(
            "A frame is a JSON object with a `type`.", param="type", code="invalid_frame"
        )
    return frame


def refuse(error: ValidationError) -> InvalidRequest:
    """The first fault that pydantic found, as an error that names the field."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(part) for part in fault["loc"]) or None
    return InvalidRequest(f"{param}: {fault['msg']}.", param=param, code="invalid_frame")
