"""Embeddings of both providers, as their SDKs read them."""

from __future__ import annotations

import math
from typing import Any

import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from simulator.words import stems, vector


def cosine(one: Any, other: Any) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


def test_texts_that_share_words_are_near_however_they_are_bent() -> None:
    one = vector("I was charged twice for my invoices!", 1536)
    near = vector("an invoice that charges me", 1536)
    far = vector("translating a poem into Spanish", 1536)
    assert math.hypot(*one) == pytest.approx(1)
    assert cosine(one, near) > 0.5 > 0.1 > abs(cosine(one, far))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("planning plans", "planned plan"),
        ("translation", "translate"),
        ("billing bills", "billed bill"),
        ("query queries", "querying query"),
        ("classes", "class"),
    ],
)
def test_stems(one: str, other: str) -> None:
    assert set(stems(one)) == set(stems(other)) != set()


def test_every_text_has_a_vector() -> None:
    for text in ("", "the of and", "🦊", "x" * 1_000_000):
        assert math.hypot(*vector(text, 8)) == pytest.approx(1)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_openai(gpt: openai.AsyncOpenAI, encoding: Any) -> None:
    answer = await gpt.embeddings.create(
        model="text-embedding-3-small", input=["an invoice", "invoices"], encoding_format=encoding
    )
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.model == "text-embedding-3-small"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    if encoding == "float":
        one, other = (item.embedding for item in answer.data)
        assert len(one) == 1536
        assert cosine(one, other) == pytest.approx(1)
    # What the SDK asks for where nothing is said is base64, which it unpacks by itself.
    usual = await gpt.embeddings.create(model="m", input="an invoice", dimensions=8)
    assert usual.data[0].embedding == pytest.approx(list(vector("an invoice", 8)))


async def test_gemini(gemini: genai.Client) -> None:
    contents: Any = ["an invoice", "invoices"]
    config = types.EmbedContentConfig(output_dimensionality=16)
    answer = await gemini.aio.models.embed_content(
        model="gemini-embedding-001", contents=contents, config=config
    )
    assert answer.embeddings is not None
    assert [each.values for each in answer.embeddings] == [
        list(vector(text, 16)) for text in contents
    ]


async def test_gemini_one_by_one(http: httpx2.AsyncClient) -> None:
    body = {"content": {"parts": [{"text": "an invoice"}]}}
    answer = await http.post("/v1beta/models/m:embedContent", json=body)
    assert len(answer.json()["embedding"]["values"]) == 3072


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/embeddings", {"model": "m"}),
        ("/v1/embeddings", {"model": "m", "input": []}),
        ("/v1/embeddings", {"model": "m", "input": [""]}),
        ("/v1/embeddings", {"model": "m", "input": [[1, 2]]}),
        ("/v1/embeddings", {"model": "m", "input": ["x"] * 2049}),
        ("/v1/embeddings", {"model": "m", "input": "x", "encoding_format": "hex"}),
        ("/v1/embeddings", {"model": "m", "input": "x", "dimensions": 0}),
        ("/v1/embeddings", {"model": "m", "input": "x", "dimensions": 99_999}),
        ("/v1beta/models/m:batchEmbedContents", {}),
        ("/v1beta/models/m:batchEmbedContents", {"requests": ["x"]}),
        ("/v1beta/models/m:batchEmbedContents", {"requests": [{"content": {"parts": []}}]}),
        (
            "/v1beta/models/m:batchEmbedContents",
            {"requests": [{"model": "models/other", "content": {"parts": [{"text": "x"}]}}]},
        ),
        ("/v1beta/models/m:embedContent", {}),
    ],
)
async def test_what_is_wrong_is_refused(
    http: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    answer = await http.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models/m:batchEmbedContents"])
async def test_a_script_holds_here_too(http: httpx2.AsyncClient, path: str) -> None:
    body = {"model": "m", "input": "x", "requests": [{"content": {"parts": [{"text": "x"}]}}]}
    headers = {"x-simulator": f"fault=rate_limit;retry_after_s=3;times=1;seed={len(path)}"}
    first = await http.post(path, json=body, headers=headers)
    assert (first.status_code, first.headers["retry-after"]) == (429, "3")
    assert (await http.post(path, json=body, headers=headers)).status_code == 200
