"""Settings of what is done without anybody at a socket: webhooks, schedules, retention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from config.values import FrozenDict, Name, Number, Positive, Seconds, Section, Variable

WebhookUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s#]*)?$")]
OrganizationId = Annotated[str, StringConstraints(pattern=r"^org_[a-z0-9_]{1,60}$")]
WebhookEvent = Literal[
    "response.completed", "response.failed", "response.incomplete", "response.cancelled"
]
EVERY_EVENT: tuple[WebhookEvent, ...] = (
    "response.completed",
    "response.failed",
    "response.incomplete",
    "response.cancelled",
)


class WebhookEndpoint(Section):
    """A server that is told of turns' ends."""

    name: Name = Field(description="Shown in the log; what is owed to it is kept under this name.")
    url: WebhookUrl = Field(
        description="Where it listens. Outside development: https, and a public address."
    )
    events: Annotated[tuple[WebhookEvent, ...], Field(min_length=1)] = Field(
        default=EVERY_EVENT, description="What it is told of."
    )
    only_background: bool = Field(
        default=True,
        description="Only of turns that nobody waits for: `background: true`, and schedules'.",
    )
    secret_env: Variable = Field(
        description="Environment variable that holds the secret that signs what is sent; "
        "`whsec_…` is taken as Base64. It may also be given as `NAME_FILE`, the path of a file."
    )
    secret: SecretStr | None = Field(
        default=None, description="The secret itself, filled in from `secret_env`; never in a file."
    )


class Webhooks(Section):
    """Word of turns' ends to others' servers, as OpenAI's webhooks: at least once."""

    endpoints: tuple[WebhookEndpoint, ...] = Field(
        description="The servers that are told; each has its own secret."
    )
    timeout_s: Seconds = Field(description="Seconds for one request to an endpoint.")
    concurrency: Positive = Field(
        description="Requests to one endpoint at once, from one gateway process."
    )
    attempts: Positive = Field(
        description="How often an event is sent before it is given up. With the pauses below, 14 "
        "take about a day."
    )
    backoff_s: Seconds = Field(
        description="Seconds before the second attempt; each pause after it is three times as "
        "long, give or take a third, so that a crowd does not come back at once."
    )
    backoff_max_s: Seconds = Field(description="Seconds that a pause lasts at most.")
    poll_s: Seconds = Field(description="Seconds between two looks for what is to be sent.")
    keep_days: Positive = Field(
        description="Days that an event that could not be sent stays in the table `outbox`, to be "
        "looked at."
    )


class Schedules(Section):
    """Turns that conversations begin by themselves."""

    per_conversation: Positive = Field(
        description="Schedules to come in one conversation; one more gets 409."
    )
    per_organization: Positive = Field(
        description="Schedules to come in one organization; one more gets 409."
    )
    min_interval_s: Seconds = Field(
        description="Seconds at least between two times of one schedule; less gets 400."
    )
    late_s: Seconds = Field(
        description="Seconds by which a turn may begin late, after everything was down; then its "
        "time is skipped."
    )
    concurrency: Positive = Field(
        description="Scheduled turns that one gateway process begins at once."
    )
    poll_s: Seconds = Field(description="Seconds between two looks for what is due.")
    keep_days: Positive = Field(
        description="Days that a schedule whose last time is over can still be looked at."
    )


class Retention(Section):
    """How long conversations are kept after what was last said in them."""

    default_days: Positive | None = Field(description="Days; None: for good.")
    organizations: Annotated[
        Mapping[OrganizationId, Positive | None], AfterValidator(FrozenDict)
    ] = Field(description="The same for organizations that have a word of their own, by id.")
    sweep_s: Seconds = Field(description="Seconds between two looks for conversations to delete.")
    per_second: Annotated[Number, Field(gt=0)] = Field(
        description="Conversations deleted per second at most, in all."
    )
