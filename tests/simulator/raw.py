"""A socket with nothing between: for what no HTTP client would send or survive."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2

LIMIT_S = 20.0

ENDPOINTS = ("chat", "responses", "gemini")
"""Each streaming endpoint, by the names that `post` knows."""


class Wire(NamedTuple):
    """Both ends of a connection, with a limit on each read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), LIMIT_S)

    async def some(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(65536), LIMIT_S)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset raises."""
        return await asyncio.wait_for(self.reader.read(), LIMIT_S)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the next answer."""
        lines = (await self.until(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer whole; its body must be of a known length."""
        status, headers = await self.head()
        length = int(headers["content-length"])
        return status, headers, await asyncio.wait_for(self.reader.readexactly(length), LIMIT_S)


@asynccontextmanager
async def connect(port: int, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def once_more(http: httpx2.AsyncClient, name: str, than: int) -> None:
    """Wait until the counter `name` is above `than`. Asking is waiting enough."""
    async with asyncio.timeout(LIMIT_S):
        while await counted(http, name) <= than:
            pass


async def counted(http: httpx2.AsyncClient, name: str) -> int:
    """One counter of the simulator's."""
    return (await http.get("/_sim/stats")).json()[name]


def post(endpoint: str, script: str, *, stream: bool = True, text: str = "hi") -> bytes:
    """A request to a streaming endpoint, with the script in the header."""
    if endpoint == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = f"/v1beta/models/m:{verb}"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    elif endpoint == "chat":
        path = "/v1/chat/completions"
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
    else:
        path = "/v1/responses"
        body = {"model": "m", "stream": stream, "input": text}
    key = "x-goog-api-key" if endpoint == "gemini" else "authorization"
    return request("POST", path, {key: "Bearer any", "x-simulator": script}, json.dumps(body))


def request(
    method: str, path: str, headers: Mapping[str, str], body: str = "", version: str = "1.1"
) -> bytes:
    data = body.encode()
    lines = [f"{method} {path} HTTP/{version}", "host: simulator"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data:
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def unchunked(data: bytes) -> bytes:
    """The content of a complete chunked body; fails on a cut one."""
    content = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert data == b"\r\n"
            return content
        content += data[:length]
        assert data[length : length + 2] == b"\r\n"
        data = data[length + 2 :]
