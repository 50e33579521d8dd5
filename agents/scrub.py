"""Takes keys out of texts that were not written here, before a caller or a log sees them.

A provider's message is the only thing that says which model does not exist or how long a context
may be, so it is worth passing on; but providers quote keys back, in part and in full.
"""

from __future__ import annotations

import re

MASK = "[redacted]"

_SECRETS = re.compile(
    r"""
      \b(?:bearer|basic)\s+[^\s,;]+                              # Authorization's own form
    | \b(?:sk|pk|rk|org|proj)-[\w*.\-]+                          # OpenAI and its kin
    | \bAIza[\w*\-]+ | \bya29\.[\w.\-]+ | \bAQ\.[\w\-]+          # Google
    | \b(?:api[\s_-]?key|key|token|secret|password|credential)s?\b
      [^.,;=:]{0,20}[=:]\s*[^\s,;]+                              # … key provided: x, key=x
    | [A-Za-z0-9_+\-=*]{32,}                                     # whatever else is long and random
    """,
    re.IGNORECASE | re.VERBOSE,
)
_EXAMINED_CHARS = 64 * 1024


def scrub(text: str, secrets: tuple[str, ...] = (), max_chars: int = 200) -> str:
    """One short line of `text` without control characters, `secrets` or what looks like one.

    It masks too much rather than too little; the head of a long text is kept.
    """
    # Shortened last: a cut through a secret would leave its first half unrecognised.
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    printable = "".join([c if c.isprintable() else " " for c in text[:_EXAMINED_CHARS]])
    masked = _SECRETS.sub(MASK, " ".join(printable.split()))
    if len(masked) > max_chars:
        masked = masked[: max_chars - 1].rstrip() + "…"
    return masked
