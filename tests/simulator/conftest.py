"""A simulator in its own process for this suite, and the real SDKs pointed at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx2
import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import types

from tests.support.simulator import SimulatorProcess

PROMPT = ("--ttft-ms", "0", "--gap-ms", "0", "--jitter-ms", "0")
"""No waiting where no script asks for it."""


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(args=PROMPT) as process:
        yield process


@pytest_asyncio.fixture
async def http(simulator: SimulatorProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client with a key, and with a clean record."""
    headers = {"authorization": "Bearer any"}
    async with httpx2.AsyncClient(base_url=simulator.url, headers=headers, timeout=20) as client:
        await client.delete("/_sim/requests")
        yield client


@pytest_asyncio.fixture
async def gpt(simulator: SimulatorProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK, without its own retries."""
    client = openai.AsyncOpenAI(
        base_url=simulator.openai_url, api_key="sk-any", max_retries=0, timeout=20
    )
    async with client:
        yield client


@pytest_asyncio.fixture
async def gemini(simulator: SimulatorProcess) -> AsyncIterator[genai.Client]:
    """Google's SDK over httpx2, whatever else is importable."""
    async with httpx2.AsyncClient(timeout=20) as transport:
        options = types.HttpOptions(base_url=simulator.url, httpx_async_client=transport)
        yield genai.Client(api_key="any", http_options=options)
