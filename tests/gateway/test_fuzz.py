"""The HTTP surface, fuzzed from its own document: no 5xx, and nothing the document does not say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.agents import End, ModelRequest
from contracts.messages import Usage
from gateway.options import InputLimits
from tests.gateway.house import Stores, open_house

KEY = "fuzz-key"
SHORT = InputLimits(message_chars=2000, instructions_chars=1000)
"""Short enough for what makes texts of the greatest length out of a pattern to be quick."""


class Chatty:
    """Answers everybody at once."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | End]:
        yield f"You said {len(request.messages)} things."
        yield End("stop", Usage(1, 1))

    async def aclose(self) -> None:
        return None


@pytest.mark.timeout(600)
async def test_no_request_the_document_allows_or_forbids_breaks_it(
    stores: Stores, tmp_path: Path
) -> None:
    """Bounded and deterministic: the same cases every time, which for a red test is worth most."""
    # What makes a cron expression, or a policy, is more than a schema can say.
    beyond = json.dumps(["createSchedule", "putPolicy", "checkPolicy", "replayRoutes"])
    accepted = json.dumps(["2xx", "400", "401", "403", "404", "409", "429", "5xx"])
    (tmp_path / "schemathesis.toml").write_text(
        f"[[operations]]\ninclude-operation-id = {beyond}\n[operations.checks]\n"
        f"positive_data_acceptance.expected-statuses = {accepted}\n"
    )
    agents = {"echo": Chatty(), "other": Chatty()}
    async with open_house(
        stores,
        agents=agents,  # type: ignore[arg-type]
        api_keys=(KEY,),
        admin_key=KEY,
        limits=SHORT,
    ) as house:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{house.url}/openapi.json",
            *("--header", f"Authorization: Bearer {KEY}"),
            *("--phases", "coverage,fuzzing,stateful", "--mode", "all", "--checks", "all"),
            *("--generation-deterministic", "--max-examples", "2"),
            *("--request-timeout", "10", "--no-color", "--warnings", "off"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()[-20_000:]
        paths = (await house.http.get("/openapi.json")).json()["paths"]
        assert f"Tested: {sum(map(len, paths.values()))}\n" in said.decode(), "all of them"
        assert await house.client.models.retrieve("echo"), "it is still there"
