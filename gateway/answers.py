"""What the API answers, as `/openapi.json` describes it. Documentation only: the routes write
these objects by hand, and a test holds them against these descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[int, Field(description="Unix seconds.")]
Count = Annotated[int, Field(ge=0)]
Dollars = Annotated[float, Field(ge=0, description="US dollars.")]
Metadata = dict[str, str]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorObject(BaseModel):
    """Why something was not done. Further facts may stand beside these."""

    message: str
    type: str
    param: str | None = Field(description="The field at fault, such as `input[0].content`.")
    code: str = Field(description="One per cause.")
    request_id: str


class ErrorBody(Shape):
    error: ErrorObject


class OutputText(Shape):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class InputText(Shape):
    type: Literal["input_text"]
    text: str


class OutputMessage(Shape):
    id: str
    type: Literal["message"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputText]


class Item(Shape):
    """A message of a conversation."""

    id: str
    type: Literal["message"]
    status: Literal["completed"]
    role: Literal["user", "assistant", "system", "developer"]
    content: list[InputText | OutputText]
    response_id: str | None


class CachedTokens(Shape):
    cached_tokens: Count
    cache_write_tokens: Count


class ReasoningTokens(Shape):
    reasoning_tokens: Count


class ResponseUsage(Shape):
    input_tokens: Count
    input_tokens_details: CachedTokens
    output_tokens: Count
    output_tokens_details: ReasoningTokens
    total_tokens: Count


class ResponseFailure(Shape):
    code: str
    message: str


class IncompleteDetails(Shape):
    reason: Literal["max_output_tokens", "content_filter"]


class ConversationId(Shape):
    id: str


class ChargeObject(Shape):
    """What one request to a provider cost."""

    agent: str
    endpoint: str
    model: str
    input_tokens: Count
    output_tokens: Count
    cached_tokens: Annotated[int, Field(ge=0, description="Among `input_tokens`.")]
    cost_usd: Dollars | None = Field(description="None: the model has no price.")
    estimated: bool = Field(
        default=False, description="The provider did not say; tokens were counted here."
    )


class DecisionObject(BaseModel):
    """Which agent answers, why, and at its end what that cost. Further facts may stand beside."""

    agent: str = Field(description="Who was chosen; of an ended response, who answered.")
    chosen: str | None = Field(default=None, description="Who was to answer, if another one did.")
    rule: str | None = Field(
        default=None, description="The rule that matched; `model` where the caller chose."
    )
    reason: str | None = None
    version: str | None = Field(default=None, description="Of the rules that were asked.")
    kept: bool = Field(
        default=False, description="The rule left the conversation with the agent it had."
    )
    asked: dict[str, Any] | None = Field(
        default=None, description="What a model said that was asked to route."
    )
    on_failure: Literal["continue", "restart", "stop"] | None = Field(
        default=None, description="The rule's word on what becomes of a begun answer."
    )
    candidates: list[dict[str, Any]] | None = Field(
        default=None, description="The chosen agent's endpoints as they stood."
    )
    endpoint: str | None = Field(default=None, description="The one that was asked first.")
    budget: list[str] | None = Field(
        default=None, description="Budgets that are beyond their soft limits."
    )
    charges: list[ChargeObject] | None = Field(
        default=None, description="What each request to a provider cost."
    )
    cost_usd: Dollars | None = Field(
        default=None, description="What they cost together, as far as their models have prices."
    )


class ReasoningObject(Shape):
    effort: None
    summary: None


class TextFormatObject(Shape):
    type: Literal["text"]


class TextObject(Shape):
    format: TextFormatObject
    verbosity: Literal["medium"]


class ResponseObject(Shape):
    """A turn: one answer of one agent."""

    id: str
    object: Literal["response"]
    created_at: Seconds
    status: Literal["queued", "in_progress", "completed", "failed", "incomplete", "cancelled"]
    background: bool
    completed_at: Seconds | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: Count | None
    max_tool_calls: None
    model: str = Field(description="The agent that answers.")
    output: list[OutputMessage]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ReasoningObject
    service_tier: Literal["default"]
    store: Literal[True]
    temperature: float | None
    text: TextObject
    tool_choice: Literal["auto"]
    tools: list[Any]
    top_logprobs: Count
    top_p: float | None
    truncation: Literal["auto"]
    usage: ResponseUsage | None
    user: str | None
    safety_identifier: str | None
    metadata: Metadata
    conversation: ConversationId
    troupe: DecisionObject


class Listing(Shape):
    object: Literal["list"]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ItemList(Listing):
    data: list[Item]


class ConversationObject(Shape):
    id: str
    object: Literal["conversation"]
    created_at: Seconds
    metadata: Metadata


class ConversationList(Listing):
    data: list[ConversationObject]


class ConversationDeleted(Shape):
    id: str
    object: Literal["conversation.deleted"]
    deleted: Literal[True]


class ScheduleRun(Shape):
    """What became of a schedule's last time."""

    due_at: Seconds
    status: Literal["ran", "skipped", "failed"]
    response_id: str | None
    error: ResponseFailure | None


class ScheduleObject(Shape):
    """A turn that begins by itself, once or by the clock."""

    id: str
    object: Literal["conversation.schedule"]
    created_at: Seconds
    conversation: ConversationId
    status: Literal["active", "ended"]
    at: Seconds | None
    cron: str | None
    timezone: str | None
    next_run_at: Seconds | None
    last_run: ScheduleRun | None
    skipped_runs: Count
    model: str
    input: list[ScheduledMessage]
    instructions: str | None
    temperature: float | None
    top_p: float | None
    max_output_tokens: Count | None
    user: str | None
    on_busy: Literal["queue", "interrupt", "reject"] | None
    metadata: Metadata


class ScheduledMessage(Shape):
    role: Literal["user", "assistant", "system", "developer"]
    content: str


class ScheduleList(Listing):
    data: list[ScheduleObject]


class ScheduleDeleted(Shape):
    id: str
    object: Literal["conversation.schedule.deleted"]
    deleted: Literal[True]


class ModelInfo(BaseModel):
    description: str
    simulated: bool


class ModelObject(Shape):
    """An agent."""

    id: str
    object: Literal["model"]
    created: Seconds
    owned_by: str
    troupe: ModelInfo


class ModelList(Shape):
    object: Literal["list"]
    data: list[ModelObject]


class ChatAnswer(Shape):
    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[Any]


class ChatChoice(Shape):
    index: Literal[0]
    message: ChatAnswer
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"]


class PromptDetails(Shape):
    cached_tokens: Count


class ChatUsage(Shape):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: PromptDetails


class ChatCompletionObject(Shape):
    id: str
    object: Literal["chat.completion"]
    created: Seconds
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage | None
    troupe: DecisionObject


class TicketObject(Shape):
    """Opens the WebSocket once it is put into its query as `ticket`."""

    ticket: str
    expires_at: Seconds


class AliveObject(Shape):
    status: Literal["ok"]


class ReadyObject(Shape):
    status: Literal["ok", "degraded", "unavailable"]
    dependencies: dict[str, str]
