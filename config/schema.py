"""Walks the settings' model: which keys exist at a path, and what may stand there."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.files import KeyPath

ANY = "<name>"
"""Stands for a name that the user chooses, in the paths of `leaves`."""


class Leaf(NamedTuple):
    """One setting that holds a value: its path, type and description."""

    path: KeyPath
    annotation: Any
    info: FieldInfo


def unions(annotation: Any) -> list[Any]:
    """The alternatives of a type, unwrapped from Annotated; a plain type is its own only one."""
    if get_origin(annotation) is Annotated:
        return unions(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for arg in get_args(annotation) for choice in unions(arg)]
    return [annotation]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The section among the alternatives, if there is one."""
    for choice in unions(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def table_value(annotation: Any) -> Any | None:
    """What a table's values are, or None if it is no table."""
    for choice in unions(annotation):
        if get_origin(choice) is Mapping:
            return get_args(choice)[1]
    return None


def list_value(annotation: Any) -> Any | None:
    """What a list's entries are, or None if it is no list."""
    for choice in unions(annotation):
        if get_origin(choice) is tuple:
            return get_args(choice)[0]
    return None


def keys_at(root: Any, path: KeyPath) -> list[str]:
    """The keys that a section at this path may have; none where names are free."""
    model = model_of(annotation_at(root, path))
    return list(fields_of(model)) if model else []


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A section's fields by the names that files use, which may be words of the language."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def annotation_at(root: Any, path: KeyPath) -> Any | None:
    """The type of what stands at the path, or None if nothing may."""
    current: Any = root
    for part in path:
        if isinstance(part, int):
            current = list_value(current)
        elif (value := table_value(current)) is not None:
            current = value
        elif model := model_of(current):
            field = fields_of(model).get(part)
            current = annotated(field) if field else None
        else:
            return None
        if current is None:
            return None
    return current


def annotated(field: FieldInfo) -> Any:
    """A field's type, unwrapped: pydantic has moved what Annotated carried into the field."""
    return field.annotation


def is_secret(root: Any, path: KeyPath) -> bool:
    """Whether a value at the path must never be shown."""
    return SecretStr in unions(annotation_at(root, path))


def is_text(annotation: Any) -> bool:
    """Whether the type takes text only, so that an environment variable is taken as it stands."""
    for choice in unions(annotation):
        text_literal = get_origin(choice) is Literal
        if choice not in (str, SecretStr, type(None)) and not text_literal:
            return False
    return True


def leaves(root: type[BaseModel], path: KeyPath = ()) -> Iterator[Leaf]:
    """Every setting in the order of the model; names and list entries appear as `ANY`."""
    for name, info in fields_of(root).items():
        here = (*path, name)
        inner = info.annotation
        suffix: KeyPath = ()
        if (value := table_value(inner)) is not None and model_of(value):
            inner, suffix = value, (ANY,)
        elif (value := list_value(inner)) is not None and model_of(value):
            inner, suffix = value, (0,)
        if suffix:
            yield Leaf(here, info.annotation, info)
        if (model := model_of(inner)) and not _has_text(inner):
            yield from leaves(model, here + suffix)
        elif model:
            yield Leaf(here, info.annotation, info)
            yield from leaves(model, here + suffix)
        else:
            yield Leaf(here, info.annotation, info)


def _has_text(annotation: Any) -> bool:
    return any(choice is str or get_origin(choice) is Literal for choice in unions(annotation))
