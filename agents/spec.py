"""The plain values an adapter is built from: they pickle, and hold no client."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One endpoint of one agent.

    Attributes:
        name: The agent's name; errors and logs say it.
        provider: A key of `agents.registry.PROVIDERS`.
        model: The provider's name of the model.
        instructions: The agent's prompt. Not read here: a turn decides what goes into
            `ModelRequest.instructions`, which is all that is ever sent.
        api_key: Never shown. None: the server wants none (Ollama, the simulator); the
            environment's key is not used in its place.
        base_url: Where the API lives. None: the provider's own address.
        api: Which of a provider's APIs to speak, where it has several (`chat`, `responses`).
        first_token_s: Seconds without a byte until the first text. None: `timeout_s`.
        timeout_s: Seconds without a byte after it.
        silent_s: Seconds without a byte after which a stream that has spoken counts as silent.
        total_timeout_s: Seconds one stream may last, whatever arrives.
        connect_timeout_s: Seconds to a connection, name lookup and TLS included.
        max_sessions: Streams that may run at once; one more is `Busy`.
        pace_s: Seconds that a stream rests after each read that brought text, so that what comes
            meanwhile is read at once. 0: read as soon as there is something.
        max_event_bytes: The largest single event a provider may send.
    """

    name: str
    provider: str
    model: str
    instructions: str | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    api: str | None = None
    first_token_s: float | None = None
    timeout_s: float = 60.0
    silent_s: float = 3.0
    total_timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    max_sessions: int = 2000
    pace_s: float = 0.0
    max_event_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """One embedder.

    Attributes:
        name: Errors and logs say it.
        provider: A key of `agents.registry.PROVIDERS`.
        model: The provider's name of the model.
        dimensions: How many numbers a vector is to have. None: the model's own.
        api_key: As in `AgentSpec`.
        base_url: Likewise.
        timeout_s: Seconds one call may take.
        connect_timeout_s: Seconds to a connection, name lookup and TLS included.
        max_batch: Texts in one call.
        max_answer_bytes: The largest answer a provider may send.
    """

    name: str
    provider: str
    model: str
    dimensions: int | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    max_batch: int = 64
    max_answer_bytes: int = 1 << 24
