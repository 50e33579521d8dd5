"""Settings of what tells which texts are near: embedders, and the Router that asks models."""

from __future__ import annotations

from pydantic import Field, SecretStr

from config.values import BaseUrl, Name, Positive, Seconds, Section, Text, Variable


class Embedder(Section):
    """A model that turns texts into vectors. Only `provider` and `model` must be given."""

    provider: Name = Field(description="A key of `providers`.")
    model: Text = Field(description="The model's name as the provider spells it.")
    dimensions: Positive | None = Field(
        default=None,
        description="Numbers that a vector is to have, where the model can do with fewer. None: "
        "its own.",
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="Address of an API compatible with the provider's. None: the provider's own. "
        "Setting it makes the embedder real.",
    )
    api_key_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the key. None: the provider's variables, but "
        "only where `base_url` is None too.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The key itself. Comes from the environment; refused in a file.",
    )
    timeout_s: Seconds = Field(
        default=5.0,
        description="Seconds one call may take. A rule has its own, shorter patience.",
    )
    max_batch: Positive = Field(
        default=64, description="Texts in one call; more are sent in several."
    )

    @property
    def simulated(self) -> bool:
        """Whether nothing real stands behind it: neither a key nor an address is known."""
        return self.api_key is None and self.base_url is None
