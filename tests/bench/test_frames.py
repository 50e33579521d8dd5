"""The generator's own WebSocket wire against an independent implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from bench import frames

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000])


def serialized(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def server() -> ServerProtocol:
    """The other implementation's server end, past the handshake."""
    protocol = ServerProtocol(state=State.OPEN)
    protocol.events_received()
    return protocol


@given(SIZES, st.binary(min_size=4, max_size=4))
def test_a_server_reads_what_a_client_encodes(size: int, mask: bytes) -> None:
    payload = bytes(k % 251 for k in range(size))
    peer = server()
    peer.receive_data(frames.encode(frames.BINARY, payload, mask))
    (event,) = peer.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, bytes(event.data), event.fin) == (Opcode.BINARY, payload, True)


def test_a_server_accepts_the_upgrade_and_the_client_its_answer() -> None:
    request, accept = frames.upgrade_request("host:1", "/v1/x/ws", {"Authorization": "Bearer k"})
    peer = ServerProtocol()
    peer.receive_data(request)
    (event,) = peer.events_received()
    assert isinstance(event, Request)
    assert (event.path, event.headers["Authorization"]) == ("/v1/x/ws", "Bearer k")
    peer.send_response(peer.accept(event))
    head, _, rest = b"".join(peer.data_to_send()).partition(b"\r\n\r\n")
    assert frames.check_upgrade(head, accept) is False
    assert rest == b""
    with pytest.raises(frames.FrameError, match="wrong Sec-WebSocket-Accept"):
        frames.check_upgrade(head, b"another")


def test_compressed_messages_are_read_where_the_server_agreed_to_compress() -> None:
    request, accept = frames.upgrade_request("host:1", "/ws", frames.BROWSERS_OFFER)
    peer = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    peer.receive_data(request)
    (event,) = peer.events_received()
    assert isinstance(event, Request)
    peer.send_response(peer.accept(event))
    head, _, _ = b"".join(peer.data_to_send()).partition(b"\r\n\r\n")
    assert frames.check_upgrade(head, accept) is True
    texts = [b"the same words", b"the same words again", bytes(range(65, 90)) * 4000]
    for text in texts:
        peer.send_text(text)
    stream = b"".join(peer.data_to_send())
    assert len(stream) < len(texts[-1]) // 10
    reader = frames.FrameReader()
    reader.expect_compressed()
    assert reader.feed(stream) == [(frames.TEXT, text) for text in texts]


def test_a_refused_upgrade_says_why() -> None:
    with pytest.raises(frames.FrameError, match="429 Too Many"):
        frames.check_upgrade(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1", b"")


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=6), st.integers(1, 70000))
def test_messages_survive_any_cut_of_the_stream(
    messages: list[tuple[int, bool]], step: int
) -> None:
    sent = [(frames.TEXT if text else frames.BINARY, b"x" * size) for size, text in messages]
    stream = b"".join(serialized(Opcode(opcode), data) for opcode, data in sent)
    step = max(step, len(stream) // 300)
    reader = frames.FrameReader()
    came = [
        message
        for at in range(0, len(stream), step)
        for message in reader.feed(stream[at : at + step])
    ]
    assert came == sent


def test_fragments_are_joined_and_control_frames_come_in_between() -> None:
    stream = (
        serialized(Opcode.TEXT, b"one ", fin=False)
        + serialized(Opcode.PING, b"p")
        + serialized(Opcode.CONT, b"two ", fin=False)
        + serialized(Opcode.CONT, b"three")
        + serialized(Opcode.TEXT, b"next")
    )
    assert frames.FrameReader().feed(stream) == [
        (frames.PING, b"p"),
        (frames.TEXT, b"one two three"),
        (frames.TEXT, b"next"),
    ]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        pytest.param(Frame(Opcode.TEXT, b"x").serialize(mask=True), "mask", id="masked"),
        (b"\x81\x80mask", "mask"),
        (b"\xc1\x01x", "reserved"),
        (serialized(Opcode.CONT, b"x"), "out of order"),
        (serialized(Opcode.TEXT, b"x", fin=False) + serialized(Opcode.TEXT, b"y"), "out of order"),
        (serialized(Opcode.TEXT, b"x" * 1001), "1001 bytes"),
        (
            serialized(Opcode.TEXT, b"x" * 600, fin=False) + serialized(Opcode.CONT, b"y" * 600),
            "too long",
        ),
        (b"\x09\x00", "control"),
    ],
)
def test_what_no_server_may_send_is_refused(stream: bytes, why: str) -> None:
    with pytest.raises(frames.FrameError, match=why):
        frames.FrameReader(max_bytes=1000).feed(stream)
