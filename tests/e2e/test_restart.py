"""A restart of everything keeps what was said, and what was being said goes on; leaving leaves
nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import openai

from tests.support.fixtures import scripted_agents
from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe


def test_a_restart_of_everything_keeps_the_conversations(
    simulator: SimulatorProcess, tmp_path: Path, troupe: RunningTroupe
) -> None:
    """`troupe` runs beside it all the while: two instances do not get in each other's way."""
    environ = {
        "TROUPE_SIMULATOR__URL": simulator.url,
        "TROUPE_HOSTS__DRAIN_S": "1",
        **scripted_agents(),
    }
    one = RunningTroupe(tmp_path / "state", environ)
    with openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0) as client:
        with one:
            conversation = client.conversations.create().id
            first = client.responses.create(
                model="gpt", input="My name is Boudica.", conversation=conversation
            )
            stream = client.responses.create(model="numbered", input="count", stream=True)
            whole = list(stream)
            # Nobody will ask for this one until it has ended.
            left = client.responses.create(model="slow", input="count", background=True)
            with client.responses.retrieve(left.id, stream=True) as beginning:
                shown = list(islice(beginning, 20))
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
            until(lambda: client.responses.retrieve(left.id).status == "completed")
            last = shown[-1].sequence_number
            rest = list(client.responses.retrieve(left.id, stream=True, starting_after=last))
            assert [event.type for event in rest].count("response.resumed") == 1
            final = rest[-1].response.output_text
            assert text_of([*shown, *rest]) == final
            assert final.endswith("t149 ")
            assert one.stop() == []
    assert troupe.get("/readyz")[0] == 200


def text_of(events: list[Any]) -> str:
    """What stands on a screen that shows these events, cut where it is told to."""
    text = ""
    for event in events:
        if event.type == "response.resumed":
            text = text[: event.position]
        elif event.type == "response.output_text.delta":
            text += event.delta
    return text


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the turn that was left open did not go on"
        time.sleep(0.1)
