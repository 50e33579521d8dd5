"""OpenAI's `POST /embeddings` on the wire: what is posted, how it is read. No I/O.

Vectors are asked for in base64, as the SDK does: a quarter of the bytes, and nothing to parse.
Compatible servers that know only numbers answer with those.
"""

from __future__ import annotations

import binascii
from array import array
from base64 import b64decode
from collections.abc import Sequence
from sys import byteorder
from typing import Any

import orjson

from agents.events import Malformed, list_of, object_of
from agents.pool import Ask
from agents.sdk import Template
from agents.spec import EmbedderSpec

_FLOAT_BYTES = 4


class OpenAIEmbeddings:
    """The API `agents.embedding.EmbeddingWire`.

    Args:
        template: Address and headers.
        spec: The model and what its vectors are to be.
    """

    def __init__(self, template: Template, spec: EmbedderSpec) -> None:
        self._url = template.url
        self._fields: dict[str, Any] = {"model": spec.model}
        if spec.dimensions is not None:
            self._fields["dimensions"] = spec.dimensions

    def ask(self, texts: Sequence[str]) -> Ask:
        body = {**self._fields, "input": list(texts), "encoding_format": "base64"}
        return Ask(self._url, orjson.dumps(body))

    def read(self, answer: Any) -> Sequence[object]:
        items = list_of(object_of(answer, "the answer").get("data"), "data")
        found: dict[int, object] = {}
        for place, item in enumerate(items):
            one = object_of(item, "an embedding")
            index = one.get("index", place)
            if type(index) is not int or not 0 <= index < len(items) or index in found:
                raise Malformed("vectors that are not numbered from 0")
            value = one.get("embedding")
            found[index] = _unpacked(value) if isinstance(value, str) else value
        return [found[index] for index in range(len(items))]


def _unpacked(text: str) -> list[float]:
    """32-bit floats, the lowest byte first."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a vector that is not base64") from None
    if len(raw) % _FLOAT_BYTES:
        raise Malformed("a vector that is cut off")
    numbers = array("f", raw)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
