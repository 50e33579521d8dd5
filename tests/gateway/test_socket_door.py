"""The WebSocket's door: accepted first, then told why it is shut, since a browser sees no more."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from contracts.ids import SESSION, new_id
from tests.gateway.house import House, Stores, open_house

OPEN = json.dumps({"type": "session.open"})


async def knock(house: House, path: str, **headers: str) -> tuple[dict[str, Any], int | None]:
    """The first frame, and the code the socket was closed with, if it was."""
    url = house.url.replace("http", "ws")
    async with connect(f"{url}{path}", additional_headers=headers) as socket:
        with contextlib.suppress(ConnectionClosed):  # it may be shut already
            await socket.send(OPEN)
        frame: dict[str, Any] = json.loads(await socket.recv())
        if frame["type"] == "error":
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            return frame["error"], socket.close_code
        return frame, None


@pytest.mark.parametrize("path", ["/", "/ws", "/v1/conversations/x/ws/y", "/v1/conversations//ws"])
async def test_there_is_one_kind_of_socket(house: House, path: str) -> None:
    error, code = await knock(house, path)
    assert (error["code"], code) == ("unknown_url", 4404)
    assert error["request_id"].startswith("req_")


async def test_an_unknown_conversation_is_told_and_closed(house: House) -> None:
    error, code = await knock(house, f"/v1/conversations/{new_id(SESSION)}/ws")
    assert (error["code"], code) == ("not_found", 4404)


async def test_without_a_key_or_a_ticket_nobody_comes_in(stores: Stores) -> None:
    async with open_house(stores, api_keys=("key",)) as house:
        conversation = await house.client.conversations.create()
        path = f"/v1/conversations/{conversation.id}/ws"
        ticket = (await house.http.post("/v1/tickets")).json()["ticket"]
        for query, headers, wanted in (
            ("", {}, "missing_api_key"),
            ("?ticket=", {}, "missing_api_key"),
            ("?ticket=no", {}, "bad_ticket"),
            (f"?ticket={ticket}x", {}, "bad_ticket"),
            ("", {"authorization": "Bearer no"}, "invalid_api_key"),
        ):
            error, code = await knock(house, path + query, **headers)
            assert (error["code"], code) == (wanted, 1008), query
        for query, headers in ((f"?ticket={ticket}", {}), ("", {"authorization": "Bearer key"})):
            frame, code = await knock(house, path + query, **headers)
            assert (frame["type"], code) == ("session.opened", None)


async def test_a_page_of_another_origin_does_not_come_in_by_an_open_door(house: House) -> None:
    conversation = await house.client.conversations.create()
    path = f"/v1/conversations/{conversation.id}/ws"
    error, code = await knock(house, path, origin="https://evil.example")
    assert (error["code"], code) == ("missing_api_key", 1008)
    frame, _ = await knock(house, path, origin=house.url)
    assert frame["type"] == "session.opened"


async def test_a_full_gateway_says_so_on_the_socket(stores: Stores) -> None:
    async with open_house(stores, open_requests=1) as house:
        conversation = await house.client.conversations.create()
        stream = await house.client.responses.create(model="echo", input="hi", stream=True)
        error, code = await knock(house, f"/v1/conversations/{conversation.id}/ws")
        assert (error["code"], code) == ("gateway_full", 1013)
        await stream.close()
