"""Which providers there are. A new one is one file in this folder and one line here.

Modules are named, not imported, so that a process loads only the SDKs of the providers it uses:
each costs a second and tens of megabytes.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import cast

from agents.spec import AgentSpec, EmbedderSpec
from contracts.agents import Agent, Embedder
from contracts.errors import InvalidRequest

PROVIDERS: dict[str, str] = {
    "openai": "agents.openai_api",
    "gemini": "agents.gemini_api",
}
"""Provider name → a module with `build(spec: AgentSpec) -> Agent`, and where the provider has
embeddings `build_embedder(spec: EmbedderSpec) -> Embedder`."""


def build(spec: AgentSpec) -> Agent:
    """The adapter of this endpoint. Blocks while an SDK is imported: call it at start.

    Raises:
        InvalidRequest: unknown provider, or a spec that its adapter cannot use.
    """
    return cast(Agent, _module(f"Agent '{spec.name}'", spec.provider).build(spec))


def build_embedder(spec: EmbedderSpec) -> Embedder:
    """The adapter of this embedder. Blocks likewise.

    Raises:
        InvalidRequest: unknown provider, one without embeddings, or a spec that it cannot use.
    """
    who = f"Embedder '{spec.name}'"
    make = getattr(_module(who, spec.provider), "build_embedder", None)
    if make is None:
        why = f"{who}: the provider '{spec.provider}' has no embeddings here."
        raise InvalidRequest(why, param="provider")
    return cast(Embedder, make(spec))


def _module(who: str, provider: str) -> ModuleType:
    module = PROVIDERS.get(provider)
    if module is None:
        raise InvalidRequest(
            f"{who}: no provider is called '{provider}'; there are {', '.join(sorted(PROVIDERS))}.",
            param="provider",
        )
    return import_module(module)
