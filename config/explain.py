"""Says in plain words what pydantic found, and where: by our key paths, without union tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.errors import Problem, did_you_mean
from config.files import KeyPath, dotted
from config.overlay import Raw
from config.schema import annotation_at, is_secret, keys_at

WORDS: Mapping[str, str] = {
    "missing": "is missing; it must be set",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "too_short": "must have at least {min_length} entry",
    "string_pattern_mismatch": "does not have the form {pattern}",
}
STRUCTURED = {"dict_type", "mapping_type", "model_type", "tuple_type"}
WRONG_KIND = STRUCTURED | {"string_type", "literal_error", "int_type", "float_type"}
OUTER = WRONG_KIND | {"too_short"}
"""What says nothing once something inside is known to be wrong; a list whose entries are all
broken even counts as empty."""
SHOWN_CHARS = 60


def explain(raw: Raw, at: KeyPath, error: ValidationError) -> Iterator[Problem]:
    """One problem for each setting that the error is about.

    Where a value may be of several kinds, pydantic reports a failure for each. What is wrong
    inside the kind that was meant says more than that it is not the other kind.
    """
    faults: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        faults.setdefault(_path(raw, at, details), []).append(details)
    for path, here in faults.items():
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in faults)
        if deeper and all(details["type"] in OUTER for details in here):
            continue
        kinds = [details for details in here if details["type"] in WRONG_KIND]
        rest = [details for details in here if details["type"] not in WRONG_KIND]
        yield _problem(raw, path, rest or kinds)


def _path(raw: Raw, at: KeyPath, details: ErrorDetails) -> KeyPath:
    """Follow the location through our schema; what leads nowhere is a union's tag."""
    path = at
    loc = details["loc"]
    for index, part in enumerate(loc):
        unknown_key = details["type"] == "extra_forbidden" and index == len(loc) - 1
        if unknown_key or annotation_at(raw.root, (*path, part)) is not None:
            path = (*path, part)
    return path


def _problem(raw: Raw, path: KeyPath, details: list[ErrorDetails]) -> Problem:
    source = raw.source(path)
    if any(error["type"] == "extra_forbidden" for error in details):
        return unknown_key(raw, path)
    first, *others = dict.fromkeys(_words(error) for error in details)
    reason = first + "".join(f" or {other.removeprefix('must be ')}" for other in others)
    value = raw.at(path)
    if isinstance(value, str | int | float) and not is_secret(raw.root, path):
        shown = repr(value) if isinstance(value, str) else str(value).lower()
        reason += f", is {shown if len(shown) <= SHOWN_CHARS else shown[:SHOWN_CHARS] + '…'}"
        from_file = ":" in source
        if not from_file and any(error["type"] in STRUCTURED for error in details):
            reason += "; write it as JSON"
        elif isinstance(value, str):
            reason += did_you_mean(value.lower(), _choices(details))
    return Problem(source, dotted(path), reason)


def unknown_key(raw: Raw, path: KeyPath) -> Problem:
    """A key that means nothing where it stands."""
    hint = did_you_mean(str(path[-1]), keys_at(raw.root, path[:-1]))
    return Problem(raw.source(path), dotted(path), "is no setting" + hint)


def _words(error: ErrorDetails) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    words = WORDS.get(error["type"])
    if words is None:
        return error["msg"][:1].lower() + error["msg"][1:]
    text = words.format_map(context)
    if error["type"] == "literal_error" and len(_choices([error])) == 1:
        return text.replace("one of ", "")
    return text


def _choices(details: list[ErrorDetails]) -> list[str]:
    """The words that would have been right; pydantic lists them as `'a', 'b' or 'c'`."""
    return [
        choice
        for error in details
        if error["type"] == "literal_error"
        for choice in re.findall(r"'([^']*)'", error.get("ctx", {}).get("expected", ""))
    ]
