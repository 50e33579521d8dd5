"""The Conversations API: sessions and what is said in them.

Reading and creating go to the store. Whatever changes a conversation that exists goes through its
session, its one writer; so an item that is added while a turn runs is refused, not lost.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from starlette.responses import Response

from contracts.ids import MESSAGE, SESSION, new_id
from gateway.answers import (
    ConversationDeleted,
    ConversationList,
    ConversationObject,
    Item,
    ItemList,
)
from gateway.call import Call, Caller, StrictRoute, answer, naming, well_formed
from gateway.document import FAILURES, ok
from gateway.lists import item_page, list_object, page_of
from gateway.ports import Conversation
from gateway.projection import item_object
from gateway.requests import (
    CreateConversation,
    CreateItems,
    ForkConversation,
    ListQuery,
    UpdateConversation,
)
from gateway.turns import check_metadata, messages

router = APIRouter(route_class=StrictRoute, tags=["Conversations"], responses=FAILURES)

ConversationId = Annotated[str, Path(description="As in a conversation's `id`.")]
ItemId = Annotated[str, Path(description="As in an item's `id`.")]

_EMPTY = CreateConversation()


@router.post(
    "/v1/conversations", operation_id="createConversation", responses=ok(ConversationObject)
)
async def create(call: Caller, body: Annotated[CreateConversation, Body()] = _EMPTY) -> Response:
    """Begin a conversation, empty or with what was said before."""
    limits = call.services.options.limits
    check_metadata(body.metadata, limits)
    items = messages(body.items or [], "items", limits)
    key = call.key(new_id(SESSION), "conversation_id")
    row = await call.services.records.create_session(
        key, user=call.principal.user, metadata=body.metadata or {}, items=items
    )
    return answer(conversation_object(row))


@router.get("/v1/conversations", operation_id="listConversations", responses=ok(ConversationList))
async def list_all(call: Caller, query: Annotated[ListQuery, Query()]) -> Response:
    """Conversations, newest first unless asked otherwise."""
    page = page_of(query, call.services.options.limits, SESSION)
    rows, more = await call.services.records.sessions(
        call.principal.org_id, after=page.after, limit=page.limit, ascending=page.ascending
    )
    return answer(list_object([conversation_object(row) for row in rows], more))


@router.get(
    "/v1/conversations/{conversation_id}",
    operation_id="retrieveConversation",
    responses=ok(ConversationObject),
)
async def retrieve(call: Caller, conversation_id: ConversationId) -> Response:
    return answer(conversation_object(await _conversation(call, conversation_id)))


@router.post(
    "/v1/conversations/{conversation_id}",
    operation_id="updateConversation",
    responses=ok(ConversationObject),
)
async def update(
    call: Caller, conversation_id: ConversationId, body: UpdateConversation
) -> Response:
    """Replace the metadata."""
    check_metadata(body.metadata, call.services.options.limits)
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        await call.services.link.update(key, body.metadata or {})
    return answer(conversation_object(await _conversation(call, conversation_id)))


@router.delete(
    "/v1/conversations/{conversation_id}",
    operation_id="deleteConversation",
    responses=ok(ConversationDeleted),
)
async def delete(call: Caller, conversation_id: ConversationId) -> Response:
    """Delete a conversation with all that was said in it. A turn that runs in it ends."""
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        await call.services.link.drop(key)
    return answer({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@router.post(
    "/v1/conversations/{conversation_id}/fork",
    operation_id="forkConversation",
    responses=ok(ConversationObject),
)
async def fork(call: Caller, conversation_id: ConversationId, body: ForkConversation) -> Response:
    """Begin a conversation with a copy of another, up to and including one of its items.

    The original stays as it is. Without `metadata` the copy has the original's.
    """
    check_metadata(body.metadata, call.services.options.limits)
    key = call.key(conversation_id, "conversation_id")
    item_id = well_formed(body.item_id, MESSAGE, "item_id")
    with naming("conversation_id"):
        row = await call.services.records.fork_at(key, item_id, body.metadata)
    return answer(conversation_object(row))


@router.get(
    "/v1/conversations/{conversation_id}/items", operation_id="listItems", responses=ok(ItemList)
)
async def list_items(
    call: Caller, conversation_id: ConversationId, query: Annotated[ListQuery, Query()]
) -> Response:
    """What was said, newest first unless asked otherwise."""
    page = page_of(query, call.services.options.limits, MESSAGE)
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        rows, more = await call.services.records.items(
            key, after=page.after, limit=page.limit, ascending=page.ascending
        )
    return answer(item_page(rows, more))


@router.post(
    "/v1/conversations/{conversation_id}/items",
    operation_id="createItems",
    responses=ok(ItemList),
)
async def create_items(
    call: Caller, conversation_id: ConversationId, body: CreateItems
) -> Response:
    """Add to what was said, without asking anybody for an answer."""
    items = messages(body.items, "items", call.services.options.limits)
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        added = await call.services.link.add_items(key, items)
    return answer(item_page(added, False))


@router.get(
    "/v1/conversations/{conversation_id}/items/{item_id}",
    operation_id="retrieveItem",
    responses=ok(Item),
)
async def retrieve_item(call: Caller, conversation_id: ConversationId, item_id: ItemId) -> Response:
    key = call.key(conversation_id, "conversation_id")
    item_id = well_formed(item_id, MESSAGE, "item_id")
    with naming("conversation_id"):
        return answer(item_object(await call.services.records.item(key, item_id)))


@router.delete(
    "/v1/conversations/{conversation_id}/items/{item_id}",
    operation_id="deleteItem",
    responses=ok(ConversationObject),
)
async def delete_item(call: Caller, conversation_id: ConversationId, item_id: ItemId) -> Response:
    """Take one item out of the conversation; gives the conversation back."""
    key = call.key(conversation_id, "conversation_id")
    item_id = well_formed(item_id, MESSAGE, "item_id")
    with naming("conversation_id"):
        await call.services.link.delete_item(key, item_id)
    return answer(conversation_object(await _conversation(call, conversation_id)))


def conversation_object(row: Conversation) -> dict[str, Any]:
    """A conversation in OpenAI's shape."""
    return {
        "id": row.id,
        "object": "conversation",
        "created_at": int(row.created_at),
        "metadata": row.metadata,
    }


async def _conversation(call: Call, conversation_id: str) -> Conversation:
    key = call.key(conversation_id, "conversation_id")
    with naming("conversation_id"):
        return await call.services.records.session(key)
