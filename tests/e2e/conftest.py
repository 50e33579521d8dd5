from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.support.troupe import RunningTroupe


@pytest.fixture
async def client(troupe: RunningTroupe) -> AsyncIterator[openai.AsyncOpenAI]:
    """The stock client, as anybody would point it here."""
    async with openai.AsyncOpenAI(
        base_url=f"{troupe.url}/v1", api_key="none", max_retries=0
    ) as client:
        yield client
