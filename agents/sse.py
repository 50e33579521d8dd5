"""Server-sent events from bytes, as the HTML standard defines them, as far as providers use them.

Bytes in, the `data` of complete events out; no I/O, no decoding: JSON is parsed from bytes, so a
character that two reads tear apart is whole again before anyone looks at it. Event names and ids
are dropped, since every provider here repeats the name inside its data.
"""

from __future__ import annotations

from contracts.errors import ProviderProtocol

_BOM = b"\xef\xbb\xbf"


class SseReader:
    """Cuts a stream into events, whatever pieces it arrives in.

    Args:
        max_event_bytes: An event, or a line, that grows beyond this is an error, so that a
            provider that never ends one cannot fill the memory.
    """

    __slots__ = ("_data", "_max", "_rest", "_size", "_skip_lf", "_started")

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._skip_lf = False
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes, in order.

        Raises:
            ProviderProtocol: an event is over the limit.
        """
        if self._skip_lf and chunk:
            # The last read ended with CR. Whether it was half of a CRLF shows only now; the line
            # itself was not held back for it.
            self._skip_lf = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\n" not in chunk and b"\r" not in chunk:
            # Collected, not joined again and again: a long line in small reads stays linear.
            self._rest += chunk
            if len(self._rest) + self._size > self._max:
                raise self._too_large()
            return []
        self._skip_lf = chunk[-1] == 13
        if self._rest:
            chunk = bytes(self._rest) + chunk
            self._rest.clear()
        lines = chunk.splitlines()
        if chunk[-1] not in b"\r\n":
            self._rest += lines.pop()
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[bytes] = []
        held = self._data
        for line in lines:
            # The two lines that nearly every event consists of, without a call for each.
            if not line and len(held) == 1:
                events.append(held.pop())
                self._size = 0
            elif not held and len(line) < self._max and line.startswith(b"data: "):
                held.append(line[6:])
                self._size = len(line) - 5
            else:
                self._take(line, events)
        if len(self._rest) + self._size > self._max:
            raise self._too_large()
        return events

    def close(self) -> list[bytes]:
        """The event that lacks nothing but its blank line when the stream ends, if there is one.

        The standard would drop it; Google's own SDK does not, and a provider's last event is the
        one that must not be lost.
        """
        events: list[bytes] = []
        rest = bytes(self._rest)
        self._rest.clear()
        if rest:
            self._take(rest, events)
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                data = self._data
                events.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
                self._size = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._max:
                raise self._too_large()
        elif line == b"data":
            self._data.append(b"")
            self._size += 1

    def _too_large(self) -> ProviderProtocol:
        return ProviderProtocol(f"The provider sent an event of more than {self._max} bytes.")
