"""Lays the environment's file over `base.yaml` and the variables over both.

What comes out is plain data, not yet validated, and for each value the place that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from config.environ import ENVIRONMENT, WELL_KNOWN, Value, read_environ
from config.errors import Problem, did_you_mean
from config.files import KeyPath, Read, display, dotted, read_yaml
from config.schema import is_secret
from config.settings import Environment, Settings
from config.values import Section

BASE = "base.yaml"
ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)
REMOVABLE = ("agents", "embedders", "providers", "prices")
"""The tables whose entries `name: null` takes out again."""


@dataclass(slots=True)
class Raw:
    """Merged values as they were written, the place of each, and what was wrong so far.

    `root` is what they are to become.
    """

    base: str
    environment: Environment | None
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    problems: list[Problem] = field(default_factory=list[Problem])
    root: type[Section] = Settings

    def source(self, path: KeyPath) -> str:
        """Where the value at the path came from, or the nearest thing around it that was given."""
        for length in range(len(path), 0, -1):
            for given, source in self.sources.items():
                if given[:length] == path[:length]:
                    return self.sources.get(path[:length], source)
        return self.base

    def at(self, path: KeyPath) -> Any:
        """The value at the path, None if there is none."""
        here: Any = self.values
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here


def overlay(environ: Mapping[str, str], directory: Path) -> Raw:
    """Read and merge everything; a problem in one source hides nothing in another."""
    base = directory / BASE
    name = environ.get(ENVIRONMENT) or "development"
    environment: Environment | None = next((known for known in ENVIRONMENTS if known == name), None)
    raw = Raw(display(base), environment)
    files = [base]
    if environment:
        files.append(directory / f"{environment}.yaml")
    else:
        reason = (
            f"must be one of {', '.join(ENVIRONMENTS)}{did_you_mean(name.lower(), ENVIRONMENTS)}"
        )
        raw.problems.append(Problem(ENVIRONMENT, "environment", reason))
    for file in files:
        read = read_yaml(file)
        raw.problems += read.problems
        refuse_secrets(raw, read)
        if "environment" in read.values:
            del read.values["environment"]
            place = read.places["environment",]
            raw.problems.append(Problem(place, "environment", f"comes from {ENVIRONMENT} alone"))
        _merge(raw, raw.values, read.values, (), read.places)
    found, problems = read_environ(environ, raw.values)
    raw.problems += problems
    # Shorter paths first: a whole agent given as JSON must not undo one of its keys.
    for value in sorted(found, key=lambda value: len(value.path)):
        _set(raw, value)
    return raw


def _merge(
    raw: Raw,
    below: dict[str, Any],
    above: dict[str, Any],
    path: KeyPath,
    places: Mapping[KeyPath, str],
) -> None:
    for key, value in above.items():
        here = (*path, key)
        old = below.get(key)
        if isinstance(old, dict):
            if isinstance(value, dict):
                _merge(raw, old, value, here, places)  # pyright: ignore[reportUnknownArgumentType]
                continue
            if value is None:
                # An empty section adds nothing; an agent set to null is gone.
                if path and path[0] in REMOVABLE and len(path) == 1:
                    del below[key]
                continue
        _forget(raw, here)
        below[key] = value
        for place, source in places.items():
            if place[: len(here)] == here:
                raw.sources[place] = source


def _forget(raw: Raw, path: KeyPath) -> None:
    """Drop the places of what is replaced: a shorter list must not keep the longer one's lines."""
    for place in [place for place in raw.sources if place[: len(path)] == path]:
        del raw.sources[place]


def _set(raw: Raw, given: Value) -> None:
    """Lay one variable's value over the rest, as if it stood in a file of its own."""
    places: dict[KeyPath, str] = {}
    nested: Any = given.value
    for length in range(len(given.path), 0, -1):
        places[given.path[:length]] = given.source
        nested = {given.path[length - 1]: nested}
    _note(given.value, given.path, given.source, places)
    _merge(raw, raw.values, nested, (), places)


def _note(value: Any, path: KeyPath, source: str, places: dict[KeyPath, str]) -> None:
    """Note the source for what stands inside a value."""
    places[path] = source
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            _note(inner, (*path, key), source, places)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            _note(inner, (*path, index), source, places)


def refuse_secrets(raw: Raw, read: Read) -> None:
    """Take secrets out of a file's values and report them, without repeating them."""
    for path, place in read.places.items():
        if not path or not is_secret(raw.root, path):
            continue
        holder: Any = read.values
        for part in path[:-1]:
            holder = holder[part]
        value = holder[path[-1]]
        if value is None or _is_harmless_url(path, value):
            continue
        holder[path[-1]] = None
        names = [name for name, known in WELL_KNOWN.items() if known == path]
        named = "secret_env" if path[-1] == "secret" else "api_key_env"
        where = names[0] if names else f"the variable that `{named}` names"
        reason = f"holds a secret; take it out of the file and put it in {where}"
        raw.problems.append(Problem(place, dotted(path), reason))


def _is_harmless_url(path: KeyPath, value: Any) -> bool:
    """Whether it is a server's address without a password in it."""
    if path[0] != "context" or not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        return parts.password is None and "password" not in parts.query
    except ValueError:
        return False
