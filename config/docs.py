"""Makes `docs/settings.md` from the model and the files, so that it cannot fall behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from config.environ import WELL_KNOWN
from config.files import KeyPath, dotted, read_yaml
from config.load import DIRECTORY
from config.overlay import BASE, ENVIRONMENTS
from config.schema import ANY, Leaf, annotation_at, leaves, model_of
from config.settings import Settings

HEAD = """\
# Settings

<!-- Made by `python -m config docs`; edit the descriptions in config/settings.py instead. -->

`config/base.yaml` holds the defaults. `development.yaml`, `staging.yaml` or `production.yaml`,
chosen by `TROUPE_ENV` (default `development`), is laid over it, then the environment: `TROUPE_`
and a key's path with two underscores for each step sets any key
(`TROUPE_GATEWAY__PORT=8123`, `TROUPE_AGENTS__GPT__MODEL=…`; lists and mappings as JSON). Mappings
are merged key by key, lists are replaced, `name: null` takes an agent or provider out. An empty
variable counts as not set.

Whatever is wrong stops the start, all of it at once, with file and line or variable, key and
reason. `python -m config` prints the settings in force and where each comes from.
"""

SHORT: tuple[KeyPath, ...] = (
    ("gateway", "host"),
    ("gateway", "port"),
    ("gateway", "replicas"),
    ("gateway", "max_body_bytes"),
    ("hosts", "count"),
    ("hosts", "sessions_per_host"),
    ("hosts", "mailbox_size"),
    ("context", "hot_ttl_s"),
    ("limits", "max_message_chars"),
    ("simulator", "mode"),
)
"""The keys of the README's table."""


def page(directory: Path = DIRECTORY) -> str:
    """The whole page, in Markdown."""
    base = read_yaml(directory / BASE).values
    parts = [HEAD, "## Environment variables\n", variables_table(directory)]
    parts += ["\n## What the environments change\n", _overlays(directory)]
    tables: dict[str, list[str]] = {"Top level": []}
    summaries: dict[str, str] = {}
    for leaf in leaves(Settings):
        title, key = _place(leaf.path)
        rows = tables.setdefault(title, [])
        summaries[title] = _summary(leaf.path)
        rows.append(_row(key, _default(leaf, base), leaf.info.description or ""))
    for title, rows in tables.items():
        parts.append(f"\n## {title}\n")
        if summaries[title]:
            parts.append(f"{summaries[title]}\n")
        parts += _table(rows)
    return "\n".join(parts) + "\n"


def short_table(directory: Path = DIRECTORY) -> str:
    """The settings that most people want, for the README."""
    base = read_yaml(directory / BASE).values
    known = {leaf.path: leaf for leaf in leaves(Settings)}
    rows = [
        _row(dotted(path), _default(known[path], base), known[path].info.description or "")
        for path in SHORT
    ]
    return "\n".join(_table(rows))


def variables_table(directory: Path = DIRECTORY) -> str:
    """The variables with names of their own, for the page and the README."""
    rows = ["| `TROUPE_ENV` | `development`, `staging` or `production` |"]
    for name, path in WELL_KNOWN.items():
        files = "" if name == "PORT" else f", `{name}_FILE`"
        rows.append(f"| `{name}`{files} | `{dotted(path)}` |")
    for name, provider in read_yaml(directory / BASE).values["providers"].items():
        keys = ", ".join(f"`{one}`, `{one}_FILE`" for one in provider["api_key_env"])
        rows.append(f"| {keys} | key of {name}'s agents; makes them real |")
        address = provider["base_url_env"]
        rows.append(f"| `{address}` | address of {name}'s agents; makes them real |")
    return "\n".join(["| variable | what it sets |", "| --- | --- |", *rows])


def _overlays(directory: Path) -> str:
    changes: dict[str, dict[str, str]] = {}
    for environment in ENVIRONMENTS:
        for path, value in _flat(read_yaml(directory / f"{environment}.yaml").values, ()):
            changes.setdefault(dotted(path), {})[environment] = _code(value)
    lines = [f"| key | {' | '.join(ENVIRONMENTS)} |", "| --- | --- | --- | --- |"]
    for key, values in changes.items():
        cells = " | ".join(values.get(environment, "") for environment in ENVIRONMENTS)
        lines.append(f"| `{key}` | {cells} |")
    return "\n".join(lines)


def _flat(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _flat(inner, (*path, key))  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield path, value


def _place(path: KeyPath) -> tuple[str, str]:
    """The heading a setting stands under, and its key there."""
    if len(path) == 1:
        return "Top level", str(path[0])
    return _dotted(path[:-1]), str(path[-1])


def _dotted(path: KeyPath) -> str:
    return dotted(path).replace("[0]", "[]").replace(ANY, "NAME")


def _summary(path: KeyPath) -> str:
    """What a section is for: its own field says it where several have one shape."""
    if len(path) < 2:
        return ""
    outer = model_of(annotation_at(Settings, path[:-2])) if len(path) > 2 else Settings
    field = outer.model_fields.get(str(path[-2])) if outer else None
    if field and field.description and model_of(field.annotation):
        return field.description
    model = model_of(annotation_at(Settings, path[:-1]))
    return " ".join((model.__doc__ or "").split()) if model else ""


def _table(rows: list[str]) -> list[str]:
    return ["| key | default | meaning |", "| --- | --- | --- |", *rows] if rows else []


def _row(key: str, default: str, description: str) -> str:
    return f"| `{key}` | {default} | {description.replace('|', chr(92) + '|')} |"


def _default(leaf: Leaf, base: dict[str, Any]) -> str:
    if leaf.path == ("environment",):
        return "`development`"
    if leaf.path[0] in ("agents", "embedders", "providers", "prices", "rules") or 0 in leaf.path:
        if len(leaf.path) == 1:
            return "see `base.yaml`"
        default = leaf.info.default
        if default is PydanticUndefined:
            return "required"
        return "one, all defaults" if _is_models(default) else _code(default)
    value: Any = base
    for part in leaf.path:
        value = value[part]
    return _code(value)


def _is_models(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value)  # pyright: ignore


def _code(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, dict) and not value:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(f"`{one}`" for one in value) if value else "none"  # pyright: ignore
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
