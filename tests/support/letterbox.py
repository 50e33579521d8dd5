"""A webhook endpoint for a whole test session, in a thread: takes what comes and keeps it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

SECRET = "whsec_YSBsZXR0ZXJib3ggb2Ygb25lJ3Mgb3du"
VARIABLE = "LETTERBOX_SECRET"


class Letter(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Letterbox:
    """Every first letter of an event is refused, so that each has to come twice."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        seen: set[str] = set()
        letters = self.letters

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                event_id = headers["webhook-id"]
                if event_id in seen:
                    letters.append(Letter(headers, body))
                self.send_response(200 if event_id in seen else 503)
                seen.add(event_id)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="letterbox")

    def environ(self) -> dict[str, str]:
        """Settings by which an instance tells it of turns in the background."""
        url = f"http://127.0.0.1:{self._server.server_port}/"
        endpoint = {"name": "letterbox", "url": url, "secret_env": VARIABLE}
        return {
            VARIABLE: SECRET,
            "TROUPE_WEBHOOKS__ENDPOINTS": json.dumps([endpoint]),
            "TROUPE_WEBHOOKS__BACKOFF_S": "0.1",
            "TROUPE_WEBHOOKS__POLL_S": "0.1",
            "TROUPE_SCHEDULES__POLL_S": "0.1",
        }

    def about(self, response_id: str) -> list[Letter]:
        """What it was told of this response."""
        found = [one for one in self.letters if json.loads(one.body)["data"]["id"] == response_id]
        return list(found)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
