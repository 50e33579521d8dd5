"""Chat completions: the stateless facade that every tool speaks.

The caller brings the whole conversation along and nothing of it is kept, so there is nobody to
come back: a caller that leaves ends its turn.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from contracts.commands import SessionKey
from contracts.errors import ProviderInterrupted, TroupeError
from contracts.events import Event
from contracts.ids import STATELESS, new_id
from contracts.messages import ResponseRecord, Usage
from gateway.answers import ChatCompletionObject
from gateway.call import Call, Caller, StrictRoute, answer
from gateway.costs import troupe_object
from gateway.document import FAILURES, ok_or_stream
from gateway.errors import TurnFailed
from gateway.follow import Follower
from gateway.presence import while_present
from gateway.projection import error_body
from gateway.requests import CreateChatCompletion
from gateway.sse import KEEP_ALIVE, EventStream, or_quiet
from gateway.turns import require_agent, turn_from_chat

router = APIRouter(route_class=StrictRoute, tags=["Chat"], responses=FAILURES)

_FINISH = {None: "stop", "max_output_tokens": "length", "content_filter": "content_filter"}
_DONE = b"data: [DONE]\n\n"


@router.post(
    "/v1/chat/completions",
    operation_id="createChatCompletion",
    responses=ok_or_stream(ChatCompletionObject),
)
async def create(call: Caller, body: CreateChatCompletion) -> Response:
    """Answer a conversation that the caller brings along, whole or as it comes."""
    turn = turn_from_chat(call.services.options.limits, body)
    require_agent(call.services, turn.model)
    key = SessionKey(call.principal.org_id, new_id(STATELESS))
    # Closing the reader ends a stateless session, and with it the turn. Such a session cannot be
    # found again, so the loss of its host is final.
    _, reader = await call.services.link.start(key, turn, lasting=False)
    follower = Follower(reader, turn.response_id)
    chat = _Chat(call, key, body, follower)
    try:
        return await (chat.stream() if body.stream else chat.whole())
    except BaseException:
        follower.close()
        raise


class _Chat:
    """One completion in the making."""

    def __init__(
        self, call: Call, key: SessionKey, body: CreateChatCompletion, follower: Follower
    ) -> None:
        self._call = call
        self._events = follower
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._id = f"chatcmpl-{key.session_id.partition('_')[2]}"
        self._created = int(time.time())
        self._agent = body.model
        self._decision: dict[str, Any] = {}

    # -- whole ------------------------------------------------------------------------------------

    async def whole(self) -> Response:
        receive = self._call.request.receive
        record = await while_present(receive, self._events.ended(), name="chat")
        self._events.close()
        _raise_failure(record)
        return answer(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": record.agent,
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": record.text,
                            "refusal": None,
                            "annotations": [],
                        },
                        "logprobs": None,
                        "finish_reason": _FINISH[record.incomplete_reason],
                    }
                ],
                "usage": _usage(record.usage),
                "troupe": troupe_object(record),
            }
        )

    # -- stream -----------------------------------------------------------------------------------

    async def stream(self) -> Response:
        """Headers leave with the first token, so what fails before it is a proper HTTP error."""
        receive = self._call.request.receive
        first = await while_present(receive, self._first(), name="chat-first")
        options = self._call.services.options
        return EventStream(
            self._chunks(first, options.keepalive_s),
            send_timeout_s=options.send_timeout_s,
            release=self._events.close,
        )

    async def _first(self) -> list[Event]:
        seen: list[Event] = []
        while True:
            seen += await self._events.next()
            for event in seen:
                if event.kind == "started":
                    self._learn(event.data)
                elif event.kind == "ended":
                    _raise_failure(event.data)
                    return seen
                elif event.kind == "delta":
                    return seen

    def _learn(self, record: ResponseRecord) -> None:
        self._agent = record.agent
        self._decision = troupe_object(record, started=True)

    async def _chunks(self, first: list[Event], quiet_s: float) -> AsyncGenerator[bytes, None]:
        head = self._chunk({"role": "assistant", "content": ""}, troupe=self._decision)
        text_chunk = self._text_template()
        sent = 0
        events: list[Event] | None = first
        try:
            while True:
                if events is None:
                    yield KEEP_ALIVE
                else:
                    parts = [head] if head else []
                    head = b""
                    for event in events:
                        if event.kind == "delta":
                            sent += len(event.data)
                            parts.append(text_chunk % orjson.dumps(event.data))
                        elif event.kind == "resumed" and event.data.position < sent:
                            yield b"".join([*parts, self._failure(_begun_anew()), _DONE])
                            return
                        elif event.kind == "ended":
                            parts += self._last(event.data)
                    yield b"".join(parts)
                    if events[-1].kind == "ended":
                        return
                events = await or_quiet(self._events.next(), quiet_s)
        except TroupeError as error:
            yield self._failure(error) + _DONE

    def _last(self, record: ResponseRecord) -> list[bytes]:
        try:
            _raise_failure(record)
        except TroupeError as error:
            return [self._failure(error), _DONE]
        finish = _FINISH[record.incomplete_reason]
        parts = [self._chunk({}, finish_reason=finish, troupe=troupe_object(record))]
        if self._with_usage:
            parts.append(self._frame({"choices": [], "usage": _usage(record.usage)}))
        return [*parts, _DONE]

    def _chunk(
        self, delta: dict[str, str], *, finish_reason: str | None = None, **extra: Any
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._with_usage else {}
        return self._frame({"choices": [choice], **usage, **extra})

    def _frame(self, body: dict[str, Any]) -> bytes:
        head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._agent,
        }
        return b"data: %b\n\n" % orjson.dumps({**head, **body})

    def _text_template(self) -> bytes:
        """A chunk with one hole, for the text as JSON: a token costs one formatting."""
        hole = "\u0000"
        whole = self._chunk({"content": hole}).replace(b"%", b"%%")
        return whole.replace(orjson.dumps(hole), b"%b")

    def _failure(self, error: TroupeError) -> bytes:
        return b"data: %b\n\n" % orjson.dumps(error_body(error, self._call.request_id))


def _begun_anew() -> TroupeError:
    """This protocol has no word for taking text back, and two answers in one would be none."""
    return ProviderInterrupted(
        "The answer's provider failed, and the answer was begun anew elsewhere. Chat completions"
        " cannot take back what was sent; ask again, or use the Responses API.",
        code="answer_restarted",
        retry_after=0,
    )


def _raise_failure(record: ResponseRecord) -> None:
    """Raise what an ended turn failed of; a cancelled one has failed for its caller."""
    if record.status == "cancelled":
        raise TurnFailed({"code": "cancelled", "message": "The turn was cancelled."})
    if record.status == "failed":
        raise TurnFailed(record.error or {})


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
