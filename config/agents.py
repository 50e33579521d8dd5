"""Settings of what answers: providers, agents, their endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from config.budgets import Price
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

    name: Name | None = Field(
        default=None,
        description="Unique among the agent's endpoints; shown with answers and in figures. None: "
        "the agent's name and the endpoint's number, as `gpt-1`.",
    )
    provider: Name | None = Field(
        default=None,
        description="A key of `providers`. None: the agent's; another one needs a `model` too.",
    )
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
    max_sessions: Positive | None = Field(
        default=None,
        description="Turns that may run there at once, of all hosts and agents together. Hosts "
        "tell each other within a quarter of a second. None: not known.",
    )
    requests_per_minute: Positive | None = Field(
        default=None,
        description="Requests that the provider takes in any minute, of all hosts together; a host "
        "that hears of no other takes its share. None: not known, its answers tell.",
    )
    tokens_per_minute: Positive | None = Field(
        default=None,
        description="Tokens in any minute, likewise: a request counts its input and the most it "
        "may be answered, until it is known what it came to.",
    )
    price: Price | None = Field(
        default=None, description="What its model costs there. None: see `prices`."
    )
    continues: bool = Field(
        default=True,
        description="Whether its model can go on with an answer that another one began; where it "
        "cannot, the answer begins anew.",
    )

    @property
    def simulated(self) -> bool:
        """Whether nothing real stands behind it: neither a key nor an address is known."""
        return self.api_key is None and self.base_url is None


class Hedge(Section):
    """A second request where the first one does not speak; the one that speaks first is heard."""

    after_ms: Annotated[Number, Field(gt=0)] = Field(
        description="Milliseconds without a first token after which it is sent."
    )
    max_usd: Annotated[Number, Field(ge=0)] = Field(
        description="US dollars that it may cost, by its estimate. A model without a price is not "
        "asked."
    )
    share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.05, description="Of the agent's turns, how many may be hedged, from 0 to 1."
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
    first_token_s: Seconds = Field(
        default=20.0,
        description="Seconds an endpoint may stay silent before its first token; then another one "
        "is asked. Reasoning models think for long before they speak: give them more.",
    )
    timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds it may stay silent between two tokens.",
    )
    attempts: Annotated[Positive, Field(le=15)] = Field(
        default=3,
        description="Requests that one turn may make in all, when the error is one that may pass.",
    )
    retry_s: Seconds = Field(
        default=30.0,
        description="Seconds from its beginning in which a turn may make a further request.",
    )
    retry_usd: Annotated[Number, Field(ge=0)] | None = Field(
        default=None,
        description="US dollars that a turn's requests after the first may cost. None: as much as "
        "its `attempts` and budgets allow.",
    )
    on_failure: FailurePolicy = Field(
        default="continue",
        description="What becomes of a begun answer whose provider fails in its middle. "
        "`continue`: another endpoint goes on from what was said. `restart`: it begins anew, and "
        "what was said is taken back. `stop`: the answer fails and keeps what was said.",
    )
    fallbacks: tuple[Name, ...] = Field(
        default=(),
        description="Agents that are asked, in this order, where none of its endpoints answers.",
    )
    hedge: Hedge | None = Field(
        default=None, description="A second request for a slow first token. None: it is waited for."
    )
    max_sessions: Positive = Field(
        default=2_000,
        description="Turns of this agent that may run at once in one host; also the size of its "
        "connection pools. One more gets 503 with `Retry-After`.",
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
        description="Where its model is served. Each turn goes to the one that will most likely "
        "speak first, within what each can take.",
    )

    @property
    def simulated(self) -> bool:
        """Whether nothing real stands behind any of its endpoints."""
        return all(endpoint.simulated for endpoint in self.endpoints)

    @property
    def needs_simulator(self) -> bool:
        """Whether nothing real stands behind one of them."""
        return any(endpoint.simulated for endpoint in self.endpoints)

    @property
    def providers(self) -> frozenset[str]:
        """Whom its endpoints ask."""
        return frozenset(endpoint.provider or self.provider for endpoint in self.endpoints)

    def endpoint_names(self, agent: str) -> tuple[str, ...]:
        """The names of its endpoints, in their order."""
        return tuple(
            endpoint.name or f"{agent}-{number}"
            for number, endpoint in enumerate(self.endpoints, start=1)
        )


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
