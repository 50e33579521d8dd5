"""Ids: a prefix that names the noun, then a UUIDv7 in hex, so that ids sort by their birth.

Layout of RFC 9562 §5.7: 48 bits of Unix milliseconds, version, 12 + 62 further bits. Within one
process and millisecond the 12 bits count up, so ids of one process never sort backwards.
"""

from __future__ import annotations

import re
import secrets
import threading
import time

ORGANIZATION = "org"
USER = "user"
SESSION = "conv"
STATELESS = "chat"
MESSAGE = "msg"
RESPONSE = "resp"
REQUEST = "req"
SCHEDULE = "sched"
WEBHOOK_EVENT = "evt"

_ID = re.compile(r"[a-z]+_[0-9a-f]{32}")
_lock = threading.Lock()
_last_ms = 0
_counter = 0


def new_id(prefix: str) -> str:
    """A new id such as `conv_0199f3b2c4d87d1a9f3c2b1a0e9d8c7b`."""
    global _last_ms, _counter
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, secrets.randbits(8)
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        stamp, count = _last_ms, _counter
    tail = secrets.randbits(62)
    value = (stamp << 80) | (0x7 << 76) | (count << 64) | (0b10 << 62) | tail
    return f"{prefix}_{value:032x}"


def is_stateless(session_id: str) -> bool:
    """Whether a session of this id is kept in no store."""
    return session_id.startswith(f"{STATELESS}_")


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an id with this prefix; says nothing of its existence."""
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None
