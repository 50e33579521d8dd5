"""Everything that can be set. `base.yaml` holds the defaults; the descriptions say why.

A field without a default must be in the files; agents, endpoints and rules have defaults here, so
that a new one is a short entry. The table in `docs/settings.md` is made from this module.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from config.agents import Agent, Provider, Simulator
from config.budgets import Price, SpendingLimits
from config.embedders import Embedder
from config.errands import Retention, Schedules, Webhooks
from config.rules import Rule
from config.values import (
    Milliseconds,
    Natural,
    Number,
    Port,
    Positive,
    Seconds,
    Section,
    Table,
    Text,
)

Environment = Literal["development", "staging", "production"]


class Gateway(Section):
    """The edge: HTTP and WebSocket."""

    host: Text = Field(
        description="Address to listen on. Beyond loopback a key is required, in development too."
    )
    port: Port = Field(description="Port to listen on.")
    replicas: Positive = Field(
        description="Gateway processes. One carries some thousand sockets; add cores first."
    )
    cpus: Number = Field(ge=0, description="CPUs that Ray reserves for each gateway process.")
    max_sockets: Positive = Field(
        description="WebSockets, streams and requests open at once in one gateway process; one "
        "more gets 429. Each costs about 50 KB."
    )
    max_body_bytes: Positive = Field(
        description="Bytes of a request body or WebSocket frame; more gets 413."
    )
    send_queue_events: Positive = Field(
        description="Events waiting for one slow reader; one more and it is cut, to resume by "
        "its cursor."
    )
    send_queue_bytes: Positive = Field(
        description="Bytes of text waiting for one slow reader; likewise."
    )
    request_timeout_s: Seconds = Field(
        description="Seconds for a command to be answered, before 503. A durable write takes "
        "milliseconds; this covers a host that dies and another that is asked instead."
    )
    body_timeout_s: Seconds = Field(
        description="Seconds for a request body to arrive, so that slow senders hold no socket."
    )
    open_timeout_s: Seconds = Field(
        description="Seconds for a WebSocket's `session.open` to arrive."
    )
    keepalive_s: Seconds = Field(
        description="Seconds between signs of life on a silent stream; proxies cut at 30 to 60."
    )
    ticket_ttl_s: Seconds = Field(
        description="Seconds a WebSocket ticket is good for; it stands in a URL, so keep it short."
    )
    cors_origins: tuple[Text, ...] = Field(
        description="Origins whose pages may call the API from a browser; the chat page needs none."
    )
    pipe_silence_s: Seconds = Field(
        description="Seconds of silence after which a host's pipe is opened anew. Acting early is "
        "safe, since epochs fence; three missed keep-alives are worth it."
    )
    reattach_s: Seconds = Field(
        description="Seconds that sockets and streams look for their session after its host is "
        "gone or has handed it on. Only then are they told to come back."
    )
    send_timeout_s: Seconds = Field(
        description="Seconds after which a client that takes nothing is cut, to resume by its "
        "cursor."
    )
    command_batch: Positive = Field(description="Commands sent to a host in one call at most.")
    drain_s: Seconds = Field(
        description="Seconds over which a gateway that is about to stop sends its sockets and "
        "streams away, evenly; they come back to another one."
    )


class Auth(Section):
    """The doors, first form: one key, one organization."""

    api_key: SecretStr | None = Field(
        description="Bearer key of the API, from `TROUPE_API_KEY` or the file that "
        "`TROUPE_API_KEY_FILE` names. None: open, on loopback in development alone."
    )
    admin_key: SecretStr | None = Field(
        description="Bearer key of the operators' API under `/admin/`, from `TROUPE_ADMIN_KEY` or "
        "the file that `TROUPE_ADMIN_KEY_FILE` names. None: open where the API is, else closed."
    )
    organization: Annotated[str, StringConstraints(pattern=r"^org_[a-z0-9_]{1,60}$")] = Field(
        description="The organization that everything belongs to."
    )


class Pace(Section):
    """How a host's pipes are paced: merge the bulk, never hold back what a person waits for."""

    bulk_ms: Milliseconds = Field(
        description="Milliseconds that text is gathered and merged. Longer costs less CPU and "
        "reads less smoothly."
    )
    bulk_max_ms: Milliseconds = Field(
        description="Milliseconds that it is gathered at most, when many speak."
    )
    bulk_per_s: Positive = Field(
        description="Pieces of text that one host sends in a second before it gathers longer. Each "
        "costs the same whatever it carries; a core carries some thousands."
    )
    phases: Positive = Field(
        description="Ticks that sessions' bulk text is spread over within `bulk_ms`, so that a "
        "first token never waits behind everybody's text at once."
    )
    urgent_ms: Milliseconds = Field(
        description="Milliseconds at least between two urgent parcels (first token, accepted, end)."
    )
    pipe_keepalive_s: Seconds = Field(
        description="Seconds after which a silent pipe carries an empty parcel."
    )


