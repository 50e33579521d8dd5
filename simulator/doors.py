"""The `/_sim` paths: what those who test may ask of the simulator, without a key."""

from __future__ import annotations

from urllib.parse import parse_qs

from simulator.http import Connection, Request
from simulator.recorder import Recorder
from simulator.stats import Stats
from simulator.wire import JSON, dumps

METHODS = {
    "/_sim/health": ("GET", "HEAD"),
    "/_sim/stats": ("GET", "HEAD"),
    "/_sim/requests": ("GET", "HEAD", "DELETE"),
}


class Doors:
    """Health, counters, and the requests that were received."""

    def __init__(self, recorder: Recorder, stats: Stats) -> None:
        self._recorder = recorder
        self._stats = stats

    def answer(self, request: Request, connection: Connection, path: str, query: str) -> None:
        """Answer at once."""
        methods = METHODS.get(path)
        if methods is None:
            _say(connection, 404, {"error": {"message": f"There is no {path}."}})
        elif request.method not in methods:
            body = {"error": {"message": f"{path} takes {', '.join(methods)}."}}
            allow = f"allow: {', '.join(methods)}\r\n".encode()
            connection.respond(405, dumps(body), JSON, allow)
        elif path == "/_sim/health":
            _say(connection, 200, {"status": "ok"})
        elif path == "/_sim/stats":
            _say(connection, 200, self._stats.as_dict())
        elif request.method == "DELETE":
            self._recorder.clear()
            _say(connection, 200, {"requests": []})
        else:
            self._requests(connection, query)

    def _requests(self, connection: Connection, query: str) -> None:
        limit = parse_qs(query).get("limit", ["1000"])[-1]
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 9):
            body = {"error": {"message": f"limit must be a number, not {limit!r}."}}
            _say(connection, 400, body)
            return
        _say(connection, 200, {"requests": self._recorder.newest(int(limit))})


def _say(connection: Connection, status: int, body: object) -> None:
    connection.respond(status, dumps(body), JSON)
