"""Gemini's `batchEmbedContents` on the wire: what is posted, how it is read. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from agents.events import list_of, object_of
from agents.pool import Ask
from agents.sdk import MODEL, Template
from agents.spec import EmbedderSpec


class GeminiEmbeddings:
    """The API `agents.embedding.EmbeddingWire`.

    Args:
        template: Address, with `MODEL` in it, and headers.
        spec: The model and what its vectors are to be.
    """

    def __init__(self, template: Template, spec: EmbedderSpec) -> None:
        model = spec.model
        path = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        url = template.url.replace(f"models/{MODEL}", quote(path))
        self._url = url
        self._fields: dict[str, Any] = {"model": path}
        if spec.dimensions is not None:
            self._fields["outputDimensionality"] = spec.dimensions

    def ask(self, texts: Sequence[str]) -> Ask:
        requests = [
            {**self._fields, "content": {"parts": [{"text": text}], "role": "user"}}
            for text in texts
        ]
        return Ask(self._url, orjson.dumps({"requests": requests}))

    def read(self, answer: Any) -> Sequence[object]:
        items = list_of(object_of(answer, "the answer").get("embeddings"), "embeddings")
        return [object_of(item, "an embedding").get("values") for item in items]
