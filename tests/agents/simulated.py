"""The providers of this repository as the conformance suite sees them: over the simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from agents.spec import AgentSpec, EmbedderSpec
from tests.agents.conformance import KEY, PATIENCE_S, Heard
from tests.agents.embedding_conformance import Embedded
from tests.support.simulator import SimulatorProcess


class SimulatedProvider:
    """What the adapters to the simulator share.

    Args:
        simulator: It runs.
        spec: Reaches it.
    """

    def __init__(self, simulator: SimulatorProcess, spec: AgentSpec) -> None:
        self.simulator = simulator
        self.spec = spec

    @property
    def port(self) -> int:
        return self.simulator.port

    def model(self, **script: int | str) -> str:
        return ".".join(["scripted", *(f"{key}-{value}" for key, value in script.items())])

    async def heard(self) -> list[Heard]:
        records = await asyncio.to_thread(self.simulator.requests)
        return [self.understand(record) for record in records]

    async def forget(self) -> None:
        await asyncio.to_thread(self.simulator.clear)

    async def running(self) -> int:
        return (await asyncio.to_thread(self.simulator.stats))["active"]

    def understand(self, record: dict[str, Any]) -> Heard:
        raise NotImplementedError


class OpenAIChat(SimulatedProvider):
    def __init__(self, simulator: SimulatorProcess) -> None:
        spec = AgentSpec("gpt", "openai", "simulated", base_url=simulator.openai_url)
        super().__init__(simulator, spec)

    def understand(self, record: dict[str, Any]) -> Heard:
        body = record["body"]
        assert record["path"] == "/v1/chat/completions"
        assert record["headers"]["authorization"] == "[redacted]"
        system = [said["content"] for said in body["messages"] if said["role"] == "system"]
        return Heard(
            body["model"],
            "\n\n".join(system) or None,
            [
                (said["role"], said["content"])
                for said in body["messages"]
                if said["role"] != "system"
            ],
            body.get("temperature"),
            body.get("top_p"),
            body.get("max_tokens"),
        )


class OpenAIPaced(OpenAIChat):
    """As a busy host runs it: reads rest, and what comes meanwhile is read at once."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        super().__init__(simulator)
        self.spec = replace(self.spec, pace_s=0.02)


class OpenAIResponses(SimulatedProvider):
    def __init__(self, simulator: SimulatorProcess) -> None:
        url = simulator.openai_url
        spec = AgentSpec("gpt", "openai", "simulated", base_url=url, api="responses")
        super().__init__(simulator, spec)

    def understand(self, record: dict[str, Any]) -> Heard:
        body = record["body"]
        assert record["path"] == "/v1/responses"
        assert record["headers"]["authorization"] == "[redacted]"
        inner = ("system", "developer")
        system = [said["content"] for said in body["input"] if said["role"] in inner]
        if "instructions" in body:
            system.insert(0, body["instructions"])
        return Heard(
            body["model"],
            "\n\n".join(system) or None,
            [(s["role"], s["content"]) for s in body["input"] if s["role"] not in inner],
            body.get("temperature"),
            body.get("top_p"),
            body.get("max_output_tokens"),
        )


class Gemini(SimulatedProvider):
    def __init__(self, simulator: SimulatorProcess) -> None:
        spec = AgentSpec("gemini", "gemini", "simulated", base_url=simulator.url)
        super().__init__(simulator, spec)

    def understand(self, record: dict[str, Any]) -> Heard:
        body = record["body"]
        path, _, query = record["path"].partition("?")
        model, _, verb = path.removeprefix("/v1/models/").partition(":")
        assert (verb, query) == ("streamGenerateContent", "alt=sse")
        assert record["headers"]["x-goog-api-key"] == "[redacted]"
        roles = {"user": "user", "model": "assistant"}
        config = body.get("generationConfig", {})
        system = body.get("systemInstruction")
        return Heard(
            model,
            None if system is None else _text(system),
            [(roles[content["role"]], _text(content)) for content in body["contents"]],
            config.get("temperature"),
            config.get("topP"),
            config.get("maxOutputTokens"),
        )


def _text(content: dict[str, Any]) -> str:
    return "".join(part["text"] for part in content["parts"])


SIMULATED: dict[str, type[SimulatedProvider]] = {
    "openai": OpenAIChat,
    "openai-paced": OpenAIPaced,
    "openai-responses": OpenAIResponses,
    "gemini": Gemini,
}
"""Test id → provider. The part before a dash is the provider's registered name."""


class SimulatedEmbeddings:
    """What embedders on the simulator share."""

    provider: str
    path: str

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator

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
        model = ".".join(["scripted", *(f"{key}-{value}" for key, value in script.items())])
        return EmbedderSpec(
            "meaning",
            self.provider,
            model,
            dimensions=dimensions,
            api_key=KEY,
            base_url=base_url or f"{self.simulator.url}{self.path}",
            timeout_s=timeout_s,
            max_batch=max_batch,
            max_answer_bytes=max_answer_bytes,
        )

    async def embedded(self) -> list[Embedded]:
        records = await asyncio.to_thread(self.simulator.requests)
        return [self.understand(record) for record in records]

    async def forget(self) -> None:
        await asyncio.to_thread(self.simulator.clear)

    def understand(self, record: dict[str, Any]) -> Embedded:
        raise NotImplementedError


class OpenAIEmbeds(SimulatedEmbeddings):
    provider = "openai"
    path = "/v1"

    def understand(self, record: dict[str, Any]) -> Embedded:
        body = record["body"]
        assert record["path"] == "/v1/embeddings"
        assert record["headers"]["authorization"] == "[redacted]"
        return Embedded(body["model"], body["input"], body.get("dimensions"))


class GeminiEmbeds(SimulatedEmbeddings):
    provider = "gemini"
    path = ""

    def understand(self, record: dict[str, Any]) -> Embedded:
        requests = record["body"]["requests"]
        model, _, verb = record["path"].removeprefix("/v1/models/").partition(":")
        assert verb == "batchEmbedContents"
        assert record["headers"]["x-goog-api-key"] == "[redacted]"
        assert {request["model"] for request in requests} == {f"models/{model}"}
        [dimensions] = {request.get("outputDimensionality") for request in requests}
        return Embedded(model, [_text(request["content"]) for request in requests], dimensions)


EMBEDDING: dict[str, type[SimulatedEmbeddings]] = {"openai": OpenAIEmbeds, "gemini": GeminiEmbeds}
"""Likewise, of the providers that have embeddings."""
