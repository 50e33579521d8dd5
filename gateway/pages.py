"""The chat page and its files. The edge adds the policy that keeps foreign code out of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class _Files(StaticFiles):
    """Files that a browser keeps, and asks about each time: an update shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def install(app: FastAPI, directory: Path) -> None:
    """Serve `directory` at `/static/` and its `index.html` at `/`."""
    files = _Files(directory=directory)
    app.mount("/static", files, name="static")

    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    app.add_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
