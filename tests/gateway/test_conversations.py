"""The Conversations API as the stock client uses it."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from contracts.ids import MESSAGE, SESSION, new_id
from tests.gateway.house import House, Stores, eventually, open_house


def message(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


async def test_a_conversation_is_made_read_changed_and_deleted(house: House) -> None:
    conversations = house.client.conversations
    made = await conversations.create(metadata={"a": "b"}, items=[message("hi")])
    assert made.object == "conversation"
    assert (await conversations.retrieve(made.id)) == made
    changed = await conversations.update(made.id, metadata={"c": "d"})
    assert (changed.metadata, changed.created_at) == ({"c": "d"}, made.created_at)
    assert (await conversations.retrieve(made.id)).metadata == {"c": "d"}
    assert (await conversations.update(made.id, metadata=None)).metadata == {}
    deleted = await conversations.delete(made.id)
    assert (deleted.id, deleted.deleted) == (made.id, True)
    for again in (conversations.retrieve(made.id), conversations.delete(made.id)):
        with pytest.raises(openai.NotFoundError):
            await again
    assert await house.data() == [[], [], [], []]


async def test_a_conversation_may_begin_without_a_body(house: House) -> None:
    assert (await house.http.post("/v1/conversations")).status_code == 200
    assert (await house.http.post("/v1/conversations", json={})).json()["metadata"] == {}


async def test_conversations_are_listed_newest_first_in_pages(house: House) -> None:
    ids = [(await house.client.conversations.create()).id for _ in range(5)]
    page = (await house.http.get("/v1/conversations", params={"limit": 2})).json()
    assert [row["id"] for row in page["data"]] == [ids[4], ids[3]]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[4], ids[3], True)
    seen: list[str] = []
    after: dict[str, str] = {}
    more = True
    while more:
        page = (
            await house.http.get("/v1/conversations", params={"limit": 2, "order": "asc", **after})
        ).json()
        seen += [row["id"] for row in page["data"]]
        after, more = {"after": page["last_id"]}, page["has_more"]
    assert seen == ids


async def test_an_empty_list_is_a_list(house: House) -> None:
    page = (await house.http.get("/v1/conversations")).json()
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_items_are_added_listed_read_and_deleted(house: House) -> None:
    items = house.client.conversations.items
    conversation = await house.client.conversations.create(items=[message("first")])
    added = await items.create(
        conversation.id, items=[message("second"), message("third", "assistant")]
    )
    assert [item.content[0].text for item in added.data] == ["second", "third"]  # type: ignore[union-attr]
    listed = [item async for item in await items.list(conversation.id, limit=2)]
    assert [item.content[0].text for item in listed] == ["third", "second", "first"]  # type: ignore[union-attr]
    forwards = await items.list(conversation.id, order="asc")
    assert [item.role for item in forwards.data] == ["user", "user", "assistant"]  # type: ignore[union-attr]
    second = added.data[0].id
    assert second is not None
    one = await items.retrieve(second, conversation_id=conversation.id)
    assert one.content[0].text == "second"  # type: ignore[union-attr]
    assert (await items.delete(second, conversation_id=conversation.id)).id == conversation.id
    with pytest.raises(openai.NotFoundError):
        await items.retrieve(second, conversation_id=conversation.id)
    left = await items.list(conversation.id, order="asc")
    assert [item.content[0].text for item in left.data] == ["first", "third"]  # type: ignore[union-attr]


async def test_what_was_added_is_what_the_agent_is_told(house: House) -> None:
    conversation = await house.client.conversations.create(items=[message("I am Ann.")])
    await house.client.conversations.items.create(conversation.id, items=[message("I am 7.")])
    house.agent.answer("Ann, 7.")
    await house.client.responses.create(model="echo", input="Who?", conversation=conversation.id)
    said = [one.text for one in house.agent.requests[0].messages]
    assert said == ["I am Ann.", "I am 7.", "Who?"]
    items = await house.client.conversations.items.list(conversation.id)
    assert items.data[0].content[0].text == "Ann, 7."  # type: ignore[union-attr]


async def test_a_conversation_is_not_edited_under_a_running_turn(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    assert running.conversation is not None
    with pytest.raises(openai.ConflictError) as caught:
        await house.client.conversations.items.create(
            running.conversation.id, items=[message("late")]
        )
    assert caught.value.code == "conversation_locked"
    house.agent.answer("done")
    await eventually(lambda: house.status(running.id), "completed")


async def test_deleting_a_conversation_ends_what_runs_in_it(house: House) -> None:
    running = await house.client.responses.create(model="echo", input="hi", background=True)
    assert running.conversation is not None
    await eventually(lambda: house.agent.open, 1)
    await house.client.conversations.delete(running.conversation.id)
    assert house.agent.open == 0
    with pytest.raises(openai.NotFoundError):
        await house.client.responses.retrieve(running.id)


ABSENT: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("POST", "", {"metadata": {}}),
    ("DELETE", "", None),
    ("GET", "/items", None),
    ("POST", "/items", {"items": [message("x")]}),
    ("GET", f"/items/{new_id(MESSAGE)}", None),
    ("DELETE", f"/items/{new_id(MESSAGE)}", None),
]


async def test_an_unknown_or_foreign_conversation_is_a_404(house: House, stores: Stores) -> None:
    async with open_house(stores) as owner:
        foreign = await owner.client.conversations.create(items=[message("secret")])
        before = await owner.data()
        for name in (foreign.id, new_id(SESSION), "conv_x", "x", "%00", "conv_" + "0" * 99):
            for method, path, body in ABSENT:
                answer = await house.http.request(
                    method, f"/v1/conversations/{name}{path}", json=body
                )
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (404, "not_found"), (method, path)
                # Of an item, the store cannot say which of the two it did not find.
                assert error["param"] in ("conversation_id", "item_id")
        assert await owner.data() == before
    assert await house.data() == [[], [], [], []]


async def test_an_unknown_item_is_a_404(house: House) -> None:
    conversation = await house.client.conversations.create(items=[message("x")])
    for name in (new_id(MESSAGE), "msg_x", "x"):
        for method in ("GET", "DELETE"):
            answer = await house.http.request(
                method, f"/v1/conversations/{conversation.id}/items/{name}"
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (404, "item_id")


async def test_a_page_after_nothing_known_is_a_404(house: House) -> None:
    conversation = await house.client.conversations.create(items=[message("x")])
    for after in (new_id(MESSAGE), "x"):
        answer = await house.http.get(
            f"/v1/conversations/{conversation.id}/items", params={"after": after}
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "after")
