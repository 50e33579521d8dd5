"""Reads YAML files into plain values, and remembers on which line each of them stands.

A careful subset of YAML 1.2: `true` and `false` are the only booleans (`no` is a word), numbers
are decimal, nothing is a date, keys are text and stand once, and there are no anchors, aliases or
tags. What the subset leaves out is refused with its line, not guessed at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import yaml

from config.errors import Problem

KeyPath = tuple[str | int, ...]


class Read(NamedTuple):
    """One file: its values, the place of each (by key path, sections included), what is wrong."""

    values: dict[str, Any]
    places: dict[KeyPath, str]
    problems: list[Problem]


def dotted(path: KeyPath) -> str:
    """`agents.gpt.endpoints[0].model`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalars and without aliases, so that size in is size out."""

    yaml_implicit_resolvers: ClassVar[Any] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = cast("Any", self).peek_event()
        if isinstance(event, yaml.AliasEvent):
            reason = "aliases are not supported; write the value out"
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="tags are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    cast("Any", _Loader).add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


def display(path: Path) -> str:
    """The file as a person would name it from where they stand."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def read_yaml(path: Path) -> Read:
    """Read one settings file. A file that cannot be read or parsed is one problem, no values."""
    name = display(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Read({}, {}, [Problem(name, "", "the file is missing")])
    except (OSError, UnicodeDecodeError) as error:
        return Read({}, {}, [Problem(name, "", f"cannot be read: {error}")])
    return parse_yaml(name, text)


def parse_yaml(name: str, text: str) -> Read:
    """As `read_yaml`, of a text that places call by this name."""
    try:
        return _parsed(name, _Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        return Read({}, {}, [Problem(where, "", f"is not valid YAML: {reason}")])
    except (yaml.YAMLError, RecursionError) as error:
        return Read({}, {}, [Problem(name, "", f"is not valid YAML: {error}")])


def _parsed(name: str, loader: _Loader) -> Read:
    try:
        root = loader.get_single_node()
        walker = _Walker(name, loader)
        if root is None or _is_null(root):
            return Read({}, {}, [])
        if not isinstance(root, yaml.MappingNode):
            return Read({}, {}, [Problem(name, "", "must be a mapping of sections at its top")])
        values = walker.value(root, ())
        return Read(cast("dict[str, Any]", values), walker.places, walker.problems)
    finally:
        cast("Any", loader).dispose()


class _Walker:
    """Turns nodes into values, noting the place of each and every key that stands twice."""

    def __init__(self, name: str, loader: _Loader) -> None:
        self.name = name
        self.loader = loader
        self.places: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.places[path] = self.place(node)
        if isinstance(node, yaml.MappingNode):
            return dict(self.pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            return cast("Any", self.loader).construct_object(node)
        except ValueError:
            self.report(node, path, "is no number that can be held")
            return None

    def pairs(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                self.report(key_node, path, "keys must be text")
                continue
            if key in seen:
                self.report(key_node, (*path, key), f"stands twice, first on line {seen[key]}")
                continue
            seen[key] = line
            value = self.value(value_node, (*path, key))
            # A section's place is that of its key, where a person looks for it.
            self.places[(*path, key)] = self.place(key_node)
            yield key, value

    def place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"

    def report(self, node: yaml.Node, path: KeyPath, reason: str) -> None:
        self.problems.append(Problem(self.place(node), dotted(path), reason))


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
