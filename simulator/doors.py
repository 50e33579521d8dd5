"""The `/_sim` paths: what those who test may ask of the simulator, without a key."""

from __future__ import annotations

from urllib.parse import parse_qs

from simulator.asks import Refusal, body_of
from simulator.http import Connection, Request
from simulator.recorder import Recorder
from simulator.script import ScriptError
from simulator.standing import Standing
from simulator.stats import Stats
from simulator.wire import JSON, dumps

METHODS = {
    "/_sim/health": ("GET", "HEAD"),
    "/_sim/stats": ("GET", "HEAD"),
    "/_sim/requests": ("GET", "HEAD", "DELETE"),
    "/_sim/faults": ("GET", "HEAD", "POST", "DELETE"),
}


class Doors:
    """Health, counters, the requests that were received, and the faults that are ordered."""

    def __init__(self, recorder: Recorder, stats: Stats, standing: Standing) -> None:
        self._recorder = recorder
        self._stats = stats
        self._standing = standing

    def answer(self, request: Request, connection: Connection, path: str, query: str) -> None:
        """Answer at once."""
        methods = METHODS.get(path)
        if methods is None:
            _say(connection, 404, _error(f"There is no {path}."))
        elif request.method not in methods:
            allow = f"allow: {', '.join(methods)}\r\n".encode()
            body = dumps(_error(f"{path} takes {', '.join(methods)}."))
            connection.respond(405, body, JSON, allow)
        elif path == "/_sim/health":
            _say(connection, 200, {"status": "ok"})
        elif path == "/_sim/stats":
            _say(connection, 200, self._stats.as_dict())
        elif path == "/_sim/faults":
            self._faults(request, connection)
        elif request.method == "DELETE":
            self._recorder.clear()
            _say(connection, 200, {"requests": []})
        else:
            self._requests(connection, query)

    def _faults(self, request: Request, connection: Connection) -> None:
        if request.method not in ("GET", "HEAD") and not connection.is_local:
            _say(connection, 403, _error("Faults are ordered from this machine only."))
            return
        try:
            if request.method == "POST":
                self._standing.give(*_order(request.body))
            elif request.method == "DELETE":
                self._standing.clear()
        except Refusal as refusal:
            _say(connection, refusal.status, _error(refusal.message))
        except ScriptError as error:
            _say(connection, 400, _error(f"script: {error}."))
        else:
            _say(connection, 200, self._standing.as_dict())

    def _requests(self, connection: Connection, query: str) -> None:
        limit = parse_qs(query).get("limit", ["1000"])[-1]
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 9):
            _say(connection, 400, _error(f"limit must be a number, not {limit!r}."))
            return
        _say(connection, 200, {"requests": self._recorder.newest(int(limit))})


def _order(raw: bytes) -> tuple[str, str | None]:
    """The model and the script in the body of an order."""
    body = body_of(raw)
    if unknown := [name for name in body if name not in ("model", "script")]:
        raise Refusal(400, f"An order has a model and a script, and no '{unknown[0]}'.")
    model, text = body.get("model"), body.get("script")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "'model' must be the name of a model.")
    if text is not None and not isinstance(text, str):
        raise Refusal(400, "'script' must be a script, or null.")
    return model, text


def _error(message: str) -> dict[str, object]:
    return {"error": {"message": message}}


def _say(connection: Connection, status: int, body: object) -> None:
    connection.respond(status, dumps(body), JSON)
