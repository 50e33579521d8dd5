"""Settings of what answers: providers, agents, their endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from config.values import (
    BaseUrl,
    Name,
    Number,
    Positive,
    Seconds,
    Section,
    Text,
    Variable,
)
from contracts.messages import FailurePolicy, OnBusy


class Provider(Section):
    """Where a provider lives unless an endpoint says otherwise."""

    base_url: BaseUrl = Field(
        description="Address of the provider's own API, used where an endpoint names none."
    )
    api_key_env: tuple[Variable, ...] = Field(
        min_length=1,
        description="Environment variables that may hold the key, the first one set wins; each "
        "may also be given as `NAME_FILE`, the path of a file that holds it.",
    )
    base_url_env: Variable = Field(
        description="Environment variable that replaces `base_url`; the one that the provider's "
        "own SDK reads, so that what works with it works here."
    )
    simulator_path: str = Field(
        default="",
        pattern=r"^(/[^\s?#]*)?$",
        description="What follows the simulator's address to make it this provider's `base_url`.",
    )


class Endpoint(Section):
    """One model behind one address and one key."""

    base_url: BaseUrl | None = Field(
        default=None,
        description="Address of an API compatible with the provider's (Ollama, vLLM, a proxy). "
        "None: the provider's own. Setting it makes the agent real.",
    )
    api_key_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the key. None: the provider's variables, but "
        "only where `base_url` is None too, so that no key reaches a server it was not made for.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The key itself. Comes from the environment; refused in a file.",
    )
    model: Text | None = Field(
        default=None, description="The model's name at this endpoint. None: the agent's `model`."
    )
    region: Text | None = Field(
        default=None, description="Where the endpoint is; a label for balancing and for people."
    )
    weight: Positive = Field(
        default=1, description="Share of the agent's turns, relative to its other endpoints."
    )


class Agent(Section):
    """What a session talks to. Only `provider` and `model` must be given."""

    provider: Name = Field(description="A key of `providers`.")
    model: Text = Field(description="The model's name as the provider spells it.")
    prompt: str | None = Field(
        default=None,
        description="Instructions put before every conversation; a request's own `instructions` "
        "replace them.",
    )
    description: str = Field(default="", description="One line for people who choose an agent.")
    api: Literal["chat", "responses"] | None = Field(
        default=None,
        description="Which of the provider's APIs to speak, where it has several: OpenAI's chat "
        "completions, which every compatible server has, or its Responses. None: `chat`.",
    )
    context_tokens: Positive = Field(
        default=32_000,
        description="Tokens of history sent with a turn; older messages are left out. Below what "
        "models can take, since every turn pays for all of it.",
    )
    max_output_tokens: Positive | None = Field(
        default=8_192,
        description="Tokens one answer may have, thinking included, where the request sets none. "
        "None: the provider's own limit.",
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="Randomness from 0 to 2. None: the provider's default, as many reasoning "
        "models accept no other.",
    )
    timeout_s: Seconds = Field(
        default=60.0,
        description="Seconds the model may stay silent, before its first token or between two. "
        "Reasoning models think for long before they speak.",
    )
    attempts: Positive = Field(
        default=2,
        description="How often a turn may ask its model before the first token, when the error is "
        "one that may pass.",
    )
    max_sessions: Positive = Field(
        default=2_000,
        description="Turns of this agent that may run at once in one host; also the size of its "
        "connection pool. One more gets 429.",
    )
    on_host_loss: FailurePolicy = Field(
        default="continue",
        description="What becomes of an answer whose host is lost in its middle. `continue`: the "
        "model goes on from what was said. `restart`: it begins anew, and what was said is taken "
        "back. `stop`: the answer fails and keeps what was said.",
    )
    on_busy: OnBusy = Field(
        default="queue",
        description="What becomes of a message that comes while an answer runs, where it does not "
        "say so itself. `queue`: it waits its turn. `interrupt`: it ends that answer, which keeps "
        "what was said. `reject`: it is refused.",
    )
    summarize_with: Name | None = Field(
        default=None,
        description="The agent that sums up a conversation's beginning before it falls out of "
        "`context_tokens`; a small model does. None: what falls out is not sent.",
    )
    summary_tokens: Positive = Field(
        default=1_000,
        description="Tokens a summary may have; it takes its place in `context_tokens`.",
    )
    endpoints: tuple[Endpoint, ...] = Field(
        default=(Endpoint(),),
        min_length=1,
        description="Where its model is served, best first. For now the first one is used.",
    )

    @property
    def simulated(self) -> bool:
        """Whether nothing real stands behind it: neither a key nor an address is known."""
        return self.endpoints[0].api_key is None and self.endpoints[0].base_url is None


class Simulator(Section):
    """The stand-in for providers."""

    mode: Literal["fallback", "always", "never"] = Field(
        description="`fallback`: agents without a key and address are simulated. `always`: all "
        "are, so that nothing can be spent. `never`: such an agent stops the start; the only one "
        "that production takes."
    )
    url: BaseUrl | None = Field(
        description="Address of a running simulator. None: `make run` starts one where needed."
    )
