"""What the simulator was sent: a ring bounded in number and in bytes, without secrets."""

from __future__ import annotations

import time
from collections import deque
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from simulator.http import Request

SECRET_HEADERS = frozenset(
    {b"authorization", b"x-goog-api-key", b"api-key", b"cookie", b"proxy-authorization"}
)
SECRET_PARAMETERS = frozenset({"key", "access_token"})
REDACTED = "[redacted]"
BYTES_LIMIT = 64 * 1024 * 1024


class Record:
    """One request, kept as it came; the work of showing it is left to the one who asks.

    `outcome` is `running`, `finished`, `aborted` (by the client), `faulted` or `refused`.
    """

    __slots__ = ("at", "number", "outcome", "request")

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.request = request
        self.at = time.time()
        self.outcome = "running"

    def as_dict(self) -> dict[str, Any]:
        """What `/_sim/requests` shows: `body` is parsed if it is JSON, else text."""
        request = self.request
        path, _, query = request.target.decode("latin-1").partition("?")
        if query:
            path += "?" + urlencode(
                [
                    (name, REDACTED if name in SECRET_PARAMETERS else value)
                    for name, value in parse_qsl(query, keep_blank_values=True)
                ],
                safe="[]",
            )
        try:
            body = orjson.loads(request.body) if request.body else None
        except orjson.JSONDecodeError:
            body = request.body.decode("utf-8", "replace")
        return {
            "number": self.number,
            "at": self.at,
            "method": request.method,
            "path": path,
            "headers": {
                name.decode("latin-1"): REDACTED
                if name in SECRET_HEADERS
                else value.decode("latin-1")
                for name, value in request.headers
            },
            "body": body,
            "outcome": self.outcome,
        }


class Recorder:
    """The newest requests. When it is full the oldest go.

    Args:
        limit: How many; 0 records nothing.
        bytes_limit: How many bytes of bodies, all together.
    """

    def __init__(self, limit: int, bytes_limit: int = BYTES_LIMIT) -> None:
        self._limit = limit
        self._bytes_limit = bytes_limit
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._count = 0

    def add(self, request: Request) -> Record | None:
        """Keep a request; None if recording is off."""
        if self._limit == 0:
            return None
        self._count += 1
        record = Record(self._count, request)
        records = self._records
        records.append(record)
        self._bytes += len(request.body)
        while len(records) > self._limit or (self._bytes > self._bytes_limit and len(records) > 1):
            self._bytes -= len(records.popleft().request.body)
        return record

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` records, oldest first."""
        records = list(self._records)
        return [record.as_dict() for record in records[-limit:]] if limit else []

    def clear(self) -> None:
        """Forget everything; numbering goes on."""
        self._records.clear()
        self._bytes = 0
