"""What the store holds of a session, read through the public API as anybody would."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from chaos.record import Item, SessionRecord, Stored, StoredAnswer
from chaos.view import output_text

_AT_ONCE = 16
_PAGE = 100
_ATTEMPTS = 20
_PAUSE_S = 0.5


class Store:
    """Args:
    http: Used for all requests.
    url: Where Troupe answers.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/v1"
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def create(self) -> str:
        """A new conversation's id."""
        async with self._gate, self._http.post(f"{self._url}/conversations", json={}) as answer:
            answer.raise_for_status()
            return (await answer.json())["id"]

    async def read(self, record: SessionRecord) -> Stored:
        """All items of the session, and every response that its client or an item names."""
        items = await self._items(record.session_id)
        named = {message.response_id for message in record.messages}
        named |= {item.response_id for item in items} | set(record.answers)
        ids = sorted(name for name in named if name is not None)
        answers = await asyncio.gather(*(self._answer(name) for name in ids))
        found = {name: answer for name, answer in zip(ids, answers, strict=True) if answer}
        return Stored(items, found)

    async def _items(self, session_id: str) -> list[Item]:
        items: list[Item] = []
        query = {"limit": str(_PAGE), "order": "asc"}
        while True:
            path = f"/conversations/{session_id}/items"
            page = await self._get(path, query)
            if page is None:
                return items
            items += [_item(row) for row in page["data"]]
            if not page["has_more"]:
                return items
            query["after"] = page["last_id"]

    async def _answer(self, response_id: str) -> StoredAnswer | None:
        found = await self._get(f"/responses/{response_id}", {})
        if found is None:
            return None
        error = found.get("error")
        return StoredAnswer(found["status"], output_text(found), error["code"] if error else None)

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        """One object, asked for again while something is away; None where there is none."""
        for attempt in range(_ATTEMPTS):
            try:
                async with self._gate, self._http.get(self._url + path, params=query) as answer:
                    if answer.status == 404:
                        return None
                    answer.raise_for_status()
                    return await answer.json()
            except (aiohttp.ClientError, TimeoutError):
                if attempt + 1 == _ATTEMPTS:
                    raise
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("unreachable")


def _item(row: dict[str, Any]) -> Item:
    text = "".join(part.get("text", "") for part in row["content"])
    return Item(row["role"], text, row.get("response_id"))