class Hosts(Section):
    """Session hosts: the processes that hold sessions."""

    count: Positive = Field(description="Host processes; each uses one core at most.")
    cpus: Number = Field(gt=0, description="CPUs that Ray reserves for each; 0 would not scale.")
    memory_mb: Positive = Field(description="MiB that Ray reserves for each.")
    sessions_per_host: Positive = Field(
        description="Active sessions in one host; one more gets 429. 1 gives each session a "
        "process of its own."
    )
    mailbox_size: Positive = Field(
        description="Turns waiting in one session; one more gets 429. People do not queue more."
    )
    idle_s: Seconds = Field(
        description="Seconds without a reader or turn before a session leaves memory; it wakes "
        "in milliseconds."
    )
    log_linger_s: Seconds = Field(
        description="Seconds that an ended turn's events stay in memory for readers that return; "
        "later they are rebuilt from Postgres."
    )
    log_events: Positive = Field(
        description="Events one session keeps in memory; beyond, the oldest go."
    )
    max_turn_s: Seconds = Field(description="Seconds a turn may take in all; then it fails.")
    turn_attempts: Positive = Field(
        description="Hosts that may try one turn, each after the one before it was lost; then it "
        "fails. A turn that brings hosts down stops there. 1: no second host tries."
    )
    max_answer_chars: Positive = Field(
        description="Characters of one answer; at the limit it ends as incomplete."
    )
    save_attempts: Positive = Field(
        description="How often an ended turn is offered to a Postgres that is away, about a second "
        "apart, before it ends as failed; likewise a deletion whose answer was lost."
    )
    pipe_events: Positive = Field(
        description="Events waiting for one gateway; one more and its pipe is cut and its readers "
        "resume by cursor."
    )
    drain_s: Seconds = Field(
        description="Seconds that running turns have to end when a host stops."
    )
    pace: Pace


class Context(Section):
    """What sessions remember: Postgres holds the truth, Redis a hot copy."""

    database_url: SecretStr | None = Field(
        description="Postgres, from `DATABASE_URL`. None: an embedded server, in development alone."
    )
    redis_url: SecretStr | None = Field(
        description="Redis or Valkey, from `REDIS_URL`. None: an embedded server, in development "
        "alone."
    )
    hot_ttl_s: Seconds = Field(
        description="Seconds that a conversation stays in Redis after its last turn. People who "
        "are still there answer within the hour."
    )
    journal_ttl_s: Seconds = Field(
        description="Seconds that what a turn has said stays in Redis, for another host to go on "
        "with it; more than `hosts.max_turn_s`."
    )
    window_messages: Positive = Field(
        description="Newest messages of a conversation that are loaded and kept hot."
    )
    pool_min: Natural = Field(description="Postgres connections that each process keeps open.")
    pool_max: Positive = Field(
        description="Postgres connections of each process at most. Writes share transactions, so "
        "few do; all processes together must stay under the server's `max_connections`."
    )
    redis_connections: Positive = Field(description="Redis connections of each process at most.")
    gather_ms: Milliseconds = Field(
        description="Milliseconds that writes wait for company before their shared transaction."
    )
    group_max: Positive = Field(description="Writes that share one transaction at most.")
    queue_max: Positive = Field(
        description="Writes waiting in one process; one more gets 503 with `Retry-After`."
    )
    connect_timeout_s: Seconds = Field(description="Seconds to reach a server.")
    postgres_timeout_s: Seconds = Field(description="Seconds for one statement.")
    redis_timeout_s: Seconds = Field(
        description="Seconds for one Redis command; then Postgres is asked, so keep it short."
    )
    redis_retry_s: Seconds = Field(description="Seconds that Redis is left alone after it failed.")
    migrate_timeout_s: Seconds = Field(
        description="Seconds to wait for migrations, another process's included."
    )
    replay_events: Positive = Field(
        description="Events rebuilt for one reader at most; beyond, it gets a snapshot."
    )


class Circuit(Section):
    """How much an endpoint may fail before it is left alone, and for how long."""

    streak: Annotated[Positive, Field(le=1000)] = Field(
        description="Failures in a row that open its circuit. A turn makes up to its agent's "
        "`attempts` requests, so one turn may do that alone."
    )
    outcomes: Annotated[Positive, Field(le=1000)] = Field(
        description="Newest outcomes of its requests that are looked at in each host."
    )
    enough: Annotated[Positive, Field(le=1000)] = Field(
        description="Of these so many must be known before their share counts."
    )
    share: Annotated[Number, Field(gt=0, le=1)] = Field(
        description="Of these, how many failed to open it, from 0 to 1."
    )
    first_s: Annotated[Seconds, Field(le=3600)] = Field(
        description="Seconds that it stays open the first time; twice as long each time after, "
        "and up to a fifth longer, so that hosts do not all probe at once."
    )
    longest_s: Annotated[Seconds, Field(le=3600)] = Field(
        description="Seconds that it stays open at most after failures. What is down for long is "
        "found well again so much later."
    )
    limit_s: Annotated[Seconds, Field(le=3600)] = Field(
        description="Seconds that it stays open at most for a rate limit, however long the "
        "provider asks for."
    )
    key_s: Annotated[Seconds, Field(le=3600)] = Field(
        description="Seconds that it stays open once its key is refused. Only a person mends that."
    )
    probe_s: Annotated[Seconds, Field(le=3600)] = Field(
        description="Seconds after which a probe that has not spoken makes room for another."
    )


