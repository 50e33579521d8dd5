"""Prints the settings in force, each with the place it comes from. Secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from config.environ import ENVIRONMENT
from config.files import KeyPath, dotted
from config.load import Loaded

MASK = "********"
SHOWN_CHARS = 60


def show(loaded: Loaded) -> str:
    """One line for each setting: key, value, source."""
    rows: list[tuple[str, str, str]] = []
    for path, value in _leaves(loaded.settings, ()):
        rows.append((dotted(path), _text(value), _source(loaded.sources, path)))
    keys = max(len(key) for key, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    return "\n".join(f"{key:{keys}}  {value:{values}}  {source}" for key, value, source in rows)


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _leaves(inner, (*path, str(key)))  # pyright: ignore
    elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):  # pyright: ignore
        for index, inner in enumerate(value):  # pyright: ignore
            yield from _leaves(inner, (*path, index))
    else:
        yield path, value


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return MASK
    if value is None:
        return "-"
    if isinstance(value, tuple):
        text = ", ".join(str(one) for one in value) or "-"  # pyright: ignore
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _source(sources: Mapping[KeyPath, str], path: KeyPath) -> str:
    if path == ("environment",):
        return ENVIRONMENT
    return sources.get(path, "default")
