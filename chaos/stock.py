"""The openai SDK, as anybody would use it, as a source of events for `EventClient`.

It retries by itself what it thinks is worth it, and knows nothing of Troupe's own events.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import openai

from chaos.record import Message
from chaos.stream import Broken, Refused


class SdkSource:
    """Args:
    client: The SDK's client, shared by all that use it.
    model: The agent that is asked.
    """

    def __init__(self, client: openai.AsyncOpenAI, model: str) -> None:
        self._client = client
        self._model = model

    async def ask(self, session_id: str, message: Message) -> AsyncGenerator[dict[str, Any]]:
        async for event in _translated(
            self._client.responses.create(
                model=self._model,
                conversation=session_id,
                input=message.text,
                stream=True,
                extra_headers={"Idempotency-Key": message.key},
            )
        ):
            yield event

    async def resume(self, response_id: str, after: int) -> AsyncGenerator[dict[str, Any]]:
        place = after if after >= 0 else openai.omit
        async for event in _translated(
            self._client.responses.retrieve(response_id, stream=True, starting_after=place)
        ):
            yield event


async def _translated(request: Any) -> AsyncGenerator[dict[str, Any]]:
    """The events of a stream as dictionaries, the SDK's errors as ours."""
    try:
        stream = await request
        async with stream:
            async for event in stream:
                yield event.to_dict(warnings=False)
    except openai.APIStatusError as error:
        body: Any = error.body
        raise Refused(error.status_code, body if isinstance(body, dict) else {}) from error
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        raise Broken(type(error).__name__) from error
