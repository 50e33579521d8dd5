"""Signatures of webhooks, by the Standard Webhooks scheme that OpenAI's clients verify.

Signed is `id.timestamp.body`, with HMAC-SHA256. A secret that begins with `whsec_` is Base64 after
that; any other is taken as it stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from contracts.errors import InvalidRequest

PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key that a secret stands for. Raises `InvalidRequest`."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidRequest("The secret is not Base64 after `whsec_`.") from error


def headers_of(key: bytes, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that let a receiver know who sent this, and when."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
