"""What uvicorn is to do differently with a WebSocket; Ray Serve leaves no way to say it.

Serve starts uvicorn in the replica with options of its own (2.60: `start_asgi_http_server`), so
the class that uvicorn looks up for WebSockets is replaced in uvicorn's own table. It differs in
three things, each of which an idle socket would pay for all its life, and in a fourth, which every
token would pay for:

- It does not agree to permessage-deflate, which browsers offer: the two windows take 38 KB for
  each socket (uvicorn 0.54), and tokens of a few bytes are not what compression is for.
- It tells Serve not to watch for the disconnection. Serve would keep two more tasks and a queue for
  that, and read a client's frames into the queue however slowly they are taken: without it uvicorn
  reads the next frame when the last one is taken. `gateway.socket` waits for the disconnection
  itself. `gateway.edge` takes the header off what a client sends.
- It forgets the handshake once that is over.
- It frames text messages itself, and is a `gateway.sink.Sink`, by which several go out in one
  write; and it reads a text message itself that came alone, in one frame and in one piece. All else
  of the protocol is uvicorn's, and so is a message that finds its client slow or gone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.config import WS_PROTOCOLS, Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import apply_mask  # type: ignore[reportPrivateImportUsage]
from websockets.protocol import State
from websockets.streams import StreamReader

from gateway.sink import SINK

_NOT_WATCHED = (b"x-request-disconnect-disabled", b"?1")
_TEXT = 0x81
"""The first byte of a text message that is one frame."""

_BETWEEN = StreamReader.at_eof.__code__
"""Where the parser waits when it is in no frame: for a byte to come, or the end."""

_SHORT = [bytes((_TEXT, size)) for size in range(126)]
_MEDIUM = struct.Struct(">BBH")
_LONG = struct.Struct(">BBQ")


class LeanSocket(WebSocketsSansIOProtocol):
    """A WebSocket that costs no more than it must."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        config.ws_per_message_deflate = False
        super().__init__(config, server_state, app_state)

    async def run_asgi(self) -> None:
        # The last of a name counts, so a client cannot say otherwise.
        self.scope["headers"] = [*self.scope["headers"], _NOT_WATCHED]
        cast("dict[str, Any]", self.scope)["extensions"][SINK] = self
        await super().run_asgi()
        if not self.writable.is_set() and not self.disconnected:
            # uvicorn closes a transport once all is taken, which a client that takes nothing
            # could put off for good.
            self.transport.abort()

    def start_keepalive(self) -> None:
        """Called once, when the socket is accepted."""
        super().start_keepalive()
        del self.request, self.response

    def data_received(self, data: bytes) -> None:
        text = self._lone_text(data)
        if text is None:
            super().data_received(data)
            return
        self.curr_msg_data_type = "text"
        self.frames = [text]
        self.send_receive_event_to_app()

    def _lone_text(self, data: bytes) -> bytes | None:
        """What `data` says if it is one text message, whole and in one frame; else None."""
        if len(data) < 6 or data[0] != _TEXT:
            return None
        size, start = data[1] - 0x80, 6
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 8
        elif size > 126:
            return None
        if len(data) != start + size or size > self.config.ws_max_size:
            return None
        conn = self.conn
        if conn.state is not State.OPEN or conn.current_size is not None:
            return None
        # The server's parser goes on in that of both sides, which waits for a byte or for a frame.
        parser: Any = conn.parser
        inner = parser.gi_yieldfrom
        waits = None if inner is None else inner.gi_yieldfrom
        if waits is None or waits.gi_code is not _BETWEEN:
            return None
        return apply_mask(data[start:], data[start - 4 : start])

    def put(self, texts: Sequence[bytes]) -> bool:
        """See `gateway.sink`."""
        if self.disconnected or self.conn.state is not State.OPEN or not self.writable.is_set():
            return False
        self.transport.write(b"".join([part for text in texts for part in (_head(text), text)]))
        return True

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            text = message.get("text")
            if text is not None and self.put((text.encode(),)):
                return
        await super().send(message)


def _head(text: bytes) -> bytes:
    """What stands before a message on the wire: it is one frame, whatever its size."""
    size = len(text)
    if size < 126:
        return _SHORT[size]
    if size < 65536:
        return _MEDIUM.pack(_TEXT, 126, size)
    return _LONG.pack(_TEXT, 127, size)


def install() -> None:
    """Make it this process's protocol; before uvicorn is started. Idempotent."""
    WS_PROTOCOLS["auto"] = f"{LeanSocket.__module__}:{LeanSocket.__qualname__}"
