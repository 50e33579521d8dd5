"""HttpEmbedder: one request, one JSON answer, as many vectors as there were texts.

What a provider's API wants and says is its wire's business; this owns the call: its limits, its
time, and that what comes back is vectors. Nothing is kept from one call to the next but
connections.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import orjson

from agents.answer import Answer
from agents.assembly import connect
from agents.events import Malformed
from agents.pool import POOL, Ask, Client, Pool
from agents.sdk import Template
from agents.spec import EmbedderSpec
from agents.streaming import TRANSPORT_ERRORS, refusal_body
from agents.translate import Translator
from contracts.errors import (
    InvalidRequest,
    ProviderProtocol,
    ProviderTimeout,
    ProviderUnavailable,
)

Vectors = list[list[float]]


class EmbeddingWire(Protocol):
    """One provider's API for embeddings. Serves all calls of an embedder. No I/O."""

    def ask(self, texts: Sequence[str]) -> Ask:
        """The POST for these texts."""
        ...

    def read(self, answer: Any) -> Sequence[object]:
        """What stands for a vector in the answer, in the order of the texts. Raises `Malformed`."""
        ...


class HttpEmbedder:
    """The port `contracts.agents.Embedder` for a provider that is asked over HTTP.

    Args:
        spec: Names and limits.
        wire: The provider's API.
        client: Where requests go out; shared.
        give_back: Called once, by `aclose`.
        errors: Speaks for this embedder.
    """

    def __init__(
        self,
        spec: EmbedderSpec,
        wire: EmbeddingWire,
        client: Client,
        give_back: Callable[[], Awaitable[None]],
        errors: Translator,
    ) -> None:
        self.spec = spec
        self._wire = wire
        self._client = client
        self._give_back = give_back
        self._errors = errors
        self._closed = False

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `contracts.agents.Embedder.embed`."""
        if not 0 < len(texts) <= self.spec.max_batch:
            why = f"Embedder '{self.spec.name}' takes 1 to {self.spec.max_batch} texts at once."
            raise InvalidRequest(why, param="texts")
        if not all(texts):
            raise InvalidRequest("An empty text has no vector.", param="texts")
        body = await self._asked(self._wire.ask(texts))
        try:
            vectors = [_vector(each) for each in self._wire.read(orjson.loads(body))]
        except orjson.JSONDecodeError:
            raise self._errors.error(ProviderProtocol, "an answer that is not JSON") from None
        except Malformed as error:
            raise self._errors.not_vectors(body, str(error)) from None
        if len(vectors) != len(texts):
            why = f"{len(vectors)} vectors for {len(texts)} texts"
            raise self._errors.not_vectors(body, why)
        sizes = {len(vector) for vector in vectors}
        if len(sizes) > 1 or self.spec.dimensions not in (None, *sizes):
            why = f"vectors of {', '.join(str(size) for size in sorted(sizes))} numbers"
            raise self._errors.error(ProviderProtocol, why)
        return vectors

    async def aclose(self) -> None:
        """Give the connections back. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._give_back()

    async def _asked(self, ask: Ask) -> bytes:
        """Send the request and read the whole answer."""
        if self._closed or self._client.closed:
            raise self._errors.error(ProviderUnavailable, "the embedder is closed")
        limit_s = self.spec.timeout_s
        waiting = asyncio.timeout(limit_s)
        answer: Answer | None = None
        try:
            async with waiting:
                answer = await self._client.post(ask)
                await answer.head()
                if answer.status != 200:
                    said = await refusal_body(answer)
                    raise self._errors.status(answer.status, answer.headers, said)
                return await self._body(answer)
        except TRANSPORT_ERRORS as error:
            if waiting.expired():
                why = f"no answer within {limit_s:g} s"
                raise self._errors.error(ProviderTimeout, why) from None
            begun = answer is not None and answer.begun
            raise self._errors.transport(error, begun=begun) from None
        finally:
            if answer is not None:
                answer.close()

    async def _body(self, answer: Answer) -> bytes:
        body = bytearray()
        while data := await answer.read():
            body += data
            if len(body) > self.spec.max_answer_bytes:
                why = f"an answer over {self.spec.max_answer_bytes} bytes"
                raise self._errors.error(ProviderProtocol, why)
        return bytes(body)


def assemble_embedder(
    spec: EmbedderSpec,
    *,
    template: Callable[[str], Template],
    wire: Callable[[Template], EmbeddingWire],
    pool: Pool = POOL,
) -> HttpEmbedder:
    """An embedder whose connections come from `pool`.

    Args:
        spec: Names and limits.
        template: Called with the key if this is the first of its pool key.
        wire: Makes the wire of this embedder.
        pool: The process's own, unless a test wants another.

    Raises:
        InvalidRequest: there is neither a key nor a server that may do without one.
    """
    client, give_back, errors = connect(
        spec, api="embeddings", template=template, pool=pool, kind="embedder"
    )
    return HttpEmbedder(spec, wire(client.template), client, give_back, errors)


def _vector(value: object) -> list[float]:
    """A vector that can be compared. Raises `Malformed`."""
    if not isinstance(value, list) or not value:
        raise Malformed("a vector that is no array of numbers")
    numbers = cast("list[Any]", value)
    # In C, for there are a hundred thousand of them in a batch.
    if not {*map(type, numbers)} <= {float, int} or not all(map(math.isfinite, numbers)):
        raise Malformed("a vector that is no array of numbers")
    return [*map(float, numbers)]
