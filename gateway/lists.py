"""Pages of lists, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from contracts.errors import InvalidRequest
from contracts.messages import Message
from gateway.call import well_formed
from gateway.options import InputLimits
from gateway.projection import item_object
from gateway.requests import ListQuery


class Page(NamedTuple):
    """Which rows are asked for."""

    after: str | None
    limit: int
    ascending: bool


def page_of(query: ListQuery, limits: InputLimits, prefix: str) -> Page:
    """The page a query asks for, of rows whose ids have this prefix.

    Raises:
        InvalidRequest: `limit` is over its own limit.
        NotFound: `after` cannot be a row's id.
    """
    limit = query.limit if query.limit is not None else limits.page_items
    if limit > limits.max_page_items:
        raise InvalidRequest(
            f"At most {limits.max_page_items} rows come at once.",
            param="limit",
            code="invalid_value",
        )
    after = well_formed(query.after, prefix, "after") if query.after is not None else None
    return Page(after, limit, query.order == "asc")


def list_object(rows: Sequence[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A list; `first_id` and `last_id` are null where it is empty."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": more,
    }


def item_page(rows: Sequence[Message], more: bool) -> dict[str, Any]:
    """A list of conversation items."""
    return list_object([item_object(row) for row in rows], more)
