"""Reads settings from environment variables: `TROUPE_GATEWAY__PORT`, and well-known names.

`TROUPE_` and a key's path in capitals, with two underscores for each step, sets any key; lists
and mappings are given as JSON. An empty variable counts as not set, since compose files cannot
leave one out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from config.errors import Problem, did_you_mean
from config.files import KeyPath, dotted
from config.schema import ANY, annotation_at, is_text, leaves
from config.settings import Settings

PREFIX = "TROUPE_"
ENVIRONMENT = "TROUPE_ENV"
WELL_KNOWN: Mapping[str, KeyPath] = {
    "DATABASE_URL": ("context", "database_url"),
    "REDIS_URL": ("context", "redis_url"),
    "TROUPE_API_KEY": ("auth", "api_key"),
    "TROUPE_ADMIN_KEY": ("auth", "admin_key"),
    "PORT": ("gateway", "port"),
}
"""Variables that set one key. Of a secret's name, `NAME_FILE` holds the path of a file."""

SECRET_FILE_CHARS = 65_536


class Value(NamedTuple):
    """One setting from the environment, and the variable that it comes from."""

    path: KeyPath
    value: Any
    source: str


def read_environ(
    environ: Mapping[str, str], values: Mapping[str, Any]
) -> tuple[list[Value], list[Problem]]:
    """All settings the environment gives, except providers' keys and addresses.

    Args:
        environ: The variables.
        values: What the files gave, to find names (agents) that a variable spells in capitals.
    """
    found: list[Value] = []
    problems: list[Problem] = []
    for name, path in WELL_KNOWN.items():
        if name == "PORT":
            text, source = environ.get(name) or None, name
        else:
            text, source, problem = secret(environ, name, dotted(path))
            problems += [problem] if problem else []
        if text is not None:
            found.append(Value(path, _parsed(text, annotation_at(Settings, path)), source))
    known = {ENVIRONMENT, *WELL_KNOWN, *(f"{name}_FILE" for name in WELL_KNOWN)}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in known or not text:
            continue
        path = _path(name, values)
        annotation = annotation_at(Settings, path)
        if annotation is None or path == ("environment",):
            problems.append(Problem(name, dotted(path), "names no setting" + _hint(name, values)))
            continue
        double = next((other for other in found if other.path == path), None)
        if double:
            problems.append(Problem(name, dotted(path), f"is already set by {double.source}"))
            continue
        found.append(Value(path, _parsed(text, annotation), name))
    return found, problems


def secret(
    environ: Mapping[str, str], name: str, key: str
) -> tuple[str | None, str, Problem | None]:
    """The value of `NAME`, or the content of the file that `NAME_FILE` names, and its source."""
    value, file = environ.get(name), environ.get(f"{name}_FILE")
    if value and file:
        reason = f"is set, and so is {name}; unset one of them"
        return value, name, Problem(f"{name}_FILE", key, reason)
    if not file:
        return value or None, name, None
    source = f"{name}_FILE"
    try:
        with Path(file).open(encoding="utf-8") as stream:
            content = stream.read(SECRET_FILE_CHARS + 1).strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        kind = error.strerror if isinstance(error, OSError) else "it is not text"
        return None, source, Problem(source, key, f"names a file that cannot be read: {kind}")
    if not content:
        return None, source, Problem(source, key, "names an empty file")
    if len(content) > SECRET_FILE_CHARS:
        return None, source, Problem(source, key, "names a file too long to hold a secret")
    return content, source, None


def _path(name: str, values: Mapping[str, Any]) -> KeyPath:
    """`TROUPE_AGENTS__MY_AGENT__MODEL` → agents.my-agent.model, where the files name it so."""
    path: KeyPath = ()
    here: Mapping[str, Any] = values
    for part in name.removeprefix(PREFIX).lower().split("__"):
        step = next((key for key in here if _plain(key) == part), part)
        inner = here.get(step)
        here = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        path = (*path, step)
    return path


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _parsed(text: str, annotation: Any) -> Any:
    if is_text(annotation):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # The model says what is expected in its place.


def _hint(name: str, values: Mapping[str, Any]) -> str:
    """The nearest variable that sets something, be it one underscore away."""
    names: list[str] = [ENVIRONMENT, *WELL_KNOWN]
    for leaf in leaves(Settings):
        if 0 in leaf.path:
            continue  # What stands in a list is set with the list.
        first, *rest = leaf.path
        table: Any = values.get(str(first))
        if ANY in rest:
            chosen: list[str] = list(table) if isinstance(table, dict) else []  # pyright: ignore
            names += [variable((first, one, *rest[1:])) for one in chosen]
        else:
            names.append(variable(leaf.path))
    # All names begin alike, so they are alike: only a slip of the pen is worth a hint.
    return did_you_mean(name, names, cutoff=0.85)


def variable(path: KeyPath) -> str:
    """The variable that sets the key at this path."""
    return PREFIX + "__".join(_plain(str(part)) for part in path).upper()
