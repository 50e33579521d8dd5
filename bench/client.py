"""One session of the load generator: a socket that speaks Troupe's native frames.

A session sends one turn at a time and tells its owner when it is over. It judges nothing but the
protocol: what a turn's figures mean is for `load` and `stats`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import orjson

from bench import frames

OK = "ok"
_ENDS = {
    "response.completed": OK,
    "response.failed": "failed",
    "response.incomplete": "incomplete",
    "response.cancelled": "cancelled",
}
now = time.monotonic
_serials = itertools.count(1)


@dataclass(slots=True)
class Turn:
    """One turn as its client saw it. Times are CLOCK_MONOTONIC seconds, 0 where it never came.

    `woke`: the session's epoch had moved on since it last said something, so it was not in a
    host's memory when the turn came. `legs`: by what policies its answer went on elsewhere.
    """

    session: int
    number: int
    sent: float
    accepted: float = 0.0
    first: float = 0.0
    done: float = 0.0
    woke: bool = False
    outcome: str = ""
    response_id: str = ""
    deltas: list[str] = field(default_factory=list[str])
    final: str | None = None
    legs: list[str] = field(default_factory=list[str])


class Owner(Protocol):
    """Whoever runs the sessions."""

    def opened(self, session: Session) -> None:
        """`session.opened` came."""

    def ended(self, session: Session, turn: Turn) -> None:
        """A turn is over, well or badly; `turn.outcome` says which."""

    def lost(self, session: Session, reason: str) -> None:
        """The socket is gone though nobody closed it."""

    def gap(self, session: Session) -> None:
        """An event's `seq` did not follow the one before."""


class Session(asyncio.Protocol):
    """A WebSocket to one conversation.

    Args:
        owner: Hears what happens.
        number: Which session of the generator this is.
        host: `host:port`, for the Host header.
        path: The conversation's socket.
        headers: Further headers of the upgrade request.
        model: What every turn asks for.
    """

    def __init__(
        self, owner: Owner, number: int, host: str, path: str, headers: dict[str, str], model: str
    ) -> None:
        self.number = number
        # A conversation may be opened again, and must not hear a message twice of the same id.
        self._serial = next(_serials)
        self.turn: Turn | None = None
        self.is_open = False
        self.is_compressed = False
        self.turns = 0
        self._owner = owner
        self._request, self._accept = frames.upgrade_request(host, path, headers)
        self._model = model
        self._head: bytes | None = b""
        self._reader = frames.FrameReader()
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._seq = -1
        self._epoch = -1
        self._reason = "connection lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.is_open = False
        if self.turn is not None:
            self._end("disconnected")
        if not self._closing:
            self._closing = True
            self._owner.lost(self, str(exc) if exc else self._reason)

    def data_received(self, data: bytes) -> None:
        try:
            if self._head is not None:
                data = self._upgrade(data)
            for opcode, payload in self._reader.feed(data):
                if opcode == frames.TEXT:
                    self._event(orjson.loads(payload))
                else:
                    self._control(opcode, payload)
        except (frames.FrameError, ValueError, KeyError, TypeError) as error:
            self._reason = f"protocol: {error!r}"
            if self._transport is not None:
                self._transport.abort()

    def start(self, text: str) -> Turn:
        """Send one turn. The session must be open and without a running turn."""
        assert self._transport is not None and self.turn is None
        self.turns += 1
        request = {
            "type": "response.create",
            "id": f"bench-{self._serial}-{self.turns}",
            "model": self._model,
            "input": text,
        }
        frame = frames.encode(frames.TEXT, orjson.dumps(request))
        turn = self.turn = Turn(self.number, self.turns, now())
        self._transport.write(frame)
        return turn

    def close(self) -> None:
        """Say goodbye and drop the socket; the owner hears nothing more of it."""
        self._closing = True
        if self._transport is not None:
            self._transport.write(frames.encode(frames.CLOSE, b"\x03\xe8"))
            self._transport.close()

    def give_up(self) -> str:
        """End the running turn as timed out, drop the socket; the outcome says how far it came."""
        outcome, turn = "timeout", self.turn
        if turn is not None:
            reached = "token" if turn.deltas else "accepted" if turn.accepted else "request"
            outcome = f"timeout after {reached}"
            self._end(outcome)
        self.close()
        return outcome

    def _upgrade(self, data: bytes) -> bytes:
        """Read the answer to the upgrade; return the bytes that follow it."""
        self._head = (self._head or b"") + data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            return b""
        self.is_compressed = frames.check_upgrade(head, self._accept)
        if self.is_compressed:
            self._reader.expect_compressed()
        self._head = None
        assert self._transport is not None
        self._transport.write(frames.encode(frames.TEXT, b'{"type":"session.open"}'))
        return rest

    def _event(self, event: dict[str, Any]) -> None:
        kind: str = event["type"]
        seq: Any = event.get("seq")
        if seq is not None:
            if seq != self._seq + 1 and self._seq >= 0:
                self._owner.gap(self)
            self._seq = seq
        epoch_before, self._epoch = self._epoch, event.get("epoch", self._epoch)
        turn = self.turn
        if kind == "session.opened":
            if self.is_open:  # said anew in mid-socket: what was missed could not be given back
                self._owner.gap(self)
                return
            self.is_open = True
            self._owner.opened(self)
        elif turn is None:
            if kind == "error":
                self._reason = f"error: {event['error'].get('code')}"
        elif kind == "response.output_text.delta":
            turn.first = turn.first or now()
            if event["response_id"] != turn.response_id:
                self._end("foreign event")
                return
            turn.deltas.append(event["delta"])
        elif kind == "response.accepted":
            turn.accepted = now()
            turn.woke = self._epoch > epoch_before
            turn.response_id = event["response_id"]
        elif kind == "response.resumed":
            if event["response_id"] != turn.response_id:
                self._end("foreign event")
                return
            turn.legs.append(event["policy"])
            turn.deltas = ["".join(turn.deltas)[: event["position"]]]
        elif kind in _ENDS:
            turn.final = output_text(event.get("response") or {})
            self._end(_ENDS[kind])
        elif kind == "error":
            self._end(f"error: {event['error'].get('code')}")

    def _end(self, outcome: str) -> None:
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.done = now()
            turn.outcome = outcome
            self._owner.ended(self, turn)

    def _control(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        if opcode == frames.PING:
            self._transport.write(frames.encode(frames.PONG, payload))
        elif opcode == frames.CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._reason = f"closed by the server with {code}"
            self._transport.write(frames.encode(frames.CLOSE, payload[:2]))
            self._transport.close()
        elif opcode == frames.BINARY:
            raise frames.FrameError("a binary message in a text session")


def output_text(response: dict[str, Any]) -> str | None:
    """The text of a Responses API object, or None where it carries no output."""
    output: list[dict[str, Any]] | None = response.get("output")
    if not output:
        return None
    return "".join(
        part.get("text", "")
        for item in output
        if item.get("type") == "message"
        for part in item.get("content", ())
    )
