"""What the head of an answer says of its provider's rate limits: OpenAI's `x-ratelimit-…` headers.

Proxies and compatible servers send the same ones. Gemini sends none: of its limits only a 429
tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from contracts.limits import RateLimits

MAX_RESET_S = 3600.0
_COUNT = re.compile(r"\d{1,15}")
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """The provider's word, or None if it says nothing; what cannot be read was not said."""
    requests = headers.get("x-ratelimit-remaining-requests")
    tokens = headers.get("x-ratelimit-remaining-tokens")
    if requests is None and tokens is None:
        return None
    return RateLimits(
        _count(requests),
        _count(headers.get("x-ratelimit-limit-requests")),
        seconds(headers.get("x-ratelimit-reset-requests")),
        _count(tokens),
        _count(headers.get("x-ratelimit-limit-tokens")),
        seconds(headers.get("x-ratelimit-reset-tokens")),
    )


def seconds(text: str | None) -> float | None:
    """A time as OpenAI writes it, `6m0s`, `1.5s` or `17ms`; a bare number is seconds."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return min(float(text), MAX_RESET_S)
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    return min(total, MAX_RESET_S) if 0 < end == len(text) else None


def _count(text: str | None) -> int | None:
    # A limit that is overdrawn may be told as less than nothing.
    if text is None or not _COUNT.fullmatch(text.removeprefix("-")):
        return None
    return max(0, int(text))