class Routing(Section):
    """What decides which agent answers, and how that is changed while Troupe runs."""

    poll_s: Seconds = Field(
        description="Seconds between two looks of each process for policies that were put; one "
        "statement each, which reads an index."
    )
    policy_chars: Positive = Field(
        description="Characters of one policy. A thousand cost about a millisecond to read, in "
        "every process."
    )
    policy_scopes: Positive = Field(
        description="Policies in force at most: the base's, and one for each organization that "
        "has its own."
    )
    circuit: Circuit
    forget_s: Seconds = Field(
        description="Seconds after which an endpoint that is not asked counts as twice as quick, "
        "so that a slow one is tried again."
    )
    silent_s: Seconds = Field(
        description="Seconds without a token after which an answer that has begun counts as "
        "silent. Where three and half of an endpoint's are, others are asked. Looked at each "
        "second."
    )
    backoff_s: Annotated[Number, Field(ge=0, le=60)] = Field(
        description="Seconds before a turn asks again where it has failed already, times the "
        "requests it has made; elsewhere it asks at once."
    )
    backoff_max_s: Annotated[Number, Field(ge=0, le=60)] = Field(
        description="Seconds of that at most, also where the provider wishes for more: somebody "
        "waits."
    )
    router_replicas: Natural = Field(
        description="Processes that ask models on behalf of rules. 0: none, and such a rule leads "
        "to its `else`."
    )
    router_cpus: Number = Field(
        ge=0, description="CPUs that Ray reserves for each; without such rules it does nothing."
    )
    router_gather_ms: Milliseconds = Field(
        description="Milliseconds that a message waits for others, to be embedded with them in "
        "one call."
    )
    router_examples: Positive = Field(
        description="Examples whose vectors each of these processes keeps; the ones asked for "
        "longest ago go. Each costs 4 bytes for every number of a vector."
    )
    router_asks: Positive = Field(
        description="Questions of one host that may wait for an answer; one more leads to `else`."
    )
    question_chars: Positive = Field(
        description="Characters of a message that a model is asked about. What it is about is said "
        "early, and every character is paid for."
    )


class Limits(Section):
    """What one request may hold; OpenAI's figures where it has any. More gets 400."""

    max_message_chars: Positive = Field(description="Characters of one message.")
    max_input_items: Positive = Field(description="Items of one `input` or list of items.")
    max_instructions_chars: Positive = Field(description="Characters of `instructions`.")
    max_metadata_pairs: Positive = Field(description="Pairs in `metadata`.")
    max_metadata_key_chars: Positive = Field(description="Characters of a metadata key.")
    max_metadata_value_chars: Positive = Field(description="Characters of a metadata value.")
    max_id_chars: Positive = Field(
        description="Characters of a caller's own id (`user`, idempotency key)."
    )
    page_items: Positive = Field(description="Items of a list where `limit` is not given.")
    max_page_items: Positive = Field(description="Largest `limit` of a list.")


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        description="The least severe messages to write."
    )
    format: Literal["text", "json"] = Field(description="`text` for people, `json` for collectors.")


class Settings(Section):
    """All settings of one instance. Frozen, picklable; secrets never show in its repr."""

    environment: Environment = Field(
        description="From `TROUPE_ENV` alone; chooses the file laid over `base.yaml`."
    )
    gateway: Gateway
    auth: Auth
    hosts: Hosts
    context: Context
    limits: Limits
    routing: Routing
    webhooks: Webhooks
    schedules: Schedules
    retention: Retention
    budgets: SpendingLimits
    prices: Table[Price] = Field(
        description="What models cost, by name or `provider/name`; `*` and `?` stand for any text "
        "or character, and the entry that says most counts. What has no price is not counted."
    )
    log: Log
    simulator: Simulator
    providers: Table[Provider] = Field(
        description="The providers that have an adapter in `agents/`, by name."
    )
    embedders: Table[Embedder] = Field(
        description="What tells which texts are near, by name; a semantic rule names one."
    )
    agents: Annotated[Table[Agent], Field(min_length=1)] = Field(
        description="The agents, by name; `model` in a request names one of them."
    )
    rules: tuple[Rule, ...] = Field(
        description="What `model: auto` goes through, in order; the first match wins."
    )

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return self.auth.api_key is None


def is_loopback(host: str) -> bool:
    """Whether a listening address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
