"""The scripting language: what a test or a benchmark asks the simulator to do.

The same fields in two spellings:

    header  x-simulator: ttft_ms=300;gap_ms=20;tokens=40;fault=abort;at=5;seed=1
    model   scripted.ttft_ms-300.gap_ms-20.tokens-40.fault-abort.at-5.seed-1

With both, the header's fields win. A mistake is an error, never a guess: a test that misspells
its fault must not pass.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

MODEL_PREFIX = "scripted."
MAX_TOKENS = 100_000
MAX_MS = 600_000

STATUS_FAULTS = {
    "rate_limit": 429,
    "overloaded": 503,
    "server_error": 500,
    "unauthorized": 401,
    "bad_request": 400,
}
SILENT_FAULTS = frozenset({"hang", "reset", "close"})
SPOILT_FAULTS = frozenset({"malformed", "oversize"})
"""One token is wrong, and the answer goes on as if nothing were."""
STREAM_FAULTS = SPOILT_FAULTS | {"in_band_error", "failed", "stall", "abort", "truncate"}
RESPONSES_FAULTS = frozenset({"failed"})
FAULTS = frozenset(STATUS_FAULTS) | SILENT_FAULTS | STREAM_FAULTS
FINISHES = ("stop", "length", "content_filter")


class ScriptError(ValueError):
    """The script says what the simulator does not understand; the text tells the author what."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is to happen to one request. Times are in milliseconds from its arrival.

    Attributes:
        ttft_ms: Until the first token, the whole answer (not streamed) or the fault's status.
        gap_ms: From one token to the next.
        jitter_ms: Each token is late by up to this much more, drawn from `seed`.
        tokens: How many; token k is `t{k} `. None: a conversational reply.
        fault: One of `FAULTS`. None: all goes well.
        at: A fault within the answer strikes after this many tokens. None: after half of them.
        times: The fault strikes this many requests with this very script, then no more.
            None: every one.
        retry_after_s: What the Retry-After header says; 429 has one anyway.
        requests_left: What OpenAI's rate-limit headers say is left of 60 requests a minute.
            None: of plenty.
        finish: Why the model stopped, in OpenAI's chat words.
        seed: Of jitter and of the conversational reply. None: the simulator's own.
    """

    ttft_ms: int = 0
    gap_ms: int = 0
    jitter_ms: int = 0
    tokens: int | None = None
    fault: str | None = None
    at: int | None = None
    times: int | None = None
    retry_after_s: int | None = None
    requests_left: int | None = None
    finish: str = "stop"
    seed: int | None = None


KEYS = tuple(field.name for field in fields(Script))
LIMITS = {
    "ttft_ms": MAX_MS,
    "gap_ms": MAX_MS,
    "jitter_ms": MAX_MS,
    "tokens": MAX_TOKENS,
    "at": MAX_TOKENS,
    "times": 1_000_000,
    "retry_after_s": 86_400,
    "requests_left": 60,
    "seed": (1 << 63) - 1,
}
WORDS = {"fault": tuple(sorted(FAULTS)), "finish": FINISHES}


@lru_cache(maxsize=1024)
def parse(header: str | None, model: str) -> Script | None:
    """The script of a request, or None if it carries none.

    Raises:
        ScriptError: An unknown field, fault or word, or a number out of its range.
    """
    said: dict[str, int | str] = {}
    if model.startswith(MODEL_PREFIX):
        _read(said, model.removeprefix(MODEL_PREFIX).split("."), "-")
    elif model == MODEL_PREFIX[:-1]:
        return Script() if header is None else parse(header, "")
    if header is not None:
        _read(said, header.split(";"), "=")
    elif not said:
        return None
    script = Script(**said)  # type: ignore[arg-type]  # `_read` gives each key its own type
    _check(script)
    return script


def _read(said: dict[str, int | str], parts: list[str], sign: str) -> None:
    spelled: set[str] = set()
    for part in parts:
        key, found, value = (text.strip() for text in part.partition(sign))
        if not key and not found:
            continue
        if not found:
            raise ScriptError(f"'{part.strip()}' has no value; write {key}{sign}VALUE")
        if key not in KEYS:
            raise ScriptError(f"unknown key '{key}'; the keys are {', '.join(KEYS)}")
        if key in spelled:
            raise ScriptError(f"'{key}' is given twice")
        spelled.add(key)
        said[key] = _word(key, value) if key in WORDS else _number(key, value)


def _word(key: str, value: str) -> str:
    if value not in WORDS[key]:
        raise ScriptError(f"unknown {key} '{value}'; it is one of {', '.join(WORDS[key])}")
    return value


def _number(key: str, value: str) -> int:
    digits = value.isascii() and value.isdigit() and len(value) <= 19
    if not digits or int(value) > LIMITS[key]:
        raise ScriptError(f"'{key}' is a whole number from 0 to {LIMITS[key]}, not '{value}'")
    return int(value)


def _check(script: Script) -> None:
    if script.at is not None:
        if script.fault not in STREAM_FAULTS:
            raise ScriptError(f"'at' needs a fault of {', '.join(sorted(STREAM_FAULTS))}")
        if script.tokens is not None and script.at > script.tokens:
            raise ScriptError(f"at={script.at} is past tokens={script.tokens}")
    if script.times is not None and script.fault is None:
        raise ScriptError("'times' needs a fault")
