"""Embedders as the Router builds them: address, key and model are final."""

from __future__ import annotations

from agents.spec import EmbedderSpec
from config.resolve import SIMULATED_KEY
from config.settings import Settings


def embedder_specs(settings: Settings) -> dict[str, EmbedderSpec]:
    """Each embedder that can be had: one without a key and address only where there is a simulator.

    The others are no fault as long as nobody asks them.
    """
    simulator = settings.simulator.url
    specs: dict[str, EmbedderSpec] = {}
    for name, embedder in settings.embedders.items():
        provider = settings.providers[embedder.provider]
        if not embedder.simulated:
            base_url = embedder.base_url or provider.base_url
            api_key = embedder.api_key.get_secret_value() if embedder.api_key else None
        elif simulator is not None and settings.simulator.mode != "never":
            base_url = f"{simulator.rstrip('/')}{provider.simulator_path}"
            api_key = SIMULATED_KEY
        else:
            continue
        specs[name] = EmbedderSpec(
            name=name,
            provider=embedder.provider,
            model=embedder.model,
            dimensions=embedder.dimensions,
            api_key=api_key,
            base_url=base_url,
            timeout_s=embedder.timeout_s,
            max_batch=embedder.max_batch,
        )
    return specs
