"""Every provider's embeddings against the simulator, and against what its SDK sends and reads."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from struct import pack
from typing import Any

import httpx2
import openai
import orjson
import pytest
from google import genai
from google.genai import types

from agents.registry import PROVIDERS, build_embedder
from agents.sdk import caught
from agents.spec import EmbedderSpec
from contracts.errors import InvalidRequest, ProviderProtocol
from tests.agents.canned import CannedServer
from tests.agents.conformance import KEY
from tests.agents.embedding_conformance import EmbeddingConformance, failed, vectors
from tests.agents.simulated import EMBEDDING, SimulatedEmbeddings
from tests.support.simulator import SimulatorProcess

TEXTS = ["My invoice is wrong.", "Zoë 🦊"]


@pytest.fixture(params=EMBEDDING)
def provider(
    request: pytest.FixtureRequest, agents_simulator: SimulatorProcess
) -> SimulatedEmbeddings:
    return EMBEDDING[request.param](agents_simulator)


class TestEveryEmbedder(EmbeddingConformance):
    """The suite, once per provider."""


def test_no_provider_is_left_out() -> None:
    assert set(EMBEDDING) == set(PROVIDERS)


def openai_as_the_sdk_does(http: httpx2.Client, url: str | None, dimensions: int | None) -> Any:
    address = url and f"{url}/v1"
    client = openai.OpenAI(api_key=KEY, base_url=address, http_client=http, max_retries=0)
    size = {} if dimensions is None else {"dimensions": dimensions}
    answer = client.embeddings.create(model="m", input=TEXTS, **size)  # type: ignore[arg-type]
    return [item.embedding for item in answer.data]


def gemini_as_the_sdk_does(http: httpx2.Client, url: str | None, dimensions: int | None) -> Any:
    unused = httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport())
    options = types.HttpOptions(base_url=url, httpx_client=http, httpx_async_client=unused)
    client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    config = types.EmbedContentConfig(output_dimensionality=dimensions)
    contents: Any = TEXTS
    answer = client.models.embed_content(model="m", contents=contents, config=config)
    return [each.values for each in answer.embeddings or []]


Does = Callable[[httpx2.Client, str | None, int | None], Any]
SDK: dict[str, tuple[Does, bytes]] = {
    "openai": (openai_as_the_sdk_does, b'{"data":[{"embedding":"","index":0}]}'),
    "gemini": (gemini_as_the_sdk_does, b"{}"),
}


@pytest.mark.parametrize("dimensions", [None, 24])
@pytest.mark.parametrize("kind", SDK)
async def test_the_request_is_the_sdks(
    kind: str, dimensions: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    does, reply = SDK[kind]
    theirs = caught(lambda http: does(http, None, dimensions), reply)
    embedder: Any = build_embedder(EmbedderSpec("e", kind, "m", dimensions, api_key=KEY))
    try:
        ours = embedder._wire.ask(TEXTS)
    finally:
        await embedder.aclose()
    assert str(ours.url) == str(theirs.url)
    assert orjson.loads(ours.body) == orjson.loads(theirs.content)
    for name in ("authorization", "x-goog-api-key", "content-type", "user-agent"):
        assert embedder._client.template.headers.get(name) == theirs.headers.get(name)
    assert KEY in str(dict(embedder._client.template.headers))


@pytest.mark.parametrize("dimensions", [None, 24])
@pytest.mark.parametrize("kind", SDK)
async def test_the_answer_is_read_as_the_sdk_reads_it(
    kind: str, dimensions: int | None, agents_simulator: SimulatorProcess
) -> None:
    with httpx2.Client(trust_env=False) as http:
        theirs = SDK[kind][0](http, agents_simulator.url, dimensions)
    spec = EMBEDDING[kind](agents_simulator).spec(dimensions=dimensions)
    assert await vectors(build_embedder(spec), *TEXTS) == theirs
    assert len(theirs) == 2


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def packed(*numbers: float) -> str:
    return b64encode(pack(f"<{len(numbers)}f", *numbers)).decode()


def listed(*embeddings: Any) -> bytes:
    data = [{"index": n, "embedding": each} for n, each in enumerate(embeddings)]
    return orjson.dumps({"data": data})


async def test_vectors_come_in_the_order_of_their_numbers() -> None:
    data = [{"index": 1, "embedding": packed(2, 3)}, {"index": 0, "embedding": [0.5, 1]}]
    async with CannedServer([whole(orjson.dumps({"data": data}))]) as server:
        spec = EmbedderSpec("e", "openai", "m", base_url=server.url)
        assert await vectors(build_embedder(spec), "a", "b") == [[0.5, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (listed([1.0]), "1 vectors for 2 texts"),
        (listed([1.0], [1.0], [1.0]), "3 vectors for 2 texts"),
        (listed([1.0], [1.0, 2.0]), "vectors of 1, 2 numbers"),
        (listed([1.0], []), "no array of numbers"),
        (listed([1.0], ["x"]), "no array of numbers"),
        (listed([1.0], [True]), "no array of numbers"),
        (listed([1.0], None), "no array of numbers"),
        (listed(packed(1), packed(float("nan"))), "no array of numbers"),
        (listed(packed(1), "AAAA"), "cut off"),
        (listed(packed(1), "%%%"), "not base64"),
        (b'{"data":[{"index":1,"embedding":[1]},{"index":1,"embedding":[1]}]}', "numbered"),
        (b'{"data":[{"index":7,"embedding":[1]},{"index":0,"embedding":[1]}]}', "numbered"),
        (b'{"data":{}}', "data is not an array"),
        (b"[]", "the answer is not an object"),
        (b"<html>", "not JSON"),
    ],
)
async def test_what_is_no_vector_is_the_providers_fault(body: bytes, says: str) -> None:
    async with CannedServer([whole(body)]) as server:
        spec = EmbedderSpec("e", "openai", "m", base_url=server.url)
        error = await failed(build_embedder(spec), "a", "b")
    assert type(error) is ProviderProtocol
    assert says in error.message


async def test_other_dimensions_than_asked_for() -> None:
    async with CannedServer([whole(listed([1.0, 2.0]))]) as server:
        spec = EmbedderSpec("e", "openai", "m", 3, base_url=server.url)
        assert "vectors of 2 numbers" in (await failed(build_embedder(spec), "a")).message


async def test_a_redirect_does_not_take_the_key_along() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    async with CannedServer([moved]) as server:
        spec = EmbedderSpec("e", "openai", "m", api_key=KEY, base_url=server.url)
        assert "redirects" in (await failed(build_embedder(spec), "a")).message


@pytest.mark.parametrize("kind", EMBEDDING)
def test_without_a_key_and_a_server(kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build_embedder(EmbedderSpec("e", kind, "m"))
    assert caught.value.param == "api_key"


def test_an_unknown_provider() -> None:
    with pytest.raises(InvalidRequest, match="Embedder 'e': no provider is called 'oracle'"):
        build_embedder(EmbedderSpec("e", "oracle", "m", api_key=KEY))
