"""Hygiene of what callers send: no text with control characters, none that is too long.

Every text of a request passes here before anything else sees it, so the store, the models and
other clients never meet a NUL byte or half a surrogate pair.
"""

from __future__ import annotations

import re

from contracts.errors import InvalidRequest

# C0 but for tab, line feed and carriage return; DEL; surrogates, which JSON can spell alone.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

CLEAN_PATTERN = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"
"""The same rule as a JSON schema pattern."""

FORBIDDEN_MESSAGE = (
    "The text holds control characters; only tab, line feed and carriage return are allowed."
)


def is_clean(text: str) -> bool:
    """Whether `text` is free of control characters and lone surrogates."""
    return _FORBIDDEN.search(text) is None


def check_text(text: str, param: str, limit_chars: int) -> None:
    """Refuse what must not enter a conversation.

    Raises:
        InvalidRequest: code `invalid_characters` or `message_too_long`, with `param`.
    """
    check_length(text, param, limit_chars)
    if not is_clean(text):
        raise InvalidRequest(FORBIDDEN_MESSAGE, param=param, code="invalid_characters")


def check_length(text: str, param: str, limit_chars: int) -> None:
    """Refuse a text of more than `limit_chars` characters. Raises `InvalidRequest`."""
    if len(text) > limit_chars:
        raise InvalidRequest(
            f"The message has {len(text)} characters; the limit is {limit_chars}.",
            param=param,
            code="message_too_long",
            details={"limit": limit_chars},
        )


def printable(text: str, limit_chars: int = 200) -> str:
    """`text` fit to be quoted in an error: encodable, and no longer than the limit."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return safe if len(safe) <= limit_chars else safe[: limit_chars - 1] + "…"
