"""Which providers there are. A new one is one file in this folder and one line here.

Modules are named, not imported, so that a process loads only the SDKs of the providers it uses:
each costs a second and tens of megabytes.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from agents.spec import AgentSpec
from contracts.agents import Agent
from contracts.errors import InvalidRequest

PROVIDERS: dict[str, str] = {
    "openai": "agents.openai_api",
    "gemini": "agents.gemini_api",
}
"""Provider name → a module with `build(spec: AgentSpec) -> Agent`."""


def build(spec: AgentSpec) -> Agent:
    """The adapter of this endpoint. Blocks while an SDK is imported: call it at start.

    Raises:
        InvalidRequest: unknown provider, or a spec that its adapter cannot use.
    """
    module = PROVIDERS.get(spec.provider)
    if module is None:
        raise InvalidRequest(
            f"Agent '{spec.name}': no provider is called '{spec.provider}'; there are"
            f" {', '.join(sorted(PROVIDERS))}.",
            param="provider",
        )
    return cast(Agent, import_module(module).build(spec))
