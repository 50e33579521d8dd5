"""The chat page, the console, and their files. The edge adds the policy that keeps foreign code out
of them.
"""

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
    """Serve `directory` at `/static/`, its `index.html` at `/`, its `console.html` at `/console`.

    Neither page is secret; what they show comes through the doors.
    """
    files = _Files(directory=directory)
    app.mount("/static", files, name="static")

    async def chat(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    async def console(request: Request) -> Response:
        return await files.get_response("console.html", request.scope)

    for path, page in (("/", chat), ("/console", console)):
        app.add_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
