"""A conversation forked at any of its items: the copy goes its own way, the original stays."""

from __future__ import annotations

from typing import Any

from contracts.ids import MESSAGE, SESSION, new_id
from gateway.answers import ConversationObject
from tests.gateway.house import House, Stores, open_house


def message(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


async def fork(house: House, conversation_id: str, body: Any) -> Any:
    return await house.http.post(f"/v1/conversations/{conversation_id}/fork", json=body)


async def said(house: House, conversation_id: str) -> list[str]:
    items = await house.client.conversations.items.list(conversation_id, order="asc")
    return [item.content[0].text for item in items.data]  # type: ignore[union-attr]


async def test_a_copy_ends_at_the_item_and_is_answered_for_itself(house: House) -> None:
    original = await house.client.conversations.create(
        items=[message("I am Ann."), message("Hello Ann.", "assistant"), message("I am 7.")],
        metadata={"topic": "ages"},
    )
    items = await house.client.conversations.items.list(original.id, order="asc")
    answer = await fork(house, original.id, {"item_id": items.data[1].id})
    assert answer.status_code == 200, answer.text
    copy = answer.json()
    ConversationObject.model_validate(copy)
    assert copy["id"] != original.id
    assert copy["metadata"] == {"topic": "ages"}
    assert await said(house, copy["id"]) == ["I am Ann.", "Hello Ann."]
    house.agent.answer("You are 8.")
    await house.client.responses.create(model="echo", input="I am 8.", conversation=copy["id"])
    assert await said(house, copy["id"]) == ["I am Ann.", "Hello Ann.", "I am 8.", "You are 8."]
    assert await said(house, original.id) == ["I am Ann.", "Hello Ann.", "I am 7."]
    told = [one.text for one in house.agent.requests[0].messages]
    assert told == ["I am Ann.", "Hello Ann.", "I am 8."]


async def test_a_copy_may_have_metadata_of_its_own(house: House) -> None:
    original = await house.client.conversations.create(items=[message("x")], metadata={"a": "b"})
    [item] = (await house.client.conversations.items.list(original.id)).data
    copy = (await fork(house, original.id, {"item_id": item.id, "metadata": {"c": "d"}})).json()
    assert copy["metadata"] == {"c": "d"}
    copy = (await fork(house, original.id, {"item_id": item.id, "metadata": {}})).json()
    assert copy["metadata"] == {}


async def test_what_cannot_be_forked(house: House, stores: Stores) -> None:
    place = await house.client.conversations.create(items=[message("x")])
    [item] = (await house.client.conversations.items.list(place.id)).data
    before = await house.data()
    async with open_house(stores) as owner:
        foreign = await owner.client.conversations.create(items=[message("secret")])
        [theirs] = (await owner.client.conversations.items.list(foreign.id)).data
        for name, body, status, param in [
            (place.id, {"item_id": new_id(MESSAGE)}, 404, "item_id"),
            (place.id, {"item_id": "x"}, 404, "item_id"),
            (place.id, {"item_id": theirs.id}, 404, "item_id"),
            (foreign.id, {"item_id": theirs.id}, 404, "conversation_id"),
            (new_id(SESSION), {"item_id": item.id}, 404, "conversation_id"),
            ("x", {"item_id": item.id}, 404, "conversation_id"),
            (place.id, {}, 400, "item_id"),
            (place.id, {"item_id": 3}, 400, "item_id"),
            (place.id, {"item_id": item.id, "upto": 1}, 400, "upto"),
            (place.id, {"item_id": item.id, "metadata": {"k" * 65: "v"}}, 400,
             f"metadata.{'k' * 64}…"),
        ]:  # fmt: skip
            answer = await fork(house, name, body)
            found = answer.status_code, answer.json()["error"]["param"]
            assert found == (status, param), body
    assert await house.data() == before
