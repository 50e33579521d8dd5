"""The admin API as the commands see it: JSON out, JSON or a refusal in."""

from __future__ import annotations

import json
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

TIMEOUT_S = 30.0
MAX_BYTES = 64 << 20


class Unreachable(Exception):
    """Nobody answers there, or not as Troupe would."""


class Refused(Exception):
    """The server says no: its error object, and the HTTP status."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", f"HTTP {status}")))
        self.status = status
        self.code = str(error.get("code", ""))
        self.problems = cast("list[dict[str, Any]]", error.get("problems", []))


class _Stay(HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class Api:
    """One Troupe.

    Args:
        url: Its address.
        key: The admin key; None: the door is open.
    """

    def __init__(self, url: str, key: str | None) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unreachable(f"{url} is no address; it begins with http:// or https://")
        self._url = url.rstrip("/")
        self._key = key
        self._opener = build_opener(_Stay())

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", path, query, None, {})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps({name: one for name, one in body.items() if one is not None})
        return self._call("POST", path, {}, content.encode(), {"content-type": "application/json"})

    def send(self, method: str, path: str, text: str, **told: Any) -> dict[str, Any]:
        """A policy's text. `follows`: the version that it is to follow."""
        headers = {"content-type": "application/yaml"}
        follows = told.pop("follows", None)
        if follows is not None:
            headers["if-match"] = f'"{follows}"'
        return self._call(method, path, told, text.encode(), headers)

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        content: bytes | None,
        headers: dict[str, str],
    ) -> dict[str, Any]:
        given = urlencode({name: one for name, one in query.items() if one is not None})
        url = f"{self._url}/admin/v1/{path}" + (f"?{given}" if given else "")
        request = Request(url, content, headers, method=method)
        if self._key:
            request.add_header("authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return _object(answer.read(MAX_BYTES))
        except HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, URLError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise Unreachable(f"{self._url} does not answer: {reason}") from None

    def _refusal(self, error: HTTPError) -> Exception:
        try:
            told = _object(error.read(MAX_BYTES))["error"]
            return Refused(error.code, cast("dict[str, Any]", told))
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            return Unreachable(f"{self._url} answers {error.code}, and not as Troupe does")


def _object(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return cast("dict[str, Any]", found)
