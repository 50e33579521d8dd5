"""A restart of everything keeps what was said; leaving leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import openai

from tests.support.fixtures import scripted_agents
from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe


def test_a_restart_of_everything_keeps_the_conversations(
    simulator: SimulatorProcess, tmp_path: Path, troupe: RunningTroupe
) -> None:
    """`troupe` runs beside it all the while: two instances do not get in each other's way."""
    environ = {"TROUPE_SIMULATOR__URL": simulator.url, **scripted_agents()}
    one = RunningTroupe(tmp_path / "state", environ)
    with one:
        client = openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)
        conversation = client.conversations.create().id
        first = client.responses.create(
            model="gpt", input="My name is Boudica.", conversation=conversation
        )
        stream = client.responses.create(model="numbered", input="count", stream=True)
        whole = list(stream)
        assert one.stop() == [], "processes were left behind"
    with one:
        again = client.responses.create(
            model="gpt", input="What is my name?", conversation=conversation
        )
        assert "Boudica" in again.output_text
        kept = client.responses.retrieve(first.id)
        assert kept.output_text == first.output_text
        # Nobody remembers the events; they are given back from the stored answer, all the same.
        rid = whole[0].response.id
        rest = list(client.responses.retrieve(rid, stream=True, starting_after=6))
        assert [(e.type, e.sequence_number) for e in rest] == [
            (e.type, e.sequence_number) for e in whole[7:]
        ]
        assert [getattr(e, "delta", None) for e in rest] == [
            getattr(e, "delta", None) for e in whole[7:]
        ]
        assert one.stop() == []
    assert troupe.get("/readyz")[0] == 200
