"""What callers say about a turn, as the one thing a session understands.

Every protocol ends here, so a limit that is a setting is checked in one place for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from contracts.commands import InputItem, TurnRequest
from contracts.errors import InvalidRequest, UnknownModel, UnsupportedParameter
from contracts.ids import RESPONSE, new_id
from contracts.messages import Role
from gateway.errors import explain_fault
from gateway.options import GatewayOptions, InputLimits, Services
from gateway.requests import (
    CreateChatCompletion,
    CreateFrame,
    CreateResponse,
    CreateSchedule,
    TurnFields,
)
from gateway.text import check_length

IDEMPOTENCY_KEY = "Idempotency-Key"


class _Part(Protocol):
    @property
    def text(self) -> str: ...


class _Message(Protocol):
    @property
    def role(self) -> Role: ...
    @property
    def content(self) -> str | Sequence[_Part]: ...


def turn_from_response(limits: InputLimits, body: CreateResponse, key: str | None) -> TurnRequest:
    """The turn that a body of `POST /v1/responses` asks for.

    Args:
        key: The `Idempotency-Key` header.

    Raises:
        InvalidRequest: something is over a limit.
    """
    if key is not None and len(key) > limits.id_chars:
        raise _too_long(IDEMPOTENCY_KEY, limits.id_chars)
    return _turn(limits, body, key, bool(body.background), body.previous_response_id)


def turn_from_frame(options: GatewayOptions, frame: Mapping[str, Any]) -> TurnRequest:
    """The turn that a WebSocket's `response.create` asks for. Raises `InvalidRequest`."""
    try:
        body = CreateFrame.model_validate(frame)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise explain_fault(fault, fault["loc"], frame) from None
    if body.id is not None and len(body.id) > options.limits.id_chars:
        raise _too_long("id", options.limits.id_chars)
    return _turn(options.limits, body, body.id, False, None)


def turn_from_chat(limits: InputLimits, body: CreateChatCompletion) -> TurnRequest:
    """The stateless turn that a chat completion is. Raises `InvalidRequest`."""
    for name in ("user", "safety_identifier", "model"):
        _check_name(getattr(body, name), name, limits)
    check_metadata(body.metadata, limits)
    return TurnRequest(
        response_id=new_id(RESPONSE),
        model=body.model,
        input=messages(body.messages, "messages", limits),
        user=body.safety_identifier or body.user,
        temperature=body.temperature,
        top_p=body.top_p,
        max_output_tokens=body.max_completion_tokens or body.max_tokens,
        metadata=body.metadata or {},
        stateless=True,
    )


def turn_from_schedule(limits: InputLimits, body: CreateSchedule) -> TurnRequest:
    """The turn that a schedule begins each time; it has no ids yet. Raises `InvalidRequest`."""
    turn = _turn(limits, body, None, True, None)
    if not turn.input:
        raise InvalidRequest(
            "This parameter is required.", param="input", code="missing_required_parameter"
        )
    if turn.regenerate is not None:
        raise UnsupportedParameter("A schedule cannot answer anew.", param="regenerate")
    return replace(turn, response_id="")


def require_agent(services: Services, name: str) -> None:
    """Refuse a `model` that names no agent, before anything is made for it."""
    if not services.knows_agent(name):
        raise UnknownModel(f"There is no agent called {name!r}.", param="model")


def _turn(
    limits: InputLimits,
    body: TurnFields,
    client_id: str | None,
    background: bool,
    previous_response_id: str | None,
) -> TurnRequest:
    for name in ("user", "safety_identifier", "model", "regenerate"):
        _check_name(getattr(body, name), name, limits)
    check_metadata(body.metadata, limits)
    if body.instructions is not None:
        check_length(body.instructions, "instructions", limits.instructions_chars)
    if isinstance(body.input, str):
        check_length(body.input, "input", limits.message_chars)
        said = (InputItem("user", body.input),)
    else:
        said = messages(body.input, "input", limits)
    return TurnRequest(
        response_id=new_id(RESPONSE),
        model=body.model,
        input=said,
        client_id=client_id,
        user=body.safety_identifier or body.user,
        instructions=body.instructions,
        temperature=body.temperature,
        top_p=body.top_p,
        max_output_tokens=body.max_output_tokens,
        previous_response_id=previous_response_id,
        background=background,
        metadata=body.metadata or {},
        on_busy=body.on_busy,
        regenerate=body.regenerate,
    )


def messages(given: Sequence[_Message], param: str, limits: InputLimits) -> tuple[InputItem, ...]:
    """Messages as sessions take them; the parts of one are one text. Raises `InvalidRequest`."""
    if len(given) > limits.input_items:
        raise InvalidRequest(
            f"There are {len(given)} messages; the limit is {limits.input_items}.",
            param=param,
            code="too_many_items",
            details={"limit": limits.input_items},
        )
    items: list[InputItem] = []
    for index, message in enumerate(given):
        content = message.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        check_length(text, f"{param}[{index}].content", limits.message_chars)
        items.append(InputItem(message.role, text))
    return tuple(items)


def check_metadata(metadata: Mapping[str, str] | None, limits: InputLimits) -> None:
    """Refuse metadata over a limit."""
    if not metadata:
        return
    if len(metadata) > limits.metadata_pairs:
        raise _too_long("metadata", limits.metadata_pairs, "pairs")
    for key, value in metadata.items():
        if len(key) > limits.metadata_key_chars:
            shown = f"metadata.{key[: limits.metadata_key_chars]}…"
            raise _too_long(shown, limits.metadata_key_chars)
        if len(value) > limits.metadata_value_chars:
            raise _too_long(f"metadata.{key}", limits.metadata_value_chars)


def _check_name(name: str | None, param: str, limits: InputLimits) -> None:
    if name is not None and len(name) > limits.id_chars:
        raise _too_long(param, limits.id_chars)


def _too_long(param: str, limit: int, unit: str = "characters") -> InvalidRequest:
    return InvalidRequest(
        f"At most {limit} {unit} are allowed.",
        param=param,
        code="too_long",
        details={"limit": limit},
    )
