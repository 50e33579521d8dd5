"""A gateway on its way out, sessions asleep, hosts away: what callers of the real API see."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient
from websockets.asyncio.client import connect

from contracts.errors import ProviderRejected
from contracts.events import LEG_NUMBERS, events_of
from contracts.messages import Leg, ResponseRecord
from contracts.tasks import spawn
from gateway.projection import Projector
from tests.gateway.house import _TLS, House, Stores, eventually, open_house


async def test_a_draining_gateway_ends_streams_refuses_new_ones_and_finishes_the_rest(
    house: House,
) -> None:
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    first = await anext(stream)
    waiting = spawn(house.client.responses.create(model="other", input="hi"), name="waiting")
    await eventually(lambda: house.readers() == 2 and house.calls() == 0)
    await house.services.drain.run()
    rest = [event async for event in stream]
    assert (rest[-1].type, rest[-1].code) == ("error", "gateway_draining")
    for path, body in (
        ("/v1/responses", {"model": "echo", "input": "hi", "stream": True}),
        (f"/v1/responses/{first.response.id}?stream=true", None),
    ):
        refused = await house.http.request("POST" if body else "GET", path, json=body)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "gateway_draining"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-should-retry"] == "true"
    assert len(await house.responses()) == 2, "what was refused was not begun"
    house.agent.answer("never mind")
    house.other.answer("to the end")
    assert (await waiting).output_text == "to the end"
    whole = await house.client.responses.retrieve(first.response.id)
    assert whole.id == first.response.id


async def test_a_socket_hears_what_wakes_its_session(house: House) -> None:
    conversation = await house.client.conversations.create()
    key = house.key(conversation.id)
    url = house.url.replace("http", "ws")
    async with connect(f"{url}/v1/conversations/{conversation.id}/ws") as socket:
        await socket.send(json.dumps({"type": "session.open"}))
        opened = json.loads(await socket.recv())
        house.runtime._let_go(house.runtime._sessions[key])
        await eventually(lambda: len(house.link._audience.dormant) == 1)
        assert house.runtime.load() == 0
        house.agent.answer("good ", "morning")
        said = await house.client.responses.create(
            model="echo", input="wake up", conversation=conversation.id
        )
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["type"] != "response.completed":
            frames.append(json.loads(await socket.recv()))
    assert said.output_text == "good morning"
    assert frames[-1]["response"]["output"][0]["content"][0]["text"] == "good morning"
    seqs = [frame["seq"] for frame in frames]
    assert seqs == list(range(opened["seq"] + 1, opened["seq"] + 1 + len(frames)))
    assert frames[0]["epoch"] == opened["epoch"] + 1


async def test_a_turn_that_nobody_could_take_leaves_no_conversation(stores: Stores) -> None:
    async with open_house(stores, call_timeout_s=0.1) as house:
        house.hosts.up = False
        for background in (False, True):
            with pytest.raises(APIStatusError) as refused:
                await house.client.responses.create(model="echo", input="hi", background=background)
            assert refused.value.status_code == 503
        kept = await house.client.conversations.create()
        with pytest.raises(APIStatusError):
            await house.client.responses.create(model="echo", input="hi", conversation=kept.id)
        rows = await house.database.fetch("SELECT id FROM sessions WHERE org_id = $1", house.org)
        assert [row["id"] for row in rows] == [kept.id], "but for the one that was asked for"


async def test_a_turn_that_failed_says_when_to_try_again(house: House) -> None:
    house.agent.say(ProviderRejected("Not now.", retry_after=7))
    with pytest.raises(APIStatusError) as failed:
        await house.client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hi"}]
        )
    assert failed.value.response.headers["retry-after"] == "7"


# -- the stock client -----------------------------------------------------------------------------


def resumed_record(policy: str) -> ResponseRecord:
    restarted = policy == "restart"
    return ResponseRecord(
        "resp_1", "conv_1", "completed", "echo", "echo", 1.0, "msg_1",
        text="there" if restarted else "Hello there",
        cuts=[0, 5] if restarted else [6, 5],
        legs=[Leg(1, 0 if restarted else 6, policy, "host_lost", 2, 1)],  # type: ignore[arg-type]
        completed_at=2.0,
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["continue", "restart"])
async def test_the_stock_client_gets_through_a_turn_that_changed_hosts(policy: str) -> None:
    record = resumed_record(policy)
    body = Projector(record).encode(events_of(record))
    assert b"event: response.resumed" in body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        AsyncOpenAI(
            base_url=f"http://127.0.0.1:{port}/v1",
            api_key="none",
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(verify=_TLS),
        ) as client,
    ):
        stream = await client.responses.create(model="echo", input="hi", stream=True)
        events = [event async for event in stream]
        assert [event.type for event in events].count("response.resumed") == 1  # type: ignore[comparison-overlap]
        assert events[-1].response.output_text == record.text  # type: ignore[union-attr]
        numbers = [event.sequence_number for event in events]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] > LEG_NUMBERS
        async with client.responses.stream(model="echo", input="hi") as helper:
            seen = [event async for event in helper]
            final = await helper.get_final_response()
        assert seen[-1].type == "response.completed"
        assert final.output_text == record.text
