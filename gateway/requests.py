"""The bodies and queries that callers send, in OpenAI's shapes.

A parameter of OpenAI's that Troupe cannot honour is accepted only with the value that asks for
nothing (`Only`); with any other it is refused by name, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic_core import PydanticCustomError

from contracts.messages import Role
from gateway.fields import (
    TEXT_OR_LIST,
    Body,
    Clean,
    Metadata,
    Name,
    Only,
    Said,
    Temperature,
    Tokens,
    TopP,
    limited,
    whole,
)

LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""

Nothing = Annotated[Any, Only(None)]


class ContentPart(Body):
    """A piece of a message. `annotations` and `logprobs` come with OpenAI's own output items."""

    type: Annotated[str, Only("input_text", "output_text")]
    text: Said
    annotations: Any = None
    logprobs: Any = None


class MessageItem(Body):
    """One message of a conversation. An item that came from the API may be sent back as it is."""

    type: Annotated[str, Only("message")] = "message"
    role: Role
    content: Annotated[
        Annotated[Said, Tag("text")]
        | Annotated[list[ContentPart], Field(min_length=1), Tag("list")],
        TEXT_OR_LIST,
    ]
    id: Clean | None = None
    status: Clean | None = None
    response_id: Clean | None = None
    phase: Any = None


Items = Annotated[list[MessageItem], Field(json_schema_extra=limited(maxItems="input_items"))]


class ConversationRef(Body):
    """A conversation by its id."""

    id: Clean


def _text_or_object(value: Any) -> str | None:
    if value is None:
        return "none"
    if isinstance(value, str):
        return "text"
    return "object" if isinstance(value, dict) else None


class TextFormat(Body):
    type: Annotated[str, Only("text")]


class TextConfig(Body):
    """How the answer's text is to look: plain is all there is."""

    format: TextFormat | None = None
    verbosity: Annotated[Any, Only("medium", None)] = None


class ResponseStreamOptions(Body):
    include_obfuscation: Annotated[Any, Only(False, None)] = None


class TurnFields(Body):
    """What may be said about a turn, over whichever protocol.

    Without `input` the agent answers what stands at the conversation's end; with `regenerate`, the
    conversation's last response, it answers that one's input anew and the old answer goes.
    """

    input: Annotated[
        Annotated[Said, Tag("text")] | Annotated[Items, Tag("list")],
        TEXT_OR_LIST,
    ] = Field(default_factory=list[MessageItem])
    regenerate: Name | None = None
    on_busy: Literal["queue", "interrupt", "reject"] | None = None
    model: Name = "auto"
    instructions: (
        Annotated[Clean, Field(json_schema_extra=limited(maxLength="instructions_chars"))] | None
    ) = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: Tokens | None = None
    user: Name | None = None
    safety_identifier: Name | None = None


class CreateFrame(TurnFields):
    """`response.create` on the WebSocket; `id` is the client's idempotency key."""

    type: Literal["response.create"]
    id: Name | None = None


def _given(field: str) -> dict[str, Any]:
    """In JSON Schema: this field is there, and not null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


_CONVERSATION, _PREVIOUS, _REGENERATE = map(
    _given, ("conversation", "previous_response_id", "regenerate")
)
_SILENT: dict[str, Any] = {"properties": {"input": {"type": "array", "maxItems": 0}}}


class CreateResponse(TurnFields):
    """A turn: what is said, to whom, in which conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    # One way of saying where it belongs, or none.
                    {"allOf": [_CONVERSATION, _PREVIOUS]},
                    {"allOf": [_REGENERATE, _PREVIOUS]},
                    # What is answered anew has its input; a new conversation needs one.
                    {"allOf": [_REGENERATE, {"not": _SILENT}]},
                    {
                        "allOf": [
                            _SILENT,
                            {"not": {"anyOf": [_CONVERSATION, _PREVIOUS, _REGENERATE]}},
                        ]
                    },
                ]
            }
        }
    )

    stream: bool | None = None
    conversation: Annotated[
        Annotated[Clean, Tag("text")]
        | Annotated[ConversationRef, Tag("object")]
        | Annotated[None, Tag("none")],
        Discriminator(
            _text_or_object,
            custom_error_type="invalid_type",
            custom_error_message="Input should be an id, or an object with one",
        ),
    ] = None
    previous_response_id: Clean | None = None
    background: bool | None = None

    # Hints without effect on an answer: accepted and let go.
    prompt_cache_key: Name | None = None
    parallel_tool_calls: bool | None = None

    access_programs: Nothing = None
    background_options: Nothing = None
    context_management: Annotated[Any, Only(None, [])] = None
    image: Nothing = None
    include: Annotated[Any, Only(None, [])] = None
    max_tool_calls: Nothing = None
    moderation: Nothing = None
    prompt: Nothing = None
    prompt_cache_options: Nothing = None
    prompt_cache_retention: Nothing = None
    reasoning: Annotated[Any, Only(None, {}, {"effort": None, "summary": None})] = None
    service_tier: Annotated[Any, Only(None, "auto", "default")] = None
    store: Annotated[Any, Only(None, True)] = None
    stream_options: ResponseStreamOptions | None = None
    text: TextConfig | None = None
    tool_choice: Annotated[Any, Only(None, "auto", "none")] = None
    tools: Annotated[Any, Only(None, [])] = None
    top_logprobs: Annotated[Any, Only(None, 0)] = None
    truncation: Annotated[Any, Only(None, "auto", "disabled")] = None


