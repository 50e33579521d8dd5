"""A provider fails in mid-answer: a stock client's stream goes on, and is read again as it was."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from websockets.asyncio.client import connect

from contracts.errors import ProviderInterrupted
from contracts.events import LEG_NUMBERS
from tests.gateway.house import House, Stores, open_house

BROKE = ProviderInterrupted("The provider's stream broke.")
HELLO: Any = [{"role": "user", "content": "hi"}]


def shown(events: list[Any]) -> str:
    text = ""
    for event in events:
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.resumed":
            text = text[: event.position]
    return text


async def raw(house: House, response_id: str, after: int) -> bytes:
    path = f"/v1/responses/{response_id}?stream=true&starting_after={after}"
    answer = await house.http.get(path)
    assert answer.status_code == 200
    return answer.content


@pytest.mark.parametrize("policy", ["continue", "restart"])
async def test_a_stream_survives_and_is_given_again_byte_by_byte(
    stores: Stores, policy: Any
) -> None:
    async with open_house(stores, on_failure=policy) as house:
        house.agent.say("one ")
        events: list[Any] = []
        async for event in await house.client.responses.create(
            model="echo", input="hi", stream=True
        ):
            events.append(event)
            if shown(events) == "one " and event.type == "response.output_text.delta":
                # Only now: what breaks before anybody has heard a word is said anew in silence.
                house.agent.say("two ", BROKE)
                house.agent.answer("three")
        final = events[-1].response
        text = "one two three" if policy == "continue" else "three"
        assert shown(events) == final.output_text == text
        [leg] = [event for event in events if event.type == "response.resumed"]
        assert leg.sequence_number == LEG_NUMBERS
        assert leg.model_dump()["from"] == leg.to == "echo/echo-1"
        assert (leg.policy, leg.reason) == (policy, "provider_interrupted")
        numbers = [event.sequence_number for event in events]
        whole = await raw(house, final.id, -1)
        assert [
            json.loads(line[6:])["sequence_number"]
            for line in whole.decode().splitlines()
            if line.startswith("data: {")
        ] == numbers
        for number, event in zip(numbers, events, strict=True):
            rest = await raw(house, final.id, number)
            assert whole.endswith(rest)
            kept = rest.decode().count("event: ")
            assert kept == len(numbers) - numbers.index(number) - 1, event.type


async def test_a_socket_hears_where_it_goes_on_and_where_it_stops(house: House) -> None:
    conversation = await house.client.conversations.create()
    url = house.url.replace("http", "ws")
    async with connect(f"{url}/v1/conversations/{conversation.id}/ws") as socket:
        await socket.send(json.dumps({"type": "session.open"}))
        house.agent.say("one ")
        create = {"type": "response.create", "id": "c1", "input": "hi", "model": "echo"}
        await socket.send(json.dumps(create))
        frames: list[dict[str, Any]] = [json.loads(await socket.recv())]
        while frames[-1]["type"] != "response.failed":
            frames.append(json.loads(await socket.recv()))
            if frames[-1].get("delta") == "one ":
                house.agent.say(BROKE, "two ")
            elif frames[-1].get("delta") == "two ":
                house.agent.say(BROKE)
    legs = [frame for frame in frames if frame["type"] == "response.resumed"]
    assert [(leg["policy"], leg["position"], leg["to"]) for leg in legs] == [
        ("continue", 4, "echo/echo-1"),
        ("stop", 8, None),
    ]
    assert frames[-1]["response"]["error"]["code"] == "provider_interrupted"
    assert "".join(frame.get("delta", "") for frame in frames) == "one two "


async def test_chat_completions_go_on(house: House) -> None:
    house.agent.say("one ")
    said = ""
    async for chunk in await house.client.chat.completions.create(
        model="echo", messages=HELLO, stream=True
    ):
        said += chunk.choices[0].delta.content or ""
        if said == "one " and chunk.choices[0].delta.content:
            house.agent.say(BROKE)
            house.agent.answer("two")
    assert said == "one two"


async def test_chat_completions_cannot_take_anything_back(stores: Stores) -> None:
    async with open_house(stores, on_failure="restart") as house:
        house.agent.say("one ", BROKE)
        said = ""
        with pytest.raises(openai.APIError) as caught:
            async for chunk in await house.client.chat.completions.create(
                model="echo", messages=HELLO, stream=True
            ):
                said += chunk.choices[0].delta.content or ""
        body: Any = caught.value.body
        assert (said, body["code"]) == ("one ", "answer_restarted")
        house.agent.say("one ", BROKE)
        house.agent.answer("uno")
        whole = await house.client.chat.completions.create(model="echo", messages=HELLO)
        assert whole.choices[0].message.content == "uno"
