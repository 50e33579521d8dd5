"""Embeddings: OpenAI's `POST /v1/embeddings`, Gemini's `batchEmbedContents` and `embedContent`.

Vectors come from `simulator.words`, so that what shares words is near. Scripts hold here as they do
for answers that are not streamed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from sys import byteorder
from typing import Any, cast

from simulator import gemini_wire, openai_wire
from simulator.asks import Ask, Embeds, Refusal, body_of, limit_of, model_of
from simulator.wire import Outcome, Wire, dumps
from simulator.words import vector

OPENAI_DIMENSIONS = 1536
GEMINI_DIMENSIONS = 3072
MAX_DIMENSIONS = 3072
MAX_TEXTS = 2048


class _Unstreamed:
    """An answer that never comes in pieces."""

    __slots__ = ("_ask", "_embeds")

    def __init__(self, ask: Ask) -> None:
        if ask.embeds is None:
            raise ValueError("no vectors are asked for")
        self._ask = ask
        self._embeds = ask.embeds

    def early(self) -> bytes:
        return b""

    def opening(self) -> bytes:
        return b""

    def token(self, text: bytes) -> bytes:
        return text

    def broken(self, text: bytes) -> bytes:
        return text

    def error(self, fault: str) -> bytes:
        return b""

    def closing(self, outcome: Outcome) -> bytes:
        return b""


class OpenAIVectors(_Unstreamed):
    """A list of embeddings."""

    __slots__ = ()

    def failure(self, fault: str) -> bytes:
        return openai_wire.overloaded()

    def whole(self, outcome: Outcome) -> bytes:
        ask, embeds = self._ask, self._embeds
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(text, embeds)}
            for index, text in enumerate(embeds.texts)
        ]
        tokens = ask.input_tokens()
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return dumps({"object": "list", "data": data, "model": ask.model, "usage": usage})


class GeminiVectors(_Unstreamed):
    """One `ContentEmbedding`, or a list of them."""

    __slots__ = ()

    def failure(self, fault: str) -> bytes:
        return gemini_wire.error(503, Refusal(503, gemini_wire.words(503)))

    def whole(self, outcome: Outcome) -> bytes:
        embeds = self._embeds
        found = [{"values": _packed(text, embeds)} for text in embeds.texts]
        return dumps({"embeddings": found} if embeds.batch else {"embedding": found[0]})


def _packed(text: str, embeds: Embeds) -> list[float] | str:
    numbers = vector(text, embeds.dimensions)
    if not embeds.base64:
        return numbers.tolist()
    if byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()


def read_openai(raw: bytes, path: Mapping[str, str]) -> Ask:
    """The ask in OpenAI's body. `input` is a text or a list of texts; tokens are not taken."""
    body = body_of(raw)
    model = model_of(body)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise Refusal(400, "'input' must be a string or a non-empty array.", param="input")
    for text in cast("list[object]", texts):
        if not isinstance(text, str) or not text:
            raise Refusal(400, "'input' must hold strings that are not empty.", param="input")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        reason = "'encoding_format' must be 'float' or 'base64'."
        raise Refusal(400, reason, param="encoding_format")
    size = _size(limit_of(body, "dimensions"), OPENAI_DIMENSIONS, "dimensions")
    return Ask(model, embeds=Embeds(_few(cast("list[str]", texts)), size, encoding == "base64"))


def read_gemini(raw: bytes, path: Mapping[str, str]) -> Ask:
    """The ask in Gemini's body, one content or a list of requests that hold one each."""
    body = body_of(raw)
    batch = path["verb"] == "batchEmbedContents"
    requests = body.get("requests") if batch else [body]
    if not isinstance(requests, list) or not requests:
        raise Refusal(400, "* BatchEmbedContentsRequest.requests: requests is not specified")
    texts: list[str] = []
    sizes: set[int] = set()
    for n, request in enumerate(cast("list[object]", requests)):
        if not isinstance(request, dict):
            raise Refusal(400, f"Invalid value at 'requests[{n}]': not an object")
        one = cast("dict[str, Any]", request)
        name = one.get("model", f"models/{path['model']}")
        if name.removeprefix("models/") != path["model"]:
            reason = "* BatchEmbedContentsRequest.requests.model: must be that of the address"
            raise Refusal(400, reason)
        text = gemini_wire.text_in(one.get("content"), f"requests[{n}].content")
        if not text:
            raise Refusal(400, "* EmbedContentRequest.content: content contains an empty Part.")
        texts.append(text)
        given = limit_of(one, "outputDimensionality", "output_dimensionality")
        sizes.add(_size(given, GEMINI_DIMENSIONS, "outputDimensionality"))
    if len(sizes) > 1:
        raise Refusal(400, "All requests of a batch must have one outputDimensionality.")
    return Ask(path["model"], embeds=Embeds(_few(texts), sizes.pop(), batch=batch))


def _size(given: int | None, usual: int, name: str) -> int:
    if given is not None and given > MAX_DIMENSIONS:
        raise Refusal(400, f"'{name}' must be at most {MAX_DIMENSIONS}.", param=name)
    return given or usual


def _few(texts: list[str]) -> list[str]:
    if len(texts) > MAX_TEXTS:
        raise Refusal(400, f"At most {MAX_TEXTS} texts at once.", param="input")
    return texts


OPENAI = Wire(read_openai, OpenAIVectors, openai_wire.error, openai_wire.words)
GEMINI = Wire(read_gemini, GeminiVectors, gemini_wire.error, gemini_wire.words)