class CreateConversation(Body):
    items: (
        Annotated[
            list[MessageItem],
            Field(max_length=20, json_schema_extra=limited(maxItems="input_items")),
        ]
        | None
    ) = None
    metadata: Metadata | None = None


class ForkConversation(Body):
    """Where a copy of a conversation ends, and what it is to be known by."""

    item_id: Clean
    metadata: Metadata | None = None


class CreateSchedule(TurnFields):
    """A turn that is to begin by itself: once, or by the clock. It says something each time."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["input"],
            "oneOf": [
                {"required": [field], "properties": {field: {"not": {"type": "null"}}}}
                for field in ("at", "cron")
            ],
        }
    )

    at: Annotated[int, Field(ge=0, le=LAST_SECOND), BeforeValidator(whole)] | None = Field(
        None, description="Unix seconds, in the future."
    )
    cron: Annotated[Clean, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Five fields: minute, hour, day of the month, month, weekday."
    )
    timezone: Annotated[Clean, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Of `cron`, such as `Europe/Berlin`; UTC if not given."
    )


class UpdateConversation(Body):
    metadata: Metadata | None


class CreateItems(Body):
    items: Annotated[list[MessageItem], Field(min_length=1, max_length=20)]
    include: Annotated[Any, Only(None, [])] = None


class ChatPart(Body):
    type: Annotated[str, Only("text")]
    text: Said


class ChatMessage(Body):
    """One message of a chat. Tools and pictures are not supported."""

    role: Annotated[Role, Only("user", "assistant", "system", "developer")]
    content: Annotated[
        Annotated[Said, Tag("text")] | Annotated[list[ChatPart], Field(min_length=1), Tag("list")],
        TEXT_OR_LIST,
    ]
    name: Nothing = None
    refusal: Nothing = None
    annotations: Any = None
    audio: Nothing = None
    tool_calls: Annotated[Any, Only(None, [])] = None
    function_call: Nothing = None


class ChatStreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: Annotated[Any, Only(False, None)] = None


class ChatResponseFormat(Body):
    type: Annotated[str, Only("text")]


class CreateChatCompletion(Body):
    """A whole conversation, to be answered once. Nothing of it is kept."""

    messages: Annotated[
        list[ChatMessage], Field(min_length=1, json_schema_extra=limited(maxItems="input_items"))
    ]
    model: Name
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    metadata: Metadata | None = None
    user: Name | None = None
    safety_identifier: Name | None = None

    prompt_cache_key: Name | None = None
    parallel_tool_calls: bool | None = None

    audio: Nothing = None
    frequency_penalty: Annotated[Any, Only(None, 0)] = None
    function_call: Annotated[Any, Only(None, "auto", "none")] = None
    functions: Annotated[Any, Only(None, [])] = None
    logit_bias: Annotated[Any, Only(None, {})] = None
    logprobs: Annotated[Any, Only(None, False)] = None
    modalities: Annotated[Any, Only(None, ["text"])] = None
    moderation: Nothing = None
    n: Annotated[Any, Only(None, 1)] = None
    prediction: Nothing = None
    presence_penalty: Annotated[Any, Only(None, 0)] = None
    prompt_cache_options: Nothing = None
    prompt_cache_retention: Nothing = None
    reasoning_effort: Nothing = None
    response_format: ChatResponseFormat | None = None
    seed: Nothing = None
    service_tier: Annotated[Any, Only(None, "auto", "default")] = None
    stop: Annotated[Any, Only(None, [])] = None
    store: Annotated[Any, Only(None, False)] = None
    tool_choice: Annotated[Any, Only(None, "auto", "none")] = None
    tools: Annotated[Any, Only(None, [])] = None
    top_logprobs: Annotated[Any, Only(None, 0)] = None
    verbosity: Annotated[Any, Only(None, "medium")] = None
    web_search_options: Nothing = None


def _never(value: bool) -> bool:
    if value:
        raise PydanticCustomError("unsupported_parameter", "This value is not supported")
    return value


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(_Query):
    """A page of a list."""

    after: str | None = Field(None, description="The id of the row before the page's first.")
    limit: int | None = Field(
        None, ge=1, le=1_000_000, json_schema_extra=limited(maximum="max_page_items")
    )
    order: Literal["asc", "desc"] = "desc"


class RetrieveQuery(_Query):
    """How to read a response: as it is now, or as a stream from a place on."""

    stream: bool = False
    starting_after: int | None = Field(
        None, ge=-1, le=2_147_483_647, description="The last `sequence_number` that was seen."
    )
    include_obfuscation: Annotated[bool, AfterValidator(_never)] = Field(
        False,
        description="Nothing is ever obfuscated; true is refused.",
        json_schema_extra={"const": False},
    )
