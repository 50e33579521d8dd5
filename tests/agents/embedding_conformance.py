"""What every adapter for embeddings must do, as tests; see `conformance` for how to use it.

The provider stands for a server whose vectors are near where texts share words, and that plays
scripts: `fault` (one of `FAULTS`) and `retry_after_s`.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

import pytest

from agents.registry import build_embedder
from agents.spec import EmbedderSpec
from contracts.agents import Embedder
from contracts.errors import (
    InvalidRequest,
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from tests.agents.conformance import PATIENCE_S, SILENCE_S, SILENT, check_error

FAULTS: dict[str, type[ProviderError]] = {
    "rate_limit": ProviderRateLimited,
    "overloaded": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "unauthorized": ProviderUnauthorized,
    "bad_request": ProviderRejected,
    "reset": ProviderUnavailable,
    "close": ProviderUnavailable,
    "hang": ProviderTimeout,
    "in_band_error": ProviderUnavailable,
    "stall": ProviderTimeout,
    "abort": ProviderInterrupted,
    "truncate": ProviderInterrupted,
    "malformed": ProviderProtocol,
}


@dataclass(frozen=True)
class Embedded:
    """What the provider was asked, in words that are no provider's."""

    model: str
    texts: list[str]
    dimensions: int | None


class EmbeddingProvider(Protocol):
    """A provider as the suite sees it."""

    def spec(
        self,
        *,
        dimensions: int | None = None,
        max_batch: int = 64,
        timeout_s: float = PATIENCE_S,
        base_url: str | None = None,
        max_answer_bytes: int = 1 << 24,
        **script: int | str,
    ) -> EmbedderSpec:
        """A spec that reaches the server, which plays the script."""
        ...

    async def embedded(self) -> list[Embedded]:
        """Every call since the last `forget`, oldest first."""
        ...

    async def forget(self) -> None: ...


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


async def vectors(embedder: Embedder, *texts: str) -> list[list[float]]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await embedder.embed(texts)
    finally:
        await embedder.aclose()


async def failed(embedder: Embedder, *texts: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await vectors(embedder, *texts)
    check_error(caught.value)
    return caught.value


class EmbeddingConformance:
    """The suite. Needs the fixture `provider`."""

    @pytest.fixture(autouse=True)
    async def _clean(self, provider: EmbeddingProvider) -> None:
        await provider.forget()

    async def test_one_call_gives_one_vector_for_each_text_in_order(
        self, provider: EmbeddingProvider
    ) -> None:
        texts = ["My invoice is wrong.", "Café in Zürich 🦊", "wrong invoices"]
        found = await vectors(build_embedder(provider.spec()), *texts)
        assert len(found) == 3
        assert len({len(vector) for vector in found}) == 1
        assert cosine(found[0], found[2]) > 0.9 > 0.5 > cosine(found[0], found[1])
        [asked] = await provider.embedded()
        assert asked.texts == texts
        assert asked.dimensions is None

    async def test_dimensions_are_asked_for(self, provider: EmbeddingProvider) -> None:
        [vector] = await vectors(build_embedder(provider.spec(dimensions=24)), "one")
        assert len(vector) == 24
        [asked] = await provider.embedded()
        assert asked.dimensions == 24

    async def test_what_it_does_not_take_is_not_sent(self, provider: EmbeddingProvider) -> None:
        embedder = build_embedder(provider.spec(max_batch=2))
        try:
            for texts in ([], ["one", "two", "three"], ["one", ""]):
                with pytest.raises(InvalidRequest) as caught:
                    await embedder.embed(texts)
                assert caught.value.param == "texts"
            assert await provider.embedded() == []
            assert len(await embedder.embed(["one", "two"])) == 2
        finally:
            await embedder.aclose()

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_fault(self, provider: EmbeddingProvider, fault: str) -> None:
        limit_s = SILENCE_S if fault in SILENT else PATIENCE_S
        error = await failed(build_embedder(provider.spec(timeout_s=limit_s, fault=fault)), "one")
        assert type(error) is FAULTS[fault]
        assert len(await provider.embedded()) == 1, "an adapter never retries"

    async def test_when_to_come_back(self, provider: EmbeddingProvider) -> None:
        spec = provider.spec(fault="rate_limit", retry_after_s=7)
        error = await failed(build_embedder(spec), "one")
        assert error.retry_after == 7.0

    async def test_an_answer_that_is_too_large(self, provider: EmbeddingProvider) -> None:
        error = await failed(build_embedder(provider.spec(max_answer_bytes=500)), "one")
        assert type(error) is ProviderProtocol

    async def test_nobody_listens(self, provider: EmbeddingProvider, unused_tcp_port: int) -> None:
        spec = provider.spec(base_url=f"http://127.0.0.1:{unused_tcp_port}")
        assert type(await failed(build_embedder(spec), "one")) is ProviderUnavailable

    async def test_a_closed_one(self, provider: EmbeddingProvider) -> None:
        embedder = build_embedder(provider.spec())
        await embedder.aclose()
        await embedder.aclose()
        assert type(await failed(embedder, "one")) is ProviderUnavailable

    async def test_leaving_drops_the_call(self, provider: EmbeddingProvider) -> None:
        embedder = build_embedder(provider.spec(fault="hang"))
        call = asyncio.ensure_future(embedder.embed(["one"]))
        async with asyncio.timeout(PATIENCE_S):
            while not await provider.embedded():
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await embedder.aclose()
