"""The WebSocket wire as a client sees it (RFC 6455), without a connection.

The generator shares two cores with what it measures, so it reads frames straight from the bytes
of a read: one pass, no object but the payload for each frame.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import zlib
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BROWSERS_OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
"""A header with which browsers offer compression (RFC 7692)."""
_SHORTENED = b"\x00\x00\xff\xff"
"""The end that a compressed message is sent without."""


class FrameError(Exception):
    """The peer broke the WebSocket protocol."""


def encode(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """One final client frame; clients mask (RFC 6455 §5.3), by default with a random key."""
    key = mask or os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    stream = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + masked.to_bytes(size, "big")


def upgrade_request(host: str, path: str, headers: dict[str, str]) -> tuple[bytes, bytes]:
    """The opening request, and the `Sec-WebSocket-Accept` that must answer it."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n{extra}\r\n"
    )
    return request.encode(), accept


def check_upgrade(head: bytes, accept: bytes) -> bool:
    """Raise FrameError unless `head` (status line and headers) accepts the upgrade.

    Gives back whether the server agreed to compress.
    """
    status, _, rest = head.partition(b"\r\n")
    if status.split(b" ", 2)[1:2] != [b"101"]:
        raise FrameError(f"upgrade refused: {status.decode('latin-1')}")
    lines = (line.partition(b":") for line in rest.split(b"\r\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    if headers.get(b"sec-websocket-accept") != accept:
        raise FrameError("upgrade answered with a wrong Sec-WebSocket-Accept")
    return b"permessage-deflate" in headers.get(b"sec-websocket-extensions", b"")


class FrameReader:
    """Bytes in, whole messages out; fragments are joined, control frames come in between.

    Args:
        max_bytes: Longest message taken; a longer one is a FrameError.
    """

    def __init__(self, max_bytes: int = 1 << 22) -> None:
        self._max = max_bytes
        self._inflater: Any = None
        self._rest = b""
        self._opcode = CONTINUATION
        self._parts: list[bytes] = []

    def expect_compressed(self) -> None:
        """Compression was agreed on: messages may come compressed, each after those before it."""
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, as (opcode, payload)."""
        if self._rest:
            data = self._rest + data
        messages: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size = data[at + 1]
            body = at + 2
            if size > 125:
                if size > 127:
                    raise FrameError("a server must not mask its frames")
                body += 2 if size == 126 else 8
                if end < body:
                    break
                size = int.from_bytes(data[at + 2 : body], "big")
                if size > self._max:
                    raise FrameError(f"frame of {size} bytes")
            if end < body + size:
                break
            opcode = data[at]
            payload = data[body : body + size]
            at = body + size
            if opcode == 0x80 | TEXT and not self._parts:
                messages.append((TEXT, payload))
            else:
                self._unusual(opcode, payload, messages)
        self._rest = data[at:] if at < end else b""
        return messages

    def _unusual(self, head: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        """Everything but a whole text message: control frames, binary, fragments."""
        final, opcode = head & 0x80, head & 0x0F
        if head & 0x40 and self._inflater is not None and final and opcode == TEXT:
            payload = self._inflater.decompress(payload + _SHORTENED, self._max)
        elif head & 0x70:
            raise FrameError("reserved bits set that were not agreed on")
        if opcode >= CLOSE:
            if not final or len(payload) > 125:
                raise FrameError("a control frame that is fragmented or too long")
            messages.append((opcode, payload))
            return
        if (opcode == CONTINUATION) != bool(self._parts):
            raise FrameError("fragments out of order")
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._parts.append(payload)
        if sum(map(len, self._parts)) > self._max:
            raise FrameError("message too long")
        if final:
            messages.append((self._opcode, b"".join(self._parts)))
            self._parts = []
