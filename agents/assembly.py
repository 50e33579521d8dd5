"""Joins the parts of an HTTP adapter: spec, template, pool, wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from agents.pool import POOL, Client, Pool, PoolKey
from agents.sdk import Template
from agents.spec import AgentSpec, EmbedderSpec
from agents.streaming import StreamingAgent, Wire
from agents.translate import Translator
from contracts.errors import InvalidRequest

NO_KEY = "none"
"""Sent where a server wants no key. An SDK that is given none takes the environment's, and would
send a real key to whatever `base_url` names."""


class Connected(NamedTuple):
    """What an adapter works with: where its requests go out, how to give that back, who speaks for
    it.
    """

    client: Client
    give_back: Callable[[], Awaitable[None]]
    errors: Translator


def connect(
    spec: AgentSpec | EmbedderSpec,
    *,
    api: str,
    template: Callable[[str], Template],
    pool: Pool,
    kind: str = "agent",
) -> Connected:
    """Take the connections of this key and address from the pool. See `assemble`."""
    if not spec.api_key and not spec.base_url:
        raise InvalidRequest(
            f"{kind.capitalize()} '{spec.name}' has neither a key nor a base_url.", param="api_key"
        )
    api_key = spec.api_key or NO_KEY
    key = PoolKey(spec.provider, api, api_key, spec.base_url, spec.connect_timeout_s)
    client = pool.take(key, lambda: template(api_key))
    secrets = (spec.api_key,) if spec.api_key else ()
    errors = Translator(spec.name, spec.provider, secrets, kind=kind)
    return Connected(client, lambda: pool.give_back(key), errors)


def assemble(
    spec: AgentSpec,
    *,
    api: str,
    template: Callable[[str], Template],
    wire: Callable[[Template, Translator], Wire],
    pool: Pool = POOL,
) -> StreamingAgent:
    """An agent whose connections come from `pool`.

    Args:
        spec: Names and limits.
        api: Tells a provider's APIs apart, where their templates differ.
        template: Called with the key if this is the first agent of its pool key.
        wire: Makes the wire of this agent.
        pool: The process's own, unless a test wants another.

    Raises:
        InvalidRequest: there is neither a key nor a server that may do without one.
    """
    client, give_back, errors = connect(spec, api=api, template=template, pool=pool)
    return StreamingAgent(spec, wire(client.template, errors), client, give_back, errors)
