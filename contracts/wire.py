"""The wire between a gateway and a host: frames over one TCP connection, both ways.

A frame is a four-byte big-endian length and a pickle. Pickle, because both ends are the same
release of the same program and its cost is what every token pays; and safe, because nothing is
unpickled before each end has proved that it knows the host's token, which travels through Ray
alone: host and gateway each send a nonce and answer the other's with an HMAC over it.

    host     nonce_h (32 bytes)
    gateway  nonce_g (32) · proof_g (32) · length (2) · gateway id
    host     proof_h (32)
    then frames: command batches up, parcels down
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import pickle
import secrets
import struct
from typing import Any

from contracts.errors import HostUnavailable

NONCE_BYTES = 32
MAX_FRAME_BYTES = 256 * 2**20
MAX_ID_BYTES = 256
_LENGTH = struct.Struct(">I")
_SHORT = struct.Struct(">H")


def new_token() -> str:
    """A host's secret for one incarnation."""
    return secrets.token_hex(32)


def _proof(token: str, side: bytes, nonce: bytes, gateway_id: bytes) -> bytes:
    message = side + nonce + gateway_id
    return hmac.new(token.encode(), message, hashlib.sha256).digest()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> str:
    """The host's half of the handshake; returns the gateway's id.

    Raises:
        HostUnavailable: the other end does not know the token.
        asyncio.IncompleteReadError: it left.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    writer.write(nonce)
    theirs = await reader.readexactly(NONCE_BYTES)
    proof = await reader.readexactly(hashlib.sha256().digest_size)
    (length,) = _SHORT.unpack(await reader.readexactly(_SHORT.size))
    if length > MAX_ID_BYTES:
        raise HostUnavailable("The gateway's id is too long.")
    gateway_id = await reader.readexactly(length)
    if not hmac.compare_digest(proof, _proof(token, b"gateway", nonce, gateway_id)):
        raise HostUnavailable("The gateway does not know the host's token.")
    writer.write(_proof(token, b"host", theirs, gateway_id))
    await writer.drain()
    return gateway_id.decode()


async def introduce(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, gateway_id: str
) -> None:
    """The gateway's half of the handshake. Raises as `greet` does."""
    name = gateway_id.encode()
    nonce = await reader.readexactly(NONCE_BYTES)
    mine = secrets.token_bytes(NONCE_BYTES)
    proof = _proof(token, b"gateway", nonce, name)
    writer.write(mine + proof + _SHORT.pack(len(name)) + name)
    answer = await reader.readexactly(hashlib.sha256().digest_size)
    if not hmac.compare_digest(answer, _proof(token, b"host", mine, name)):
        raise HostUnavailable("The host does not know its own token.")


def frame(data: bytes) -> bytes:
    """Bytes of one frame around an already pickled body."""
    return _LENGTH.pack(len(data)) + data


def pack(value: Any) -> bytes:
    """Bytes of one frame."""
    return frame(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close, and wait until the socket is; however the connection stood."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The body of the next frame, still pickled; `asyncio.IncompleteReadError` at the end."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise HostUnavailable(f"A frame of {length} bytes is over the limit.")
    return await reader.readexactly(length)
